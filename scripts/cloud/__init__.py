"""What needs an account: deploying the Worker, and asking what it did."""

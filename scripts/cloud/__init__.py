"""Commands that speak to an account."""

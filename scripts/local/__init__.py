"""What makes the real runtime run from a bare machine: no account, no open internet."""

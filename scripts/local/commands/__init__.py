"""One module for each command that runs on this machine."""

"""From a bare machine with Python and pip to everything that the commands need."""

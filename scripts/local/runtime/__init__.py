"""One deployment in the real workerd: configured, served, watched."""

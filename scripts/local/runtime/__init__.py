"""The Worker in the real workerd: configured, started, watched and ended."""

"""From a bare Python to everything that a command needs: pinned, done once, remembered."""

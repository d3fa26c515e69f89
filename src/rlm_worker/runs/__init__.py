"""One run as its strategy sees it: its job, its state, and the root model's last word."""

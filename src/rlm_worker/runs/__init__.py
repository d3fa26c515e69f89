"""One run as every strategy sees it: its job, its state, its last answer."""

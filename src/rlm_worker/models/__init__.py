"""Which models there are, what a call costs, and what it goes through on its way to one."""

"""A run as one static page for people: answer and sources side by side, what was read, what it has cost."""

"""Money: what a run has used and may use, what a key has, and how the one draws on the other."""

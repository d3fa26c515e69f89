"""Models: which there are and what they cost, and what each call goes through."""

"""Texts: measured in tokens, cut into chunks, ranked by relevance, and read by ranges."""

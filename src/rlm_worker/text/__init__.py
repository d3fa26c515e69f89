"""Texts: cut into chunks, weighed in tokens, ranked, quoted. Pure, but for reading a context by ranges."""

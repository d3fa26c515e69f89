"""Quotes and where they stand: found and verified by code, placed in documents, matched with an answer."""

"""Stands in for langchain-core, as far as splitting needs it."""

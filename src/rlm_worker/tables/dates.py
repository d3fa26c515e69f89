"""Dates in text, with the precision that they have."""

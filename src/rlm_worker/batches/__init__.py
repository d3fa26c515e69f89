"""Batches: many requests at once, run through a queue, answered in their own time."""

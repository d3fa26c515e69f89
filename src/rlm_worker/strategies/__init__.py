"""The ways to an answer: one call, map and reduce, or a root model that writes code."""

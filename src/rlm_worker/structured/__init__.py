"""Answers in a form of the caller's own: asked for, read out of replies, held to their JSON Schema."""

"""Runs that survive crashes, from the request that begins one to the result that is left of it."""

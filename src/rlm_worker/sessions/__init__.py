"""Runs that survive crashes: prepared, begun or joined, seen through, told, and deleted."""

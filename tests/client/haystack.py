"""Texts with a needle that the scripted model finds."""

from __future__ import annotations

NEEDLE = "One of the special magic numbers for quiet-otter is: 7421093."
QUERY = "What is the special magic number for quiet-otter mentioned in the text?"


def haystack(seed: str, length: int = 120_000) -> str:
    """Return prose that differs from test to test, so that no cache answers, with a needle near its end."""
    lines = [f"The {seed} keeper counts {number} grey pebbles and thinks of nothing." for number in range(length // 60)]
    lines.insert(len(lines) * 9 // 10, NEEDLE)
    return "\n".join(lines)

"""Texts that tests in the real runtime share: noise of any length, and needles."""

from __future__ import annotations

import time

NOISE = "The grass is green and the sky is blue, as everybody has known for a long time."


def needle(key: str = "amber-fox", value: str = "7481932") -> str:
    return f"One of the special magic numbers for {key} is: {value}."


def haystack(characters: int, *needles: str, at: float = 1.0) -> str:
    """About that many characters of numbered noise, with the needles at that share of it."""
    sentences = [f"{number}. {NOISE}" for number in range(max(1, characters // (len(NOISE) + 7)))]
    place = int(len(sentences) * at)
    return " ".join([*sentences[:place], *needles, *sentences[place:]])


def unheard(key: str) -> str:
    """The key with a number: no request about it has been answered before, however often a test is repeated."""
    return f"{key}-{time.time_ns()}"

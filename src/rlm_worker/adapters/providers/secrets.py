"""Keys that must not be seen: taken out of whatever a provider says."""

from __future__ import annotations

from collections.abc import Iterable

# As much of a key as helps nobody; providers echo keys whole, cut, or with their middle left out.
_TELLING = 8
_MASK = "[secret]"


def redacted(text: str, secrets: Iterable[str]) -> str:
    """The text without the secrets, and without any piece of one that is eight characters long or more."""
    for secret in secrets:
        if secret:
            text = _without(text, secret)
    return text


def _without(text: str, secret: str) -> str:
    size = min(_TELLING, len(secret))
    pieces = {secret[start : start + size] for start in range(len(secret) - size + 1)}
    hidden = [False] * len(text)
    for start in range(len(text) - size + 1):
        if text[start : start + size] in pieces:
            hidden[start : start + size] = [True] * size
    shown: list[str] = []
    for index, character in enumerate(text):
        if not hidden[index]:
            shown.append(character)
        elif index == 0 or not hidden[index - 1]:
            shown.append(_MASK)
    return "".join(shown)

"""A JSON text as it was written: where its values stand in it, and the keys that it gives twice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from pydantic_core import from_json

_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[\]{},:]|[^\s\[\]{},:"]++', re.DOTALL)
_WRITTEN = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|[^\\]", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value that holds no others: what is written from `start` to `end` (exclusive), and the key that it is under.

    What lies in an array is under the array's key; `key` is empty where there is none.
    """

    start: int
    end: int
    key: str
    written: str

    @property
    def is_text(self) -> bool:
        return self.written.startswith('"')

    def text(self) -> str:
        """What a string says."""
        return str(from_json(self.written))

    def places(self) -> list[int]:
        """Where each character of a string is written, and where the last one ends."""
        inner = self.written[1:-1]
        return [self.start + 1 + found.start() for found in _WRITTEN.finditer(inner)] + [self.end - 1]


@dataclass(slots=True)
class _Open:
    """An array or object that has begun: its last key, and all those that an object has had."""

    is_object: bool
    key: str
    awaits_key: bool
    keys: set[str] = field(default_factory=set)


def scalars(text: str) -> Iterator[Scalar]:
    """The values of a JSON text that hold no others, in their order; the text must be JSON."""
    return (found for found in _walk(text) if isinstance(found, Scalar))


def repeated_key(text: str) -> str | None:
    """The first key that an object of a JSON text gives twice; None where all mean one thing."""
    return next((found for found in _walk(text) if isinstance(found, str)), None)


def written_end(text: str, start: int) -> int | None:
    """Where the array or object ends that begins there, whatever stands behind it; None where it has no end."""
    depth = 0
    for found in _TOKEN.finditer(text, start):
        sign = found[0]
        depth += (sign in ("[", "{")) - (sign in ("]", "}"))
        if depth == 0:
            return found.end()
    return None


def _walk(text: str) -> Iterator[Scalar | str]:
    """Every scalar, and every key that comes again."""
    opened = [_Open(is_object=False, key="", awaits_key=False)]
    for found in _TOKEN.finditer(text):
        inner, sign = opened[-1], found[0]
        if sign in ("{", "["):
            opened.append(_Open(sign == "{", inner.key, sign == "{"))
        elif sign in ("}", "]"):
            del opened[1 if len(opened) == 1 else -1 :]
        elif sign in (":", ","):
            inner.awaits_key = inner.is_object and sign == ","
        elif inner.awaits_key:
            inner.key = str(from_json(sign))
            if inner.key in inner.keys:
                yield inner.key
            inner.keys.add(inner.key)
        else:
            yield Scalar(found.start(), found.end(), inner.key, sign)

"""A text from border to border of the citations in it, which may cross."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Mark:
    """One citation: its number in the result, and its characters in its document or in the answer, end exclusive."""

    number: int
    start: int
    end: int
    verified: bool


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a text, and the citations that cover the whole of it."""

    text: str
    marks: tuple[Mark, ...]


def segments(text: str, marks: Sequence[Mark], *, offset: int = 0) -> Iterator[Segment]:
    """The text from border to border of the marks, which may cross; `offset` is where it begins in their count."""
    length = len(text)
    inside = {min(length, max(0, at - offset)) for mark in marks for at in (mark.start, mark.end)}
    for start, end in pairwise(sorted({0, length, *inside})):
        covering = [mark for mark in marks if mark.start - offset <= start and end <= mark.end - offset]
        yield Segment(text[start:end], tuple(covering))

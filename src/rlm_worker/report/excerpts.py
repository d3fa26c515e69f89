"""The places that an answer cites, with what stands around them; neighbours in one passage, crossing ones too."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from rlm_worker.citations.segments import Mark, Segment, segments

# Characters and line ends shown before and after a citation, and how far from there a word's border is looked for.
MARGIN, _LINES, _SNAP = 240, 4, 40


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a document that is to be shown, and the citations in it."""

    start: int
    end: int
    places: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a document that is shown: from which character on, in segments."""

    start: int
    segments: tuple[Segment, ...]
    cut_before: bool
    cut_after: bool


def windows(places: Iterable[Mark], characters: int) -> list[Window]:
    """What is to be shown of a document of so many characters; windows that meet are one."""
    found: list[Window] = []
    for place in sorted(places, key=lambda place: (place.start, place.end)):
        start, end = max(0, place.start - MARGIN), min(characters, place.end + MARGIN)
        if found and start <= found[-1].end:
            last = found[-1]
            found[-1] = Window(last.start, max(last.end, end), (*last.places, place))
        else:
            found.append(Window(start, end, (place,)))
    return found


def passage(window: Window, text: str, characters: int) -> Passage:
    """The window with its text, cut between words where the document goes on."""
    first, last = min(place.start for place in window.places), max(place.end for place in window.places)
    before, after = first - window.start, last - window.start
    begin = _line_begin(text, before) or (_word_begin(text, before) if window.start else 0)
    end = _line_end(text, after) or (_word_end(text, after) if window.end < characters else len(text))
    parts = segments(text[begin:end], window.places, offset=window.start + begin)
    return Passage(window.start + begin, tuple(parts), window.start + begin > 0, window.start + end < characters)


def by_document(places: Iterable[tuple[int, Mark]]) -> dict[int, list[Mark]]:
    """Places by the index of their document, documents in their order."""
    ordered = sorted(places, key=lambda item: item[0])
    return {document: [place for _, place in group] for document, group in groupby(ordered, key=lambda item: item[0])}


def _line_begin(text: str, before: int) -> int:
    """Where the last few lines before a place begin; 0 where there are no more than these."""
    at = before
    for _ in range(_LINES):
        at = text.rfind("\n", 0, at)
        if at < 0:
            return 0
    return at + 1


def _line_end(text: str, after: int) -> int:
    """Where the first few lines behind a place end; 0 where there are no more than these."""
    at = after - 1
    for _ in range(_LINES):
        at = text.find("\n", at + 1)
        if at < 0:
            return 0
    return at


def _word_begin(text: str, before: int) -> int:
    """Where a passage may begin that shows at least all from `before` on: behind a space near its beginning."""
    near = range(min(_SNAP, before))
    return next((at + 1 for at in near if text[at].isspace()), 0)


def _word_end(text: str, after: int) -> int:
    near = range(len(text), max(after, len(text) - _SNAP), -1)
    return next((at - 1 for at in near if text[at - 1].isspace()), len(text))

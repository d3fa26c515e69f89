"""What readers wrote down, and what of it code can count: each line that stands in the text, at each of its places.

A model that counts takes a line that stands twice for one, and a line that two readers have seen in the overlap of
their parts for two. Places are counted, not lines: there it makes no difference how often a line was written down.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rlm_worker.citations.borders import is_whole
from rlm_worker.citations.evidence import is_doubted, sentences_of
from rlm_worker.citations.occurrences import occurrences
from rlm_worker.citations.quotes import is_too_short
from rlm_worker.text.chunks import Chunk

# What a reader puts in front of a quotation, and around it.
_BULLET = re.compile(r"^(?:[-*•>]\s+|\(?\d{1,3}[.)]\s+)")
_MARKS = "\"'`“”„«»「」"
# Places of one line beyond which nobody asks for the exact number; the notes of a run together fit a prompt.
_MAX_PLACES = 1_000

Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Quote:
    """A sentence or line of a note that stands in the text word for word; `places` are its characters, end exclusive.

    A sentence that stands nowhere in those very words has no places.
    """

    text: str
    places: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class Note:
    """What a model wrote down about the part of the context from character `start` to `end` (exclusive).

    `quotes` are its sentences, where code has looked for them.
    """

    start: int
    end: int
    text: str
    quotes: tuple[Quote, ...] = ()


@dataclass(frozen=True, slots=True)
class Parts:
    """How many parts of the context were read, in how many of them there was nothing, and how many failed."""

    read: int = 0
    empty: int = 0
    failed: int = 0


def quotes_in(note: str, chunk: Chunk) -> tuple[Quote, ...]:
    """The sentences of a note, each with the places of the context where it stands in what its reader saw.

    A line of which nothing stands there is one of them, as it is; so is one that its reader doubted, which counts not.
    """
    seen, base = chunk.overlap + chunk.text, chunk.start - len(chunk.overlap)
    lines = [(line, _sentences(line, seen)) for line in note.splitlines() if line.strip()]
    found = occurrences({one for _, sentences in lines for one in sentences if not is_too_short(one)}, seen)
    quotes: list[Quote] = []
    for line, sentences in lines:
        told = [Quote(one, tuple(_places(one, found.get(one, ()), seen, base))) for one in sentences]
        quotes += told if any(quote.places for quote in told) else [Quote(line.strip())]
    return tuple(quotes)


def counted(notes: Iterable[Note]) -> int:
    """At how many places of the context stands what the notes quote; a place within a longer one is the same."""
    return len(_outermost({place for note in notes for quote in note.quotes for place in quote.places}))


def numbered(notes: Sequence[Note]) -> list[str]:
    """The text of each note, a number for each place before what stands there; what was told before is left out."""
    places = _outermost({place for note in notes for quote in note.quotes for place in quote.places})
    told: set[Place] = set()
    texts: list[str] = []
    for note in notes:
        lines = [_numbered(quote, places, told) for quote in note.quotes]
        texts.append("\n".join(line for line in lines if line) if note.quotes else note.text.strip())
    return texts


def _numbered(quote: Quote, places: frozenset[Place], told: set[Place]) -> str:
    if not quote.places:
        return quote.text
    fresh = [place for place in quote.places if place in places and place not in told]
    first = len(told) + 1
    told.update(fresh)
    if not fresh:
        return ""
    if len(fresh) == 1:
        return f"({first}) {quote.text}"
    return f"({first} to {len(told)}, at {len(fresh)} places) {quote.text}"


def _sentences(line: str, seen: str) -> list[str]:
    """The sentences of a line, without the signs that a reader puts around what it quotes."""
    line = line.strip()
    if is_doubted(line):
        return []
    bare = line if line in seen else _BULLET.sub("", line).strip(_MARKS).strip()
    return [*sentences_of(bare)]


def _places(quote: str, starts: Sequence[int], seen: str, base: int) -> Iterator[Place]:
    end = 0
    for start in starts[:_MAX_PLACES]:
        if start >= end and is_whole(seen, start, start + len(quote)):
            end = start + len(quote)
            yield base + start, base + end


def _outermost(places: Iterable[Place]) -> frozenset[Place]:
    """The places that lie in no other."""
    kept: list[Place] = []
    for start, end in sorted(places, key=lambda place: (place[0], -place[1])):
        if not kept or end > kept[-1][1]:
            kept.append((start, end))
    return frozenset(kept)

"""The records of a text as code sees them, and how large a chunk may be for all of its rows to be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rlm_worker.text.chunks import Chunk, Piece

Form = Literal["lines", "blocks", "sentences"]


@dataclass(frozen=True, slots=True)
class Record:
    """One record, numbered from 1: characters `start` to `end` (exclusive) of the text that was cut."""

    number: int
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Probe:
    """What reading one chunk has shown: its characters, the rows that came of it, and the tokens that they took."""

    characters: int
    rows: int
    output_tokens: int


def form_of(text: str) -> Form:
    """How a text sets its records apart."""
    raise NotImplementedError


def records_of(text: str) -> list[Record]:
    """The records of a text; blanks around them belong to none."""
    raise NotImplementedError


def count_records(text: str) -> int:
    """How many records a text has: a second pass is worth it where this is more than the rows that were read."""
    return len(records_of(text))


def chunk_characters(probes: Sequence[Probe], output_tokens: int, most: int, *, least: int = 400) -> int:
    """How many characters a chunk may have for its rows to fit a reply of `output_tokens`; `most` fit the window."""
    raise NotImplementedError


def row_chunks(pieces: Iterable[Piece], characters: int) -> Iterator[Chunk]:
    """Cuts the pieces of a context, in its order, into chunks of at most that many characters, between records.

    A record that is longer than that is cut as any text is. The texts of all chunks are those of the pieces.
    """
    raise NotImplementedError


def halves(chunk: Chunk) -> tuple[Chunk, ...]:
    """A chunk in two, cut between records; itself alone where it cannot be cut."""
    raise NotImplementedError


def rest_of(chunk: Chunk, offset: int) -> Chunk | None:
    """The part of a chunk from a character of its `Seen` text on: where a reply that was cut is gone on with."""
    raise NotImplementedError

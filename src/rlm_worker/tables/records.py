"""The records of a text as code sees them, and how large a chunk may be for all of its rows to be read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from rlm_worker.citations.quotes import SEPARATOR
from rlm_worker.text.boundaries import LOOKAHEAD, find_cut, forced_cut
from rlm_worker.text.chunks import Chunk, Piece

Form = Literal["lines", "blocks", "sentences"]

# Lines are records where most of them are whole: begun like each other, or not longer than this.
_MAX_LINE = 1_200
_MIN_LINES = 3
# What looks at a form looks at so much of a text.
_LOOK = 20_000
# Blank lines part records where there is one for every few lines, and none is as long as a page.
_BLANK_SHARE, _MAX_BLOCK = 0.08, 4_000
_LINE = re.compile(r"[^\n]+")
_BLOCK = re.compile(r"[^\n]*\S[^\n]*(?:\n(?![ \t\r]*\n)[^\n]*\S[^\n]*)*")
_SENTENCE = re.compile(r"\S.*?(?:[.!?…](?=[\"'”’)\]]*\s)|[。！？]|(?=\n[ \t\r]*\n)|\Z)[\"'”’)\]]*", re.DOTALL)  # noqa: RUF001
# Lines that wrap prose are about as long as each other and end within sentences.
_ENDED = re.compile(r"[.!?:;。！？|,)\]}>\"\d]\s*$")  # noqa: RUF001
_MARGIN = 0.8


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
    sample = text[:_LOOK]
    lines = [line.strip() for line in sample.split("\n")]
    full = [line for line in lines if line]
    if len(full) < _MIN_LINES:
        return "sentences" if len(lines) - len(full) < _MIN_LINES else "blocks"
    blank = sum(not line for line in lines[:-1]) / len(lines)
    if max(map(len, full)) <= _MAX_LINE and not _is_wrapped(full):
        several = blank >= _BLANK_SHARE and len(full) > 1.5 * len(_BLOCK.findall(sample))
        return "blocks" if several else "lines"
    blocks = [len(block) for block in _BLOCK.findall(sample)]
    return "blocks" if blank >= _BLANK_SHARE and max(blocks) <= _MAX_BLOCK and not _is_wrapped(full) else "sentences"


def records_of(text: str) -> list[Record]:
    """The records of a text, such as a chunk's `Seen` text; blanks around them belong to none."""
    text = text.replace(SEPARATOR, "\n")
    pattern = {"lines": _LINE, "blocks": _BLOCK, "sentences": _SENTENCE}[form_of(text)]
    records: list[Record] = []
    for found in pattern.finditer(text):
        said = found[0].strip()
        if said:
            start = found.start() + found[0].index(said[0])
            records.append(Record(len(records) + 1, start, start + len(said), said))
    return records


def count_records(text: str) -> int:
    """How many records a text has: a second pass is worth it where this is more than the rows that were read."""
    return len(records_of(text))


def chunk_characters(probes: Sequence[Probe], output_tokens: int, most: int, *, least: int = 400) -> int:
    """How many characters a chunk may have for its rows to fit a reply of `output_tokens`; `most` fit the window.

    The densest probe decides; where no row was found, the window does.
    """
    fitting = [
        int(probe.characters * output_tokens * _MARGIN / probe.output_tokens)
        for probe in probes
        if probe.rows and probe.output_tokens
    ]
    return max(1, min([most, *(max(least, size) for size in fitting)]))


def row_chunks(pieces: Iterable[Piece], characters: int) -> Iterator[Chunk]:
    """Cuts the pieces of a context, in its order, into chunks of at most that many characters, between records.

    A record that is longer than that is cut as any text is. The texts of all chunks are those of the pieces; the chunks
    of the same text are the same however it arrives, as long as documents do.
    """
    cutter = _RowCutter(characters)
    for piece in pieces:
        yield from cutter.feed(piece)
    yield from cutter.finish()


class _RowCutter:
    """Holds what has arrived and is in no chunk yet: whole pieces of documents, then the open one's text."""

    def __init__(self, characters: int) -> None:
        self._characters = characters
        self._waiting: list[Piece] = []
        self._open: Piece | None = None
        self._index = 0

    def feed(self, piece: Piece) -> Iterator[Chunk]:
        if self._open is not None and (piece.document, piece.start) == (self._open.document, self._open.end):
            self._open = self._open._replace(text=self._open.text + piece.text)
        else:
            yield from self._end_document()
            self._open = piece
        yield from self._full(LOOKAHEAD)

    def finish(self) -> Iterator[Chunk]:
        yield from self._end_document()
        if self._waiting:
            yield self._chunk()

    def _end_document(self) -> Iterator[Chunk]:
        yield from self._full(0)
        if self._open is not None and self._open.text:
            self._waiting.append(self._open)
        self._open = None

    def _full(self, beyond: int) -> Iterator[Chunk]:
        """The chunks that are full; of a document that goes on, so many characters more must be seen."""
        while self._open is not None and len(self._open.text) > self._room + beyond:
            cut = record_cut(self._open.text, self._room) if self._room > 0 else 0
            if not cut and self._waiting:
                yield self._chunk()
                continue
            cut = cut or any_cut(self._open.text, self._room, complete=not beyond)
            if not cut:
                return
            self._waiting.append(self._open._replace(text=self._open.text[:cut]))
            self._open = self._open._replace(start=self._open.start + cut, text=self._open.text[cut:])
            yield self._chunk()

    @property
    def _room(self) -> int:
        return self._characters - sum(len(piece.text) for piece in self._waiting)

    def _chunk(self) -> Chunk:
        pieces = tuple(self._waiting)
        self._waiting = []
        self._index += 1
        return Chunk(self._index - 1, pieces[0].start, pieces[-1].end, pieces)


def record_cut(text: str, high: int) -> int:
    """The last place within `high` characters where one record ends and another begins; 0 where there is none."""
    window = text[: high + LOOKAHEAD]
    if form_of(window) == "sentences":
        return 0
    records = records_of(window)
    cuts = [behind.start for _, behind in pairwise(records) if behind.start <= high]
    if not cuts:
        return 0
    # The blanks at the beginning of a line belong to it.
    return window.rfind("\n", 0, cuts[-1]) + 1 or cuts[-1]


def any_cut(text: str, high: int, *, complete: bool) -> int:
    """Where a text that has no records may be cut within `high` characters; 0 where more of it must be seen."""
    return find_cut(text[: high + LOOKAHEAD], high, high) or forced_cut(text, high, complete=complete)


def halves(chunk: Chunk) -> tuple[Chunk, ...]:
    """A chunk in two, cut between records; itself alone where it cannot be cut."""
    size = sum(len(piece.text) for piece in chunk.pieces)
    if size < 2:
        return (chunk,)
    parts = list(row_chunks(chunk.pieces, (size + 1) // 2))
    if len(parts) < 2:
        return (chunk,)
    first, *others = parts
    rest = tuple(piece for part in others for piece in part.pieces)
    return _of(chunk, first.pieces, chunk.overlap), _of(chunk, rest, "")


def rest_of(chunk: Chunk, offset: int) -> Chunk | None:
    """The part of a chunk from a character of its `Seen` text on: where a reply that was cut is gone on with."""
    left = offset - len(chunk.overlap)
    rest: list[Piece] = []
    for before, piece in zip((None, *chunk.pieces), chunk.pieces, strict=False):
        # Between pieces that are no neighbours `Seen` has one character that parts them.
        if before is not None and (before.document, before.end) != (piece.document, piece.start):
            left -= 1
        if left < len(piece.text):
            skipped = max(0, left)
            rest.append(piece._replace(start=piece.start + skipped, text=piece.text[skipped:]))
        left -= len(piece.text)
    if not any(piece.text.strip() for piece in rest):
        return None
    return _of(chunk, tuple(rest), "")


def _of(chunk: Chunk, pieces: tuple[Piece, ...], overlap: str) -> Chunk:
    return Chunk(chunk.index, pieces[0].start, pieces[-1].end, pieces, overlap)


def _is_wrapped(lines: Sequence[str]) -> bool:
    """Whether lines are those of a paragraph: most of them break off within a sentence and are about as long."""
    longest = max(map(len, lines))
    broken = [line for line in lines if len(line) > longest * 0.6 and not _ENDED.search(line)]
    going_on = sum(after[:1].islower() for after in lines[1:])
    return 40 <= longest <= 140 and len(broken) > len(lines) / 3 and going_on > len(lines) / 4

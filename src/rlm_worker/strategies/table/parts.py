"""Parts of a chunk as chunks of their own, each with its place among the bytes of the context."""

from __future__ import annotations

from rlm_worker.messages import Span
from rlm_worker.tables.records import halves, rest_of
from rlm_worker.text.chunks import Chunk
from rlm_worker.text.tokens import byte_length

Placed = tuple[Span, Chunk]


def halves_of(span: Span, chunk: Chunk) -> list[Placed]:
    """A chunk in two, cut between records; nothing where it cannot be cut."""
    parts = halves(chunk)
    return [_placed(span, chunk, part) for part in parts] if len(parts) > 1 else []


def rest_from(span: Span, chunk: Chunk, offset: int) -> Placed | None:
    """What of a chunk stands behind a character of what its reader saw; None where that is nothing, or everything."""
    rest = rest_of(chunk, offset)
    return None if rest is None or rest.start <= chunk.start else _placed(span, chunk, rest)


def _placed(span: Span, chunk: Chunk, part: Chunk) -> Placed:
    start = span.byte_start + _bytes_before(chunk, part.start)
    length = sum(byte_length(piece.text) for piece in part.pieces)
    return Span(span.index, part.start, part.end, start, start + length, byte_length(part.overlap)), part


def _bytes_before(chunk: Chunk, start: int) -> int:
    """How many bytes of a chunk stand before a character of the context."""
    before = [piece.text[: max(0, start - piece.start)] for piece in chunk.pieces]
    return sum(map(byte_length, before))

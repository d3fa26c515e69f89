"""What chunking gives: chunks, made of pieces of documents, within a budget."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NamedTuple

# A marker is this many hexadecimal digits; none weighs more tokens than these.
NO_MARKER = "0" * 16

# Pieces and chunks are tuples: thousands are made of every megabyte, and a frozen dataclass takes three times as long.


class Piece(NamedTuple):
    """A part of one document inside a chunk.

    `document` is the document's index in the context, `start` a character offset in the whole context: the texts of
    all documents one after another, nothing between.
    """

    document: int
    name: str | None
    start: int
    text: str

    @property
    def end(self) -> int:
        return self.start + len(self.text)


class Chunk(NamedTuple):
    """Characters `start`…`end` of the context; `overlap` repeats what stands before `start` in the same document."""

    index: int  # type: ignore[assignment] # nobody looks for a chunk's parts by value
    start: int
    end: int
    pieces: tuple[Piece, ...]
    overlap: str = ""

    @property
    def text(self) -> str:
        """What the pieces say, without the overlap; the texts of all chunks together are the context."""
        return self.pieces[0].text if len(self.pieces) == 1 else "".join([piece.text for piece in self.pieces])


def document_head(name: str, marker: str) -> str:
    """The line that introduces a document in a prompt; its name is a JSON string, so it stays on that line.

    A name with anything in it that is not to be seen, such as what reverses the order of letters, is escaped.
    """
    return f"--- document {marker} {json.dumps(name, ensure_ascii=not name.isprintable())}\n"


def further_head(name: str | None) -> str:
    """What a prompt writes between a document that has ended and the next one in the same chunk."""
    return "" if name is None else "\n" + document_head(name, NO_MARKER)


@dataclass(frozen=True, slots=True)
class ChunkBudget:
    """The most that a chunk may hold, overlap included: characters and, if given, tokens by the estimator.

    The name of every document but a chunk's first is charged too, since a prompt repeats it.
    """

    characters: int
    tokens: int | None = None

    def __post_init__(self) -> None:
        if self.characters < 1 or (self.tokens is not None and self.tokens < 1):
            raise ValueError(f"a chunk of {self.characters} characters and {self.tokens} tokens holds nothing")

"""What a model saw of the context, and where each character of it stands in its document."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from rlm_worker.text.chunks import Piece
from rlm_worker.text.context import ContextManifest

from .quotes import SEPARATOR


@dataclass(frozen=True, slots=True)
class Documents:
    """The documents of a context: their names, and where each begins in it."""

    names: Sequence[str | None]
    starts: Sequence[int]

    @classmethod
    def of(cls, manifest: ContextManifest) -> Documents:
        lengths = (characters for _, characters, _ in manifest.documents.rows())
        return cls(manifest.documents.names, array("Q", accumulate(lengths, initial=0)))

    def at(self, character: int) -> int:
        """The document that holds a character of the context."""
        return max(0, bisect_right(self.starts, character, hi=len(self.names)) - 1)


@dataclass(frozen=True, slots=True)
class Seen:
    """Parts of the context as one text; such as are no neighbours in one document stand apart in it."""

    text: str
    # For each part: where it begins in the text, its document, and where it begins in the context.
    _parts: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, pieces: Sequence[Piece], overlap: str = "") -> Seen:
        """The pieces of a chunk and the `overlap` before them, which belongs to the first one's document."""
        texts: list[str] = []
        parts: list[tuple[int, int, int]] = []
        length = 0
        for document, start, text in _joined(pieces, overlap):
            if parts:
                texts.append(SEPARATOR)
                length += len(SEPARATOR)
            parts.append((length, document, start))
            texts.append(text)
            length += len(text)
        return cls("".join(texts), tuple(parts))

    def locate(self, start: int) -> tuple[int, int]:
        """The document in which a character stands, and its place in the whole context."""
        at, document, begins = self._parts[bisect_right(self._parts, start, key=lambda part: part[0]) - 1]
        return document, begins + start - at


def _joined(pieces: Sequence[Piece], overlap: str) -> Iterator[tuple[int, int, str]]:
    """The pieces with the overlap, neighbours in one document as one: document, start in the context, text."""
    document, start, texts = -1, 0, [overlap]
    for piece in pieces:
        length = sum(map(len, texts))
        if piece.document != document or piece.start != start + length:
            if document >= 0:
                yield document, start, "".join(texts)
            texts = texts if document < 0 else []
            document, start = piece.document, piece.start - (len(overlap) if document < 0 else 0)
        texts.append(piece.text)
    if document >= 0:
        yield document, start, "".join(texts)

"""Parts of documents by their characters, read from bytes by ranges: nothing is held but what is shown."""

from __future__ import annotations

import codecs
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from rlm_worker.messages import Span
from rlm_worker.text.context import ContextReader

from .excerpts import Window

# What is read at once, and how many bytes a character has at most in UTF-8.
_BLOCK_BYTES, _MOST_BYTES = 1 << 18, 4


@dataclass(frozen=True, slots=True)
class Anchor:
    """A place in the context of which both counts are known."""

    character: int
    byte: int


def anchors(reader: ContextReader, spans: Iterable[Span]) -> list[Anchor]:
    """Where documents and chunks begin, in order."""
    rows = list(reader.manifest.documents.rows())
    characters = accumulate((count for _, count, _ in rows), initial=0)
    sizes = accumulate((size for _, _, size in rows), initial=0)
    known = {Anchor(character, byte) for character, byte in zip(characters, sizes, strict=True)}
    known |= {Anchor(span.start, span.byte_start) for span in spans}
    return sorted(known, key=lambda anchor: (anchor.character, anchor.byte))


@dataclass(slots=True)
class SourceText:
    """The context's text by characters; windows are to be asked for in their order."""

    reader: ContextReader
    known: Sequence[Anchor]
    _at: Anchor = field(default=Anchor(0, 0))

    async def read(self, document_start: int, window: Window) -> str:
        """A window of the document that begins at that character of the context."""
        start, end = document_start + window.start, document_start + window.end
        self._at = self._nearest(start)
        await self._text(start - self._at.character, kept=False)
        return await self._text(end - start)

    def _nearest(self, character: int) -> Anchor:
        """The last place before a character of which the byte is known; where each character is a byte, that itself."""
        found = self.known[max(0, bisect_right(self.known, character, key=lambda anchor: anchor.character) - 1)]
        index = bisect_right(self.known, character, key=lambda anchor: anchor.character)
        following = self.known[index] if index < len(self.known) else None
        if following and following.byte - found.byte == following.character - found.character:
            return Anchor(character, found.byte + character - found.character)
        return self._at if found.character <= self._at.character <= character else found

    async def _text(self, characters: int, *, kept: bool = True) -> str:
        """So many characters from where it stands, which is behind them then; what is not kept is passed over."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        parts: list[str] = []
        position, left, size = self._at.byte, characters, 0
        while left > 0 and position < self.reader.manifest.bytes:
            stop = min(self.reader.manifest.bytes, position + min(_BLOCK_BYTES, _MOST_BYTES * left))
            text = decoder.decode(await self.reader.read(position, stop))[:left]
            position, left, size = stop, left - len(text), size + len(text.encode())
            parts += [text] if kept else []
        self._at = Anchor(self._at.character + characters - left, self._at.byte + size)
        return "".join(parts)

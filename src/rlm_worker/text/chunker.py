"""Cuts documents into chunks as their text arrives, without ever holding more than about one chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from .boundaries import LOOKAHEAD, MAX_CLUSTER, find_cut, forced_cut, repeated_tail
from .chunks import Chunk, ChunkBudget, Piece, further_head
from .packing import Cost, Shelf, rank_of
from .tokens import TokenEstimator, weigh, weighed_prefix

# A document is begun in the rest of a chunk only if at least this share of the chunk is left for it.
_WORTHWHILE = 1 / 16
# The share of a chunk that may repeat the one before.
MAX_OVERLAP = 1 / 4
_NOTHING = Cost()
# Where to cut a window at most so many characters in; the last is the size of the whole chunk. 0 where it cannot be.
Cutter = Callable[[str, int, int], int]


class ArrivingText:
    """A queue of characters: appending and taking cost what the text costs, however small the pieces are."""

    def __init__(self) -> None:
        self.length = 0
        self._held = ""
        self._position = 0  # of the first character in `_held` that has not been taken
        self._arrived: list[str] = []

    def append(self, text: str) -> None:
        if text:
            self._arrived.append(text)
            self.length += len(text)

    def peek(self, count: int) -> str:
        """The first `count` characters, or all there are."""
        end = self._position + count
        if end > len(self._held) and self._arrived:
            left = self._held[self._position :]
            # One long text that arrives whole is not copied: join gives back the only item of a list.
            self._held = "".join([left, *self._arrived] if left else self._arrived)
            self._arrived.clear()
            self._position, end = 0, count
        return self._held[self._position : end]

    def drop(self, count: int) -> None:
        """Removes the first `count` characters, which have been seen."""
        self._position += count
        self.length -= count
        if self._position == len(self._held):
            self._held, self._position = "", 0


class Chunker:
    """Cuts a stream of documents into chunks; the same text gives the same chunks however it is fed.

    Chunks end, in order of preference, with a document, before a heading or a top-level definition, with a paragraph,
    sentence, line, word, and never inside a grapheme cluster unless that is longer than 65,536 characters. Which of
    several equal places is taken depends on the text there and not on its offset: soon behind an edit, chunks are the
    same as without it. Documents without text have no piece. `overlap` is in characters, at most a quarter of a chunk.

    `cut` is `find_cut`, or `find_row_cut` for lists of records.

    To go on behind a chunk that is already known, give its index + 1 and its `end`, begin the document which the text
    from there belongs to, by its index, and feed from there.
    """

    def __init__(
        self,
        budget: ChunkBudget,
        estimator: TokenEstimator | None = None,
        *,
        overlap: int = 0,
        first_index: int = 0,
        offset: int = 0,
        cut: Cutter = find_cut,
    ) -> None:
        self._budget = budget
        self._find_cut = cut
        self._estimator = estimator or TokenEstimator()
        self._reach = min(overlap, int(budget.characters * MAX_OVERLAP))
        self._index = first_index
        self._shelf = Shelf()
        # The open document; `_offset` is that of its text's beginning in the context.
        self._document = -1
        self._name: str | None = None
        self._header = _NOTHING
        self._continued = False
        self._text = ArrivingText()
        self._offset = offset
        # The chunk that is being filled: what it holds before the open document's text, and the characters left for it.
        self._overlap = ""
        self._taken = _NOTHING
        self._room = budget.characters
        self._enough = self._room + LOOKAHEAD  # the length of the open document's text at which the chunk's end is sure

    def begin_document(
        self, name: str | None, *, index: int | None = None, continued: bool = False, preceding: str = ""
    ) -> Iterator[Chunk]:
        """Ends the document before, if any, and begins one; gives the chunks that are full by this.

        `index` defaults to the next. When going on in the middle of a document, `continued` says that the last known
        chunk has cut it, and `preceding` is the text before the cut, of which the overlap is taken.
        """
        chunks = self._end_document()
        self._document = self._document + 1 if index is None else index
        self._name, self._continued = name, continued
        head = further_head(name)
        self._header = Cost(len(head), self._weight(head))
        if continued:
            self._overlap = self._repeated(preceding)
        self._measure()
        return iter(chunks)

    def feed(self, text: str) -> Iterator[Chunk]:
        """Takes more text of the document, of any length; gives the chunks that are full by this."""
        if self._document < 0:
            self.begin_document(None)
        self._text.append(text)
        return self._drain()

    def finish(self) -> Iterator[Chunk]:
        """Ends the last document and gives the chunks that are left."""
        chunks = self._end_document()
        if self._shelf.waiting:
            chunks.append(self._close(len(self._shelf.waiting)))
        return iter(chunks)

    def _drain(self) -> Iterator[Chunk]:
        # As much text is looked at as decides and never more, or the result would depend on how it was fed.
        while self._text.length >= self._enough and (chunk := self._full_chunk(ended=False)) is not None:
            yield chunk

    def _end_document(self) -> list[Chunk]:
        chunks: list[Chunk] = []
        while self._text.length and (chunk := self._full_chunk(ended=True)) is not None:
            chunks.append(chunk)
        if self._text.length:
            piece = self._take(self._text.peek(self._text.length))
            cost = Cost(len(piece.text), self._weight(piece.text))
            self._shelf.add(piece, cost, self._header, rank_of(piece, continued=self._continued))
        return chunks

    def _full_chunk(self, *, ended: bool) -> Chunk | None:
        """The next chunk, or None while the open document fits: if it has `ended` it may wait for others."""
        window = self._text.peek(self._room + LOOKAHEAD)
        high = self._room
        if self._budget.tokens is not None:
            high = self._fitting(window)
            window = window[: high + LOOKAHEAD]
        if ended and self._text.length <= high:
            return None
        if self._shelf.waiting:
            return self._mixed_chunk(window, high)
        if cut := self._find_cut(window, high, high):
            return self._cut(window[:cut])
        return self._forced_chunk(high, ended=ended)

    def _mixed_chunk(self, window: str, high: int) -> Chunk:
        """A chunk of documents that wait, to which `high` characters of the open one may be added."""
        if count := self._count_to_close(high):
            return self._close(count)
        if cut := self._find_cut(window, high, self._shelf.cost.characters + high):
            return self._cut(window[:cut])
        return self._close(len(self._shelf.waiting))

    def _fitting(self, window: str) -> int:
        """How many characters of `window` there is room for."""
        weight = self._limits().weight - self._taken.weight
        return weighed_prefix(window[: self._room], weight)

    def _count_to_close(self, high: int) -> int:
        """How many waiting documents make a chunk of their own; 0 if `high` characters of the open one belong to it."""
        count = self._shelf.count_to_close(self._limits())
        return count or (len(self._shelf.waiting) if high < self._budget.characters * _WORTHWHILE else 0)

    def _forced_chunk(self, high: int, *, ended: bool) -> Chunk | None:
        """A chunk of the one cluster that is longer than `high`, or None while its end has not been seen."""
        cut = forced_cut(self._text.peek(high + MAX_CLUSTER), high, complete=ended)
        if cut:
            self._measure()
            return self._cut(self._text.peek(cut))
        # Looking again at every character that arrives would cost the square of the cluster's length.
        self._enough = self._text.length + self._text.length // 4
        return None

    def _cut(self, text: str) -> Chunk:
        """Fills the chunk with all that waits and the `text` with which the open document begins."""
        piece = self._take(text)
        self._continued = True
        if self._shelf.waiting:
            return self._chunk((*self._shelf.take(len(self._shelf.waiting)), piece), text)
        return self._chunk((piece,), text)

    def _close(self, count: int) -> Chunk:
        """Makes a chunk of the first `count` documents that wait."""
        return self._chunk(tuple(self._shelf.take(count)), "")

    def _chunk(self, pieces: tuple[Piece, ...], before: str) -> Chunk:
        """Makes the chunk; `before` is the text which the next one's overlap is taken from."""
        chunk = Chunk(self._index, pieces[0].start, pieces[-1].end, pieces, self._overlap)
        self._index += 1
        if self._reach:
            self._overlap = self._repeated(before)
        if self._taken is not _NOTHING or self._overlap:
            self._measure()
        return chunk

    def _measure(self) -> None:
        """Finds out how much room the chunk that is being filled has for the open document."""
        self._taken = Cost(len(self._overlap), self._weight(self._overlap)) if self._overlap else _NOTHING
        if self._shelf.waiting:
            self._taken = self._taken + self._shelf.cost + self._header
        self._room = max(0, self._budget.characters - self._taken.characters)
        self._enough = self._room + LOOKAHEAD

    def _take(self, text: str) -> Piece:
        """Makes a piece of the `text` with which the open document begins."""
        piece = Piece(self._document, self._name, self._offset, text)
        self._text.drop(len(text))
        self._offset += len(text)
        return piece

    def _repeated(self, before: str) -> str:
        """The overlap that follows the text `before`."""
        reach = self._reach
        if limit := self._limits().weight:
            reach = min(reach, weighed_prefix(before[: -reach - 1 : -1], int(limit * MAX_OVERLAP)))
        return repeated_tail(before, reach) if reach else ""

    def _weight(self, text: str) -> int:
        return weigh(text) if self._budget.tokens else 0

    def _limits(self) -> Cost:
        tokens = self._budget.tokens
        return Cost(self._budget.characters, self._estimator.weight_within(tokens) if tokens else 0)


def chunk_documents(
    documents: Iterable[tuple[str | None, str]],
    budget: ChunkBudget,
    estimator: TokenEstimator | None = None,
    *,
    overlap: int = 0,
) -> Iterator[Chunk]:
    """Cuts whole documents, each a name and a text, into chunks."""
    chunker = Chunker(budget, estimator, overlap=overlap)
    for name, text in documents:
        yield from chunker.begin_document(name)
        yield from chunker.feed(text)
    yield from chunker.finish()

"""The context of a run: a table of documents and bytes that are read by ranges, never whole."""

from __future__ import annotations

import codecs
import hashlib
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rlm_worker.errors import InvalidRequest, StorageUnavailable
from rlm_worker.messages import Span
from rlm_worker.ports import ContextStore

from .chunker import Chunker
from .chunks import Chunk, ChunkBudget, Piece
from .tokens import TokenEstimator, byte_length

RANGE_BYTES = 1 << 20
# Characters before an overlap that decide where it begins: whether it would cut a word or a cluster.
_LOOK_BACK = 64


@dataclass(frozen=True, slots=True)
class DocumentInfo:
    """One document: its name, and its length in characters and UTF-8 bytes."""

    name: str | None
    characters: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ContextManifest:
    """The documents of a context in order; their texts stand one after another with nothing between.

    `sha256` is that of the bytes; where documents were sent with names, of bytes, names and lengths.

    `stored_at` is when a context that was put was complete, in seconds since the epoch; None for any other.
    """

    documents: tuple[DocumentInfo, ...]
    sha256: str
    stored_at: float | None = None

    @property
    def characters(self) -> int:
        return sum(document.characters for document in self.documents)

    @property
    def bytes(self) -> int:
        return sum(document.bytes for document in self.documents)

    @property
    def identity(self) -> str:
        """Hex SHA-256 of the texts and the documents' names, which a model sees too."""
        if self.stored_at is None or self.documents[0].name is None:
            return self.sha256  # names that were sent with their texts are in there
        named = json.dumps([self.sha256, [document.name for document in self.documents]])
        return hashlib.sha256(named.encode("utf-8", "surrogatepass")).hexdigest()

    def to_json(self) -> str:
        rows = [[document.name, document.characters, document.bytes] for document in self.documents]
        stored = {} if self.stored_at is None else {"storedAt": self.stored_at}
        return json.dumps({"sha256": self.sha256, "documents": rows, **stored}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> ContextManifest:
        parsed = json.loads(text)
        documents = tuple(DocumentInfo(*row) for row in parsed["documents"])
        return cls(documents, parsed["sha256"], parsed.get("storedAt"))


class ContextReader(Protocol):
    """Gives byte ranges of one context."""

    @property
    def manifest(self) -> ContextManifest: ...

    async def read(self, start: int, end: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class InlineReader:
    """A context small enough to be held."""

    manifest: ContextManifest
    content: bytes

    async def read(self, start: int, end: int) -> bytes:
        return self.content[start:end]


@dataclass(frozen=True, slots=True)
class StoredReader:
    """A context in the store."""

    manifest: ContextManifest
    store: ContextStore
    key: str

    async def read(self, start: int, end: int) -> bytes:
        content = await self.store.read(self.key, start, end - start)
        if len(content) != end - start:
            raise StorageUnavailable(f"the stored context is damaged: {len(content)} bytes of {end - start} at {start}")
        return content


def gather_documents(texts: Sequence[tuple[str | None, str]]) -> tuple[ContextManifest, list[bytes]]:
    """Measures and digests documents; gives their UTF-8 bytes. Raises `InvalidRequest` for text that is not Unicode."""
    digest = hashlib.sha256()
    documents: list[DocumentInfo] = []
    parts: list[bytes] = []
    for index, (name, text) in enumerate(texts):
        try:
            part = text.encode()
        except UnicodeEncodeError:
            raise InvalidRequest.at(f"context.{index}", "holds a lone surrogate, which is not text") from None
        documents.append(DocumentInfo(name, len(text), len(part)))
        digest.update(part)
        parts.append(part)
    table = json.dumps([[document.name, document.bytes] for document in documents]).encode()
    whole = digest.hexdigest() if len(documents) == 1 and documents[0].name is None else _combined(digest, table)
    return ContextManifest(tuple(documents), whole), parts


def _combined(digest: hashlib._Hash, table: bytes) -> str:
    return hashlib.sha256(digest.digest() + table).hexdigest()


@dataclass(frozen=True, slots=True)
class _Start:
    """A document begins, or goes on where reading was taken up again."""

    index: int
    name: str | None
    continued: bool = False


async def _pieces(reader: ContextReader, start: int, end: int) -> AsyncIterator[_Start | str]:
    """A byte range of the context: a mark where a document begins, and its text in pieces as they are read."""
    documents = reader.manifest.documents
    index, before = _document_at(documents, start)
    if index == len(documents):
        return
    yield _Start(index, documents[index].name, continued=start > before)
    left = before + documents[index].bytes - start
    decoder = codecs.getincrementaldecoder("utf-8")()
    async for block in _blocks(reader, start, end):
        offset = 0
        while offset < len(block):
            while left == 0:
                index += 1
                left = documents[index].bytes
                yield _Start(index, documents[index].name)
            part = block[offset : offset + left]
            offset += len(part)
            left -= len(part)
            yield _decoded(decoder, part)


def _decoded(decoder: codecs.IncrementalDecoder, part: bytes) -> str:
    try:
        return decoder.decode(part)
    except UnicodeDecodeError:  # it was UTF-8 when it was stored
        raise StorageUnavailable("the stored context is damaged: it is no longer UTF-8") from None


async def _blocks(reader: ContextReader, start: int, end: int) -> AsyncIterator[bytes]:
    while start < end:
        stop = min(end, start + RANGE_BYTES)
        yield await reader.read(start, stop)
        start = stop


def _document_at(documents: Sequence[DocumentInfo], start: int) -> tuple[int, int]:
    before = 0
    for index, document in enumerate(documents):
        if start < before + document.bytes:
            return index, before
        before += document.bytes
    return len(documents), before


@dataclass(slots=True)
class ChunkStream:
    """Cuts a context into chunks while reading it, and knows where in the bytes each one lies.

    `after` takes up again behind a chunk that was cut before.
    """

    reader: ContextReader
    budget: ChunkBudget
    estimator: TokenEstimator | None = None
    overlap: int = 0
    after: Span | None = None
    _byte: int = field(default=0, init=False)

    async def chunks(self) -> AsyncIterator[tuple[Span, Chunk]]:
        first = self.after.index + 1 if self.after else 0
        offset = self.after.end if self.after else 0
        self._byte = self.after.byte_end if self.after else 0
        chunker = Chunker(self.budget, self.estimator, overlap=self.overlap, first_index=first, offset=offset)
        preceding = await self._preceding()
        async for piece in _pieces(self.reader, self._byte, self.reader.manifest.bytes):
            for placed in self._placed(_fed(chunker, piece, preceding)):
                yield placed
        for placed in self._placed(chunker.finish()):
            yield placed

    async def _preceding(self) -> str:
        """What stands before the place where chunking is taken up again, as far as an overlap can reach."""
        if not self.overlap or self.after is None:
            return ""
        _, begin = _document_at(self.reader.manifest.documents, self._byte)
        # No further back than the chunk before: what stands before that was forgotten when it was cut.
        first = max(begin, self.after.byte_start, self._byte - 4 * (self.overlap + _LOOK_BACK))
        return (await self.reader.read(first, self._byte)).decode(errors="ignore") if first < self._byte else ""

    def _placed(self, chunks: Iterator[Chunk]) -> Iterator[tuple[Span, Chunk]]:
        for chunk in chunks:
            begin = self._byte
            self._byte += sum(byte_length(piece.text) for piece in chunk.pieces)
            yield Span(chunk.index, chunk.start, chunk.end, begin, self._byte, byte_length(chunk.overlap)), chunk


def _fed(chunker: Chunker, piece: _Start | str, preceding: str) -> Iterator[Chunk]:
    if isinstance(piece, str):
        return chunker.feed(piece)
    continued = piece.continued
    return chunker.begin_document(
        piece.name, index=piece.index, continued=continued, preceding=preceding if continued else ""
    )


async def read_chunk(reader: ContextReader, span: Span) -> Chunk:
    """Reads one chunk again by its span, as it was cut: the overlap with it."""
    pieces: list[Piece] = []
    offset = span.start
    document = _Start(0, None)
    async for part in _pieces(reader, span.byte_start, span.byte_end):
        if isinstance(part, _Start):
            document = part
        elif part:
            pieces.append(Piece(document.index, document.name, offset, part))
            offset += len(part)
    before = await reader.read(span.byte_start - span.overlap_bytes, span.byte_start) if span.overlap_bytes else b""
    return Chunk(span.index, span.start, span.end, tuple(pieces), before.decode())


async def read_all(reader: ContextReader) -> tuple[Piece, ...]:
    """The whole context; only for one that is known to fit a model's window."""
    manifest = reader.manifest
    return (await read_chunk(reader, Span(0, 0, manifest.characters, 0, manifest.bytes))).pieces

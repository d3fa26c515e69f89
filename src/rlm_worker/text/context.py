"""The context of a run: a table of documents and bytes that are read by ranges, never whole."""

from __future__ import annotations

import base64
import codecs
import hashlib
import itertools
import json
import zlib
from array import array
from bisect import bisect_right
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, overload

from rlm_worker.errors import InvalidRequest, MalformedBody, StorageUnavailable
from rlm_worker.json_scan import Bytes, item_ranges, member_ranges
from rlm_worker.messages import Span
from rlm_worker.ports import ContextStore

from .boundaries import find_cut
from .chunker import Chunker, Cutter
from .chunks import Chunk, ChunkBudget, Piece
from .tokens import TokenEstimator, byte_length

RANGE_BYTES = 1 << 20
# Characters before an overlap that decide where it begins: whether it would cut a word or a cluster.
_LOOK_BACK = 64
# Tables of so many documents are packed: of 100,000 source files one takes 4 MB, and packed a tenth of that.
_LONG_TABLE = 1_000


@dataclass(frozen=True, slots=True)
class DocumentInfo:
    """One document: its name, and its length in characters and UTF-8 bytes."""

    name: str | None
    characters: int
    bytes: int


class Names(Sequence[str | None]):
    """The names of documents, one after another in one piece: 100,000 strings would take three times as much."""

    def __init__(self) -> None:
        self._encoded, self._ends = bytearray(), array("Q")
        self._nameless: set[int] = set()

    def append(self, name: str | None) -> None:
        """One more; None for a document without."""
        if name is None:
            self._nameless.add(len(self))
        self._encoded += (name or "").encode("utf-8", "surrogatepass")
        self._ends.append(len(self._encoded))

    def __iter__(self) -> Iterator[str | None]:
        return map(self._at, range(len(self)))

    @overload
    def __getitem__(self, index: int) -> str | None: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str | None]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str | None] | None:
        places = range(len(self))[index]
        return self._at(places) if isinstance(places, int) else [self._at(place) for place in places]

    def __len__(self) -> int:
        return len(self._ends)

    def _at(self, index: int) -> str | None:
        if index in self._nameless:
            return None
        begin = self._ends[index - 1] if index else 0
        return self._encoded[begin : self._ends[index]].decode("utf-8", "surrogatepass")


class Documents(Sequence[DocumentInfo]):
    """A table of documents, as small as 100,000 of them need it: what is asked for is put together."""

    def __init__(self, documents: Iterable[DocumentInfo] = ()) -> None:
        self.names = Names()
        self._characters, self._bytes, self._ends = array("Q"), array("Q"), array("Q")
        for document in documents:
            self.append(document.name, document.characters, document.bytes)

    def append(self, name: str | None, characters: int, size: int) -> None:
        """One more document; `size` in bytes."""
        self.names.append(name)
        self._characters.append(characters)
        self._bytes.append(size)
        self._ends.append(self.bytes + size)

    def name_only(self, name: str) -> None:
        """Names the one document that there is."""
        self.names = Names()
        self.names.append(name)

    def extend_last(self, characters: int, size: int) -> None:
        """What was cut goes on."""
        self._characters[-1] += characters
        self._bytes[-1] += size
        self._ends[-1] += size

    @property
    def characters(self) -> int:
        return sum(self._characters)

    @property
    def bytes(self) -> int:
        return self._ends[-1] if self._ends else 0

    def at_byte(self, start: int) -> tuple[int, int]:
        """The document that holds a byte, and how many bytes stand before that document."""
        index = bisect_right(self._ends, start)
        return index, self._ends[index - 1] if index else 0

    def rows(self) -> Iterator[tuple[str | None, int, int]]:
        """Name, characters and bytes of each."""
        return zip(self.names, self._characters, self._bytes, strict=True)

    @overload
    def __getitem__(self, index: int) -> DocumentInfo: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[DocumentInfo]: ...

    def __getitem__(self, index: int | slice) -> DocumentInfo | Sequence[DocumentInfo]:
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        return DocumentInfo(self.names[index], self._characters[index], self._bytes[index])

    def __len__(self) -> int:
        return len(self.names)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __hash__(self) -> int:
        return hash((len(self), self.bytes))


@dataclass(frozen=True, slots=True)
class ContextManifest:
    """The documents of a context in order; their texts stand one after another with nothing between.

    `sha256` is that of the bytes; where documents were sent with names, of bytes, names and lengths.

    `stored_at` is when a context that was put was complete, in seconds since the epoch; None for any other.
    """

    documents: Documents
    sha256: str
    stored_at: float | None = None

    @property
    def characters(self) -> int:
        return self.documents.characters

    @property
    def bytes(self) -> int:
        return self.documents.bytes

    @property
    def identity(self) -> str:
        """Hex SHA-256 of the texts and the documents' names, which a model sees too."""
        if self.stored_at is None or len(self.documents) > 1 or self.documents[0].name is None:
            return self.sha256  # names that were sent with their texts are in there
        named = json.dumps([self.sha256, [document.name for document in self.documents]])
        return hashlib.sha256(named.encode("utf-8", "surrogatepass")).hexdigest()

    def to_json(self) -> str:
        return "".join(self._json_parts())

    def packed(self) -> str:
        """The same for what crosses several borders: a long table as base64 of its zlib; `from_json` takes both."""
        if len(self.documents) < _LONG_TABLE:
            return self.to_json()
        packing = zlib.compressobj()
        parts = [packing.compress(part.encode()) for part in self._json_parts()]
        return base64.b64encode(b"".join([*parts, packing.flush()])).decode()

    def _json_parts(self) -> Iterator[str]:
        """In groups: a string for each row of 100,000 would take several times what they say."""
        yield f'{{"sha256": {json.dumps(self.sha256)}, "documents": ['
        rest, comma = self.documents.rows(), ""
        while group := list(itertools.islice(rest, 1_000)):
            yield comma + json.dumps(group, ensure_ascii=False)[1:-1]
            comma = ", "
        yield "]}" if self.stored_at is None else f'], "storedAt": {json.dumps(self.stored_at)}}}'

    @classmethod
    def from_json(cls, text: str | Bytes) -> ContextManifest:
        """The table as either wrote it; raises `ValueError`, `KeyError` or `TypeError` for what is none."""
        try:
            return cls._read(_unpacked(text))
        except (MalformedBody, zlib.error) as error:
            raise ValueError(f"it is no table of documents: {error}") from None

    @classmethod
    def _read(cls, body: Bytes) -> ContextManifest:
        # Row by row: 100,000 of them as lists would take several times what they say.
        documents = Documents()
        members = {json.loads(key): place for key, *place in member_ranges(body, 0, len(body))}
        for start, end in item_ranges(body, *members["documents"]):
            documents.append(*json.loads(body[start:end]))
        sha256, stored_at = (
            json.loads(body[slice(*members[name])]) if name in members else None for name in ("sha256", "storedAt")
        )
        if not isinstance(sha256, str):
            raise KeyError("sha256")
        return cls(documents, sha256, stored_at)


def _unpacked(text: str | Bytes) -> Bytes:
    body = text.encode() if isinstance(text, str) else text
    return body if body.startswith(b"{") else zlib.decompress(base64.b64decode(body))


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
    measured = MeasuredDocuments()
    parts: list[bytes] = []
    for index, (name, text) in enumerate(texts):
        measured.begin(name)
        try:
            part = text.encode()
        except UnicodeEncodeError:
            raise InvalidRequest.at(f"context.{index}", "holds a lone surrogate, which is not text") from None
        measured.take(text, part)
        parts.append(part)
    return measured.manifest(), parts


def _named_by_place(number: int) -> str:
    return f"document {number}"


@dataclass(slots=True)
class MeasuredDocuments:
    """Measures and digests documents that come block by block; holds none of them."""

    documents: Documents = field(default_factory=Documents)
    blank: bool = True
    _digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def begin(self, name: str | None) -> None:
        """A document begins; one without a name among others is named by its place, so that all stay apart."""
        before = len(self.documents)
        if before == 1 and self.documents.names[0] is None:
            self.documents.name_only(_named_by_place(1))
        self.documents.append(name if name is not None or not before else _named_by_place(before + 1), 0, 0)

    def take(self, text: str, encoded: bytes) -> None:
        """The next block of the document, and the same in UTF-8."""
        self.documents.extend_last(len(text), len(encoded))
        self._digest.update(encoded)
        self.blank = self.blank and not text.strip()

    @property
    def sha256(self) -> str:
        """Hex digest of all bytes."""
        return self._digest.hexdigest()

    def manifest(self, stored_at: float | None = None) -> ContextManifest:
        """The table of what came, with the digest of it all; one nameless text has that of its bytes."""
        documents = self.documents
        if len(documents) == 1 and documents.names[0] is None:
            return ContextManifest(documents, self.sha256, stored_at)
        table = hashlib.sha256(self._digest.digest())
        table.update(b"[")
        for number, (name, _, size) in enumerate(documents.rows()):
            table.update((", " * bool(number) + json.dumps([name, size])).encode())
        table.update(b"]")
        return ContextManifest(documents, table.hexdigest(), stored_at)


@dataclass(frozen=True, slots=True)
class _Start:
    """A document begins, or goes on where reading was taken up again."""

    index: int
    name: str | None
    continued: bool = False


async def _pieces(reader: ContextReader, start: int, end: int) -> AsyncIterator[_Start | str]:
    """A byte range of the context: a mark where a document begins, and its text in pieces as they are read."""
    documents = reader.manifest.documents
    index, before = documents.at_byte(start)
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
                document = documents[index]
                left = document.bytes
                yield _Start(index, document.name)
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
    cut: Cutter = find_cut
    _byte: int = field(default=0, init=False)

    async def chunks(self) -> AsyncGenerator[tuple[Span, Chunk], None]:
        first = self.after.index + 1 if self.after else 0
        offset = self.after.end if self.after else 0
        self._byte = self.after.byte_end if self.after else 0
        chunker = Chunker(
            self.budget, self.estimator, overlap=self.overlap, first_index=first, offset=offset, cut=self.cut
        )
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
        _, begin = self.reader.manifest.documents.at_byte(self._byte)
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

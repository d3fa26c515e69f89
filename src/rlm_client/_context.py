"""The context of a question: text, documents, or an upload; how it travels in a request, and how it is uploaded."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

import httpx

from ._errors import RequestError
from ._models import RLMResult, SessionStatus, StoredContext, Submitted

BLOCK_SIZE = 256 * 1024
"""Bytes (of a string: characters) read and sent at a time."""
LINE_CHARACTERS = 256 * 1024
"""Characters of a document in one line: whatever they are, the Worker takes a line of them."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text with a name, such as a file's path; the model sees both."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class UploadProgress:
    """How many bytes went out; `total` is None when the source does not know its length."""

    sent: int
    total: int | None


@dataclass(frozen=True, slots=True)
class PreviousSession:
    """The context of an earlier question, with that question and its answer: what a follow-up is about."""

    session_id: str


Piece: TypeAlias = str | Document | Mapping[str, str]
Context: TypeAlias = str | StoredContext | PreviousSession | RLMResult | Document | Sequence[Piece]
Source: TypeAlias = str | bytes | Path | BinaryIO
OnProgress: TypeAlias = Callable[[UploadProgress], None]


class UploadBody(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A source as the body of a request, for either kind of client; it starts over when it is sent again."""

    def __init__(self, source: Source | DocumentLines, on_progress: OnProgress | None = None) -> None:
        self._source = source
        self._on_progress = on_progress
        self.length = _length(source)
        lines = isinstance(source, DocumentLines)
        self.media_type = "application/x-ndjson" if lines else "text/plain; charset=utf-8"

    @property
    def replayable(self) -> bool:
        """Whether the source can be read a second time."""
        return isinstance(self._source, str | bytes | Path | DocumentLines) or self._source.seekable()

    def headers(self) -> dict[str, str]:
        """Return the headers that announce the body's length, or that it has none."""
        if self.length is None:
            return {"Transfer-Encoding": "chunked"}
        return {"Content-Length": str(self.length)}

    def __iter__(self) -> Iterator[bytes]:
        sent = 0
        for block in _blocks(self._source):
            yield block
            sent += len(block)
            if self._on_progress is not None:
                self._on_progress(UploadProgress(sent, self.length))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        # A quarter of a megabyte from a local disk is not worth a thread.
        for block in self:
            yield block


def wire_context(context: Context) -> dict[str, object]:
    """Return the field of a request that carries the context."""
    if isinstance(context, StoredContext):
        return {"contextId": context.context_id}
    if isinstance(context, PreviousSession | RLMResult):
        return {"previousSessionId": previous_session(context).session_id}
    if isinstance(context, str):
        return {"context": context}
    return {"context": [_wire_piece(piece) for piece in _pieces(context)]}


def previous_session(of: RLMResult | SessionStatus | Submitted | PreviousSession | str) -> PreviousSession:
    """Return the session that a result, a status or an id stands for; raises `RequestError` where there is none."""
    session_id = of if isinstance(of, str) else of.session_id
    if not session_id:
        raise RequestError("The result to follow has no session.")
    return PreviousSession(session_id)


def inline_size(context: Context) -> int:
    """Return how many bytes of UTF-8 would travel with the request; what the Worker has already adds none."""
    if isinstance(context, StoredContext | PreviousSession | RLMResult):
        return 0
    if isinstance(context, str):
        return _size(context)
    return sum(_size(_text(piece)) + len(_name(piece)) for piece in _pieces(context))


class DocumentLines:
    """A list of documents as a source: a line of JSON for each, for one that is long several."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            text, begins = _text(piece), True
            while begins or text:
                head, text = text[:LINE_CHARACTERS], text[LINE_CHARACTERS:]
                name = {} if isinstance(piece, str) else {"name": _name(piece)}
                line = {**name, "text": head} if begins else {"text": head, "continues": True}
                yield utf8(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n", "context")
                begins = False


def upload_source(context: Context) -> str | DocumentLines:
    """Return what a context is uploaded as: a text as it is, documents with their names in lines."""
    if isinstance(context, StoredContext | PreviousSession | RLMResult):
        raise RequestError("A stored context's text is not available to the client.")
    return context if isinstance(context, str) else DocumentLines(_pieces(context))


def utf8(text: str, what: str) -> bytes:
    """Return the text as UTF-8; raises `RequestError` for what it cannot encode."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise RequestError(f"The {what} contains a lone surrogate, which UTF-8 cannot encode.") from None


def _pieces(context: Document | Sequence[Piece]) -> Sequence[Piece]:
    return [context] if isinstance(context, Document) else context


def _wire_piece(piece: Piece) -> object:
    if isinstance(piece, Document):
        return {"name": piece.name, "text": piece.text}
    return piece if isinstance(piece, str) else dict(piece)


def _text(piece: Piece) -> str:
    if isinstance(piece, str):
        return piece
    return piece.text if isinstance(piece, Document) else piece.get("text", "")


def _name(piece: Piece) -> str:
    if isinstance(piece, str):
        return ""
    return piece.name if isinstance(piece, Document) else piece.get("name", "")


def _size(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(len(text[at : at + BLOCK_SIZE].encode(errors="replace")) for at in range(0, len(text), BLOCK_SIZE))


def _blocks(source: Source | DocumentLines) -> Iterator[bytes]:
    if isinstance(source, DocumentLines):
        yield from source
    elif isinstance(source, str):
        yield from (utf8(source[at : at + BLOCK_SIZE], "context") for at in range(0, len(source), BLOCK_SIZE))
    elif isinstance(source, bytes):
        yield from (source[at : at + BLOCK_SIZE] for at in range(0, len(source), BLOCK_SIZE))
    elif isinstance(source, Path):
        with source.open("rb") as file:
            yield from _read(file)
    else:
        yield from _rewound(source)


def _rewound(file: BinaryIO) -> Iterator[bytes]:
    if file.seekable():
        file.seek(0)
    yield from _read(file)


def _read(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(BLOCK_SIZE):
        yield block


def _length(source: Source | DocumentLines) -> int | None:
    if isinstance(source, bytes):
        return len(source)
    if isinstance(source, str | DocumentLines):
        return sum(map(len, _blocks(source)))
    if isinstance(source, Path):
        return source.stat().st_size
    return os.fstat(source.fileno()).st_size if _is_file(source) else None


def _is_file(source: BinaryIO) -> bool:
    # Only a seekable file's size is the number of bytes that it will give.
    try:
        return source.seekable() and source.fileno() >= 0
    except (OSError, AttributeError):
        return False

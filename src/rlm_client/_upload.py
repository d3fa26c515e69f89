"""Sending a text of any size without holding it: a request body that is read as it goes out."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

import httpx

from rlm_client._errors import RequestError

PIECE = 256 * 1024
"""Bytes read and sent at a time."""


@dataclass(frozen=True, slots=True)
class UploadProgress:
    """How many bytes went out; `total` is None when the source does not know its length."""

    sent: int
    total: int | None


OnProgress: TypeAlias = Callable[[UploadProgress], None]
Source: TypeAlias = str | bytes | Path | BinaryIO


class UploadBody(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A source as the body of a request, for either kind of client; it starts over when it is sent again."""

    def __init__(self, source: Source, on_progress: OnProgress | None = None) -> None:
        self._source = source
        self._on_progress = on_progress
        self.length = _length(source)

    @property
    def replayable(self) -> bool:
        """Whether the source can be read a second time."""
        return isinstance(self._source, str | bytes | Path) or self._source.seekable()

    def headers(self) -> dict[str, str]:
        """Return the headers that announce the body's length, or that it has none."""
        if self.length is None:
            return {"Transfer-Encoding": "chunked"}
        return {"Content-Length": str(self.length)}

    def __iter__(self) -> Iterator[bytes]:
        sent = 0
        for piece in _pieces(self._source):
            yield piece
            sent += len(piece)
            if self._on_progress is not None:
                self._on_progress(UploadProgress(sent, self.length))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        # A quarter of a megabyte from a local disk is not worth a thread.
        for piece in self:
            yield piece


def _pieces(source: Source) -> Iterator[bytes]:
    if isinstance(source, str):
        yield from (_encoded(source[at : at + PIECE]) for at in range(0, len(source), PIECE))
    elif isinstance(source, bytes):
        yield from (source[at : at + PIECE] for at in range(0, len(source), PIECE))
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
    while piece := file.read(PIECE):
        yield piece


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise RequestError("The context holds half of a surrogate pair, which UTF-8 cannot express.") from None


def _length(source: Source) -> int | None:
    if isinstance(source, bytes):
        return len(source)
    if isinstance(source, str):
        return sum(len(piece) for piece in _pieces(source))
    if isinstance(source, Path):
        return source.stat().st_size
    return os.fstat(source.fileno()).st_size if _is_file(source) else None


def _is_file(source: BinaryIO) -> bool:
    # Only a seekable file's size is the number of bytes that it will give.
    try:
        return source.seekable() and source.fileno() >= 0
    except (OSError, AttributeError):
        return False

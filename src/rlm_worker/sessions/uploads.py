"""What `PUT /contexts` takes: one text, or a line of JSON for each document; stored as it arrives, held by nobody."""

from __future__ import annotations

import codecs
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field, ValidationError

from rlm_worker.errors import FieldProblem, InvalidRequest, MalformedBody, PayloadTooLarge
from rlm_worker.json_scan import LineCutter, check_depth
from rlm_worker.memory import MIB
from rlm_worker.ports import Clock, ContextStore, pieces
from rlm_worker.text.context import ContextManifest, MeasuredDocuments
from rlm_worker.wire.base import Wire
from rlm_worker.wire.requests import MAX_NAME_CHARACTERS, refusal
from rlm_worker.wire.results import StoredContext

from .contexts import check_names, manifest_key, stored_context_key

# A longer document comes in several lines.
MAX_LINE_BYTES = 2 * MIB
# A part of the store's, while it is gathered and while it is sent; and what a line takes in its forms.
_WRITING_BYTES, _LINE_BYTES = 8 * MIB, 8 * MIB


class DocumentLine(Wire):
    """One line of a context that is put in lines; with `continues` its text goes on where the line before ended."""

    name: Annotated[str, Field(max_length=MAX_NAME_CHARACTERS)] | None = None
    text: str
    continues: bool = False


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """How many bytes of text and how many documents a deployment takes."""

    bytes: int
    documents: int


def needed_bytes(size: int, *, lines: bool) -> int:
    """How much of the isolate's memory an upload of that many bytes takes."""
    return min(2 * size, _WRITING_BYTES) + (min(4 * size, _LINE_BYTES) if lines else MIB)


@dataclass(slots=True)
class Upload:
    """A text on its way into the store: gives its bytes, and knows afterwards what they were."""

    body: AsyncIterator[bytes]
    limits: UploadLimits
    name: str | None = None
    measured: MeasuredDocuments = field(default_factory=MeasuredDocuments)
    _size: int = 0

    async def text(self) -> AsyncIterator[bytes]:
        """The bytes of one document, as they arrive."""
        self.measured.begin(self.name)
        decoder = codecs.getincrementaldecoder("utf-8")()
        async for piece in self.body:
            self._count(len(piece))
            self.measured.take(self._decoded(decoder, piece), piece)
            yield piece
        self._decoded(decoder, b"", final=True)

    async def lines(self) -> AsyncIterator[bytes]:
        """The bytes of all documents of a body that has a line for each."""
        cutter, number = LineCutter(MAX_LINE_BYTES), 0
        async for piece in self.body:
            for line in cutter.feed(piece):
                number += 1
                yield self._document(line, number)
        if line := cutter.rest():
            yield self._document(line, number + 1)

    def manifest(self, now: float, *, lines: bool) -> ContextManifest:
        """The table of what came; raises `InvalidRequest` where that says nothing."""
        measured = self.measured
        if measured.blank:
            raise InvalidRequest.at("", "the context is empty")
        return measured.manifest(now) if lines else ContextManifest(measured.documents, measured.sha256, now)

    def _document(self, line: bytes, number: int) -> bytes:
        if len(line) > MAX_LINE_BYTES:
            advice = f"cut the document of line {number:,}, with `continues` in all lines of it but the first"
            raise PayloadTooLarge(MAX_LINE_BYTES, "bytes in a line", advice)
        found = _parsed(line, number)
        if found.continues and not self.measured.documents:
            raise InvalidRequest.at(f"{number}.continues", "there is no document before")
        if not found.continues:
            self.measured.begin(found.name)
        if len(self.measured.documents) > self.limits.documents:
            raise PayloadTooLarge(self.limits.documents, "documents")
        encoded = found.text.encode()
        self._count(len(encoded))
        self.measured.take(found.text, encoded)
        return encoded

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > self.limits.bytes:
            raise PayloadTooLarge(self.limits.bytes, "bytes of context")

    def _decoded(self, decoder: codecs.IncrementalDecoder, piece: bytes, *, final: bool = False) -> str:
        try:
            return decoder.decode(piece, final)
        except UnicodeDecodeError:
            raise MalformedBody(f"the context is not UTF-8 (near byte {self._size})") from None


def _parsed(line: bytes, number: int) -> DocumentLine:
    """One line; raises `MalformedBody`, and `InvalidRequest` with the line's number in each path."""
    try:
        check_depth(line)
        return DocumentLine.model_validate_json(line)
    except MalformedBody as error:
        raise MalformedBody(f"line {number}: {error}") from None
    except ValidationError as error:
        refused = refusal(error)
        if isinstance(refused, InvalidRequest):
            raise InvalidRequest(
                [FieldProblem(f"{number}.{problem.path}", problem.message) for problem in refused.problems]
            ) from None
        raise MalformedBody(f"line {number}: {refused}") from None


async def store_context(
    upload: Upload, owner: str, store: ContextStore, clock: Clock, *, lines: bool = False
) -> StoredContext:
    """Stores a body as it arrives; what is refused leaves nothing behind.

    Raises `MalformedBody`, `PayloadTooLarge` or `InvalidRequest`.
    """
    context_id = f"ctx_{uuid.uuid4().hex}"
    key = stored_context_key(owner, context_id)
    try:
        await store.write(key, upload.lines() if lines else upload.text())
        manifest = upload.manifest(clock.now(), lines=lines)
        check_names(manifest)
    except BaseException:
        await store.delete(key)
        raise
    await store.write(manifest_key(key), pieces(manifest.to_json().encode()))
    return StoredContext(
        context_id=context_id, characters=manifest.characters, bytes=manifest.bytes, sha256=manifest.sha256
    )

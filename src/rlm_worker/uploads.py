"""`PUT /contexts`: a text of any length into the store, checked and measured while it passes."""

from __future__ import annotations

import codecs
import hashlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from .context import ContextManifest, DocumentInfo
from .errors import InvalidRequest, MalformedBody, PayloadTooLarge
from .ports import Clock, ContextStore
from .schemas import MAX_NAME_CHARACTERS, StoredContext
from .stored_contexts import manifest_key, stored_context_key


def checked_name(name: str | None) -> str | None:
    """The name that a body is stored under; raises `InvalidRequest` for one that is too long."""
    if name and len(name) > MAX_NAME_CHARACTERS:
        raise InvalidRequest.at("name", f"must have at most {MAX_NAME_CHARACTERS} characters")
    return name or None


@dataclass(slots=True)
class _Measured:
    """Passes bytes on and keeps their number, characters and digest; holds none of them."""

    pieces: AsyncIterator[bytes]
    limit: int
    size: int = 0
    characters: int = 0
    blank: bool = True
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    async def passing(self) -> AsyncIterator[bytes]:
        decoder = codecs.getincrementaldecoder("utf-8")()
        async for piece in self.pieces:
            self._take(piece, decoder)
            yield piece
        self._decode(decoder, b"", final=True)

    def _take(self, piece: bytes, decoder: codecs.IncrementalDecoder) -> None:
        self.size += len(piece)
        if self.size > self.limit:
            raise PayloadTooLarge(self.limit, "bytes of context")
        self.digest.update(piece)
        self._decode(decoder, piece, final=False)

    def require_text(self) -> None:
        if self.blank:
            raise InvalidRequest.at("", "the context is empty")

    def _decode(self, decoder: codecs.IncrementalDecoder, piece: bytes, *, final: bool) -> None:
        try:
            text = decoder.decode(piece, final)
        except UnicodeDecodeError:
            raise MalformedBody(f"the context is not UTF-8 (near byte {self.size})") from None
        self.characters += len(text)
        self.blank = self.blank and not text.strip()


async def store_context(
    body: AsyncIterator[bytes], owner: str, store: ContextStore, clock: Clock, *, limit: int, name: str | None
) -> StoredContext:
    """Stores a body as one document; what is refused leaves nothing behind.

    Raises `MalformedBody`, `PayloadTooLarge` or `InvalidRequest`.
    """
    context_id = f"ctx_{uuid.uuid4().hex}"
    key = stored_context_key(owner, context_id)
    measured = _Measured(body, limit)
    try:
        await store.write(key, measured.passing())
        measured.require_text()
    except BaseException:
        await store.delete(key)
        raise
    sha256 = measured.digest.hexdigest()
    document = DocumentInfo(name, measured.characters, measured.size)
    manifest = ContextManifest((document,), sha256, stored_at=clock.now())
    await store.write(manifest_key(key), _once(manifest.to_json().encode()))
    return StoredContext(context_id=context_id, characters=measured.characters, bytes=measured.size, sha256=sha256)


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content

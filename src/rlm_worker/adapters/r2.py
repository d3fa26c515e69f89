"""The `ContextStore` port on R2."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from pyodide.ffi import JsException

from rlm_worker.errors import NotFound, StorageUnavailable

from .bindings import binding
from .retry import with_retries

# Multipart uploads want equal parts of at least 5 MiB, 10,000 at most; only the last may be smaller.
_PART_BYTES = 5 * 1024 * 1024
_DELETE_BATCH = 1_000


class R2Store:
    """Bytes under `RLM_CONTEXT_STORAGE`."""

    def __init__(self, env: Any) -> None:
        self._env = env

    async def write(self, key: str, pieces: AsyncIterator[bytes]) -> None:
        """Stores the pieces as one object; holds one part of it at a time."""
        parts = _equal_parts(pieces)
        part, is_all = await anext(parts)
        bucket = self._bucket()
        if is_all:
            await with_retries("R2 write failed", functools.partial(bucket.put, key, part))
            return
        upload = await with_retries("R2 write failed", lambda: bucket.createMultipartUpload(key))
        try:
            done = [await _part(upload, 1, part)]
            part = b""  # not held while the next one is gathered
            async for part, _ in parts:
                done.append(await _part(upload, len(done) + 1, part))
                part = b""  # noqa: PLW2901 - the same
            await with_retries("R2 write failed", lambda: upload.complete(done))
        except BaseException:
            with suppress(JsException, OSError):
                await upload.abort()
            raise

    async def read(self, key: str, start: int, length: int) -> bytes:
        """`length` bytes from `start` on, fewer only where the object ends."""
        bucket = self._bucket()

        async def ask() -> bytes | None:
            found = await bucket.get(key, {"range": {"offset": start, "length": length}})
            return None if found is None else bytes(await found.arrayBuffer())

        content = await with_retries("R2 read failed", ask)
        if content is None:
            raise NotFound("the stored context is gone")
        return content

    async def exists(self, prefix: str) -> bool:
        """Whether there is an object whose key begins with `prefix`."""
        bucket = self._bucket()

        async def ask() -> bool:
            return bool(list((await bucket.list({"prefix": prefix, "limit": 1})).objects))

        return await with_retries("R2 list failed", ask)

    async def delete(self, prefix: str) -> None:
        """Deletes every object whose key begins with `prefix`."""
        bucket = self._bucket()

        async def ask() -> None:
            while keys := [found.key for found in (await bucket.list({"prefix": prefix})).objects]:
                await bucket.delete(keys[:_DELETE_BATCH])

        await with_retries("R2 delete failed", ask)

    def _bucket(self) -> Any:
        bucket = binding(self._env, "RLM_CONTEXT_STORAGE")
        if bucket is None:
            raise StorageUnavailable("the binding RLM_CONTEXT_STORAGE is missing")
        return bucket


async def _part(upload: Any, number: int, content: bytes) -> dict[str, object]:
    async def ask() -> dict[str, object]:
        part = await upload.uploadPart(number, content)
        return {"partNumber": part.partNumber, "etag": part.etag}

    return await with_retries("R2 write failed", ask)


async def _equal_parts(pieces: AsyncIterator[bytes]) -> AsyncIterator[tuple[bytes, bool]]:
    """The bytes in parts of one size, and whether a part is the last one."""
    held = bytearray()
    async for piece in pieces:
        rest = memoryview(piece)
        while len(held) + len(rest) > _PART_BYTES:
            taken = _PART_BYTES - len(held)
            held += rest[:taken]
            rest = rest[taken:]
            part = bytes(held)
            held.clear()
            yield part, False
            del part
        held += rest
    part = bytes(held)
    held.clear()
    yield part, True

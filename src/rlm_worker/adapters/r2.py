"""The `ContextStore` port on R2."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from pyodide.ffi import JsException

from ..errors import NotFound, StorageUnavailable
from .bindings import binding

# Multipart uploads want equal parts of at least 5 MiB; only the last may be smaller.
_PART_BYTES = 8 * 1024 * 1024
_DELETE_BATCH = 1_000


class R2Store:
    """Bytes under `RLM_CONTEXT_STORAGE`."""

    def __init__(self, env: Any) -> None:
        self._env = env

    async def write(self, key: str, pieces: AsyncIterator[bytes]) -> None:
        """Stores the pieces as one object; holds one part of it at a time."""
        parts = _equal_parts(pieces)
        first = await anext(parts, b"")
        second = await anext(parts, None)
        bucket = self._bucket()
        try:
            if second is None:
                await bucket.put(key, first)
            else:
                await _upload(bucket, key, first, second, parts)
        except (JsException, OSError) as error:
            raise StorageUnavailable(f"R2 did not take the context: {_first_line(error)}") from None

    async def read(self, key: str, start: int, length: int) -> bytes:
        """`length` bytes from `start` on."""
        try:
            found = await self._bucket().get(key, {"range": {"offset": start, "length": length}})
            if found is None:
                raise NotFound("the stored context is gone")
            return bytes(await found.arrayBuffer())
        except (JsException, OSError) as error:
            raise StorageUnavailable(f"R2 did not give the context: {_first_line(error)}") from None

    async def delete(self, prefix: str) -> None:
        """Deletes every object whose key begins with `prefix`."""
        bucket = self._bucket()
        try:
            while keys := [found.key for found in (await bucket.list({"prefix": prefix})).objects]:
                await bucket.delete(keys[:_DELETE_BATCH])
        except (JsException, OSError) as error:
            raise StorageUnavailable(f"R2 did not delete: {_first_line(error)}") from None

    def _bucket(self) -> Any:
        bucket = binding(self._env, "RLM_CONTEXT_STORAGE")
        if bucket is None:
            raise StorageUnavailable("the binding RLM_CONTEXT_STORAGE is missing")
        return bucket


async def _upload(bucket: Any, key: str, first: bytes, second: bytes, rest: AsyncIterator[bytes]) -> None:
    upload = await bucket.createMultipartUpload(key)
    try:
        done = [await upload.uploadPart(1, first), await upload.uploadPart(2, second)]
        async for part in rest:
            done.append(await upload.uploadPart(len(done) + 1, part))
        await upload.complete([{"partNumber": part.partNumber, "etag": part.etag} for part in done])
    except BaseException:
        await upload.abort()
        raise


async def _equal_parts(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    held = bytearray()
    async for piece in pieces:
        held += piece
        while len(held) >= _PART_BYTES:
            yield bytes(held[:_PART_BYTES])
            del held[:_PART_BYTES]
    if held:
        yield bytes(held)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]

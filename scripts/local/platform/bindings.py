"""Bindings whose calls count: each as the SDK wraps it, and with its own rules on top."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from .errors import throw
from .invocation import Invocation

Current = Callable[[], Invocation]
# When keys of KV were last written, in seconds since the epoch. Worker and objects share an isolate here.
_WRITTEN: dict[str, float] = {}
_MOST_KEPT = 10_000


class StrictBinding:
    """A binding all of whose calls are subrequests; those that are `connected` hold a connection."""

    def __init__(self, real: Any, current: Current, *, connected: bool) -> None:
        self._real = real
        self._current = current
        self._connected = connected

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if name == "_binding":  # what the SDK has wrapped
            return type(self)(found, self._current, connected=self._connected)
        return self._counted(found) if callable(found) else found

    def _counted(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any, **options: Any) -> Any:
            invocation = self._current()
            return await invocation.ask(lambda: method(*arguments, **options), connected=self._connected)

        return call


class StrictNamespace:
    """A namespace of Durable Objects: calls to their stubs count."""

    def __init__(self, real: Any, current: Current, *, connected: bool) -> None:
        self._real = real
        self._current = current
        self._connected = connected

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def get(self, *arguments: Any) -> StrictBinding:
        return StrictBinding(self._real.get(*arguments), self._current, connected=self._connected)

    def getByName(self, *arguments: Any) -> StrictBinding:
        return StrictBinding(self._real.getByName(*arguments), self._current, connected=self._connected)


class StrictKV(StrictBinding):
    """A namespace of KV: a key takes one write a second."""

    async def put(self, key: str, *arguments: Any, **options: Any) -> Any:
        return await self._counted(self._paced(self._real.put, key, "PUT"))(key, *arguments, **options)

    async def delete(self, key: str) -> Any:
        return await self._counted(self._paced(self._real.delete, key, "DELETE"))(key)

    def _paced(self, write: Callable[..., Awaitable[Any]], key: str, method: str) -> Callable[..., Awaitable[Any]]:
        async def paced(*arguments: Any, **options: Any) -> Any:
            now = time.time()
            if now - _WRITTEN.get(key, 0.0) < self._current().limits.kv_seconds:
                throw(f"KV {method} failed: 429 Too Many Requests")
            if len(_WRITTEN) >= _MOST_KEPT:
                _WRITTEN.clear()
            _WRITTEN[key] = now
            return await write(*arguments, **options)

        return paced


class StrictR2(StrictBinding):
    """A bucket of R2; of an upload in parts each call counts."""

    async def delete(self, keys: str | Sequence[str]) -> Any:
        most = self._current().limits.delete_keys
        if not isinstance(keys, str) and len(keys) > most:
            throw(f"delete: at most {most:g} keys")
        return await self._counted(self._real.delete)(keys)

    async def createMultipartUpload(self, *arguments: Any) -> StrictBinding:
        return self._upload(await self._counted(self._real.createMultipartUpload)(*arguments))

    def resumeMultipartUpload(self, *arguments: Any) -> StrictBinding:
        return self._upload(self._real.resumeMultipartUpload(*arguments))

    def _upload(self, real: Any) -> StrictBinding:
        return StrictBinding(real, self._current, connected=True)


class StrictQueue(StrictBinding):
    """A queue that is sent to."""

    async def sendBatch(self, messages: Sequence[Any], *options: Any) -> Any:
        size = sum(_bytes(message["body"]) for message in messages)
        if size > self._current().limits.batch_bytes:
            throw("Queue sendBatch failed: Payload Too Large")
        return await self._counted(self._real.sendBatch)(messages, *options)


class StrictDataset:
    """A dataset of Analytics Engine."""

    def __init__(self, real: Any, current: Current) -> None:
        self._real = real
        self._current = current

    def writeDataPoint(self, point: Mapping[str, Any]) -> Any:
        current = self._current()
        current.point()
        limits = current.limits
        if sum(map(_bytes, point.get("blobs", ()))) > limits.blob_bytes:
            throw(f"writeDataPoint(): Cumulative size of blobs exceeds {limits.blob_bytes:g} bytes")
        if max(map(_bytes, point.get("indexes", ())), default=0) > limits.index_bytes:
            throw(f"writeDataPoint(): Size of indexes[0] exceeds {limits.index_bytes:g} bytes")
        return self._real.writeDataPoint(point)


class StrictLoader:
    """What loads Dynamic Workers."""

    def __init__(self, real: Any, current: Current) -> None:
        self._real = real
        self._current = current

    def load(self, *arguments: Any) -> StrictSandbox:
        return StrictSandbox(self._real.load(*arguments), object(), self._current)

    def get(self, name: Any, *arguments: Any) -> StrictSandbox:
        key = object() if name is None else str(name)
        return StrictSandbox(self._real.get(name, *arguments), key, self._current)


class StrictSandbox:
    """A Dynamic Worker; `key` is the same for what is the same."""

    def __init__(self, real: Any, key: object, current: Current) -> None:
        self._real = real
        self._key = key
        self._current = current

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def getEntrypoint(self, *arguments: Any) -> StrictEntrypoint:
        return StrictEntrypoint(self._real.getEntrypoint(*arguments), self._key, self._current)


class StrictEntrypoint:
    """An entrypoint of a Dynamic Worker: so many of these may be asked at once."""

    def __init__(self, real: Any, key: object, current: Current) -> None:
        self._real = real
        self._key = key
        self._current = current

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._real, name)

        async def call(*arguments: Any) -> Any:
            invocation = self._current()
            with invocation.shared.asking(self._key):
                return await invocation.ask(lambda: method(*arguments), connected=False)

        return call


def _bytes(value: object) -> int:
    return len(str(value).encode("utf-8", "replace"))

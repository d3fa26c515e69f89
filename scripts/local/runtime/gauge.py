"""What an isolate of a running deployment holds in memory: the figure that Cloudflare limits to 128 MB.

    with gauge(process) as memory:
        httpx.post(f"{process.url}/rlm", json=body)
    assert memory.peak_mb < MEMORY_LIMIT_MB

Counted is what the limit counts, JavaScript's heap and WebAssembly's memory, array buffers with them; not what workerd
itself holds, whose process is several times as large. V8's inspector tells the first and the last
(`Runtime.getHeapUsage`; its `collectGarbage` is never answered here, but `Runtime.queryObjects` collects before it
looks), and that query finds the memories of WebAssembly, which V8 does not count.

Of all that the *live* part is held under the limit: by workerd's sources the platform looks when JavaScript has had its
turn, and V8 collects before a heap passes its limit, so that nobody is condemned for what a collection would free. A
local V8, which has gigabytes, leaves it lying about. WebAssembly's memory, all that Python has, never shrinks: its peak
is there at the end too.

The Worker and all its Durable Objects share one isolate here. On the platform the objects of a class do, and the Worker
has its own: what is held under the limit here is so there as well.
"""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp

from scripts.local.errors import LocalError
from scripts.local.runtime.dev_process import DevProcess
from scripts.local.runtime.inspector import Inspector, inspect

MEMORY_LIMIT_MB = 128
MEGABYTE = 1_000_000
_SAMPLE_SECONDS, _COLLECT_SECONDS = 0.1, 0.3
_WASM_PROTOTYPE = "WebAssembly.Memory.prototype"
_WASM_BYTES = "function () { return this.reduce((sum, memory) => sum + memory.buffer.byteLength, 0); }"
_OPEN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Bytes: objects on JavaScript's heap, what C++ holds for them, array buffers, and WebAssembly's memory."""

    heap: int = 0
    embedder: int = 0
    buffers: int = 0
    wasm: int = 0

    @property
    def total(self) -> int:
        return self.heap + self.embedder + self.buffers + self.wasm

    @property
    def mb(self) -> float:
        """All of it, in millions of bytes."""
        return self.total / MEGABYTE

    def __str__(self) -> str:
        heap, buffers, wasm = (round(part / MEGABYTE) for part in (self.heap + self.embedder, self.buffers, self.wasm))
        return f"{self.mb:.0f} MB (JavaScript {heap}, array buffers {buffers}, WebAssembly {wasm})"


class MemoryGauge:
    """Watches one isolate from a thread of its own; `peak` is the most that was found alive at once.

    It looks ten times a second, garbage included, and has V8 collect only where that passes the peak so far, but not
    more often than three times a second: what lives is never more than what lies there. What comes and goes within one
    turn of JavaScript, or between two looks, is not seen; of WebAssembly's memory all is.
    """

    def __init__(self, address: str, worker: str) -> None:
        self._address = address
        self._worker = worker
        self._peak = MemoryUse()
        self._unswept = MemoryUse()
        self._failure: Exception | None = None
        self._opened = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._inspector: Inspector | None = None
        self._memories = ""
        self._collected_at = 0.0
        self._ending = asyncio.Event()
        self._thread = threading.Thread(target=self._work, name="memory gauge", daemon=True)

    @property
    def peak(self) -> MemoryUse:
        return self._peak

    @property
    def peak_mb(self) -> float:
        """The most that was alive at once, in millions of bytes."""
        return self._peak.mb

    @property
    def unswept_mb(self) -> float:
        """The most that lay there at once, garbage included, in millions of bytes."""
        return self._unswept.mb

    def read(self) -> MemoryUse:
        """What is alive now; raises `LocalError` where the isolate cannot be looked into any more."""
        if self._failure:
            raise LocalError("the isolate cannot be looked into") from self._failure
        return asyncio.run_coroutine_threadsafe(self._live(), self._loop).result()

    def __enter__(self) -> Self:
        self._thread.start()
        self._opened.wait(_OPEN_SECONDS)
        try:
            self.read()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Looks once more; raises what kept it from looking, unless the block has failed by itself."""
        try:
            if kind is None:
                self.read()
        finally:
            self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join()

    def _work(self) -> None:
        try:
            self._loop.run_until_complete(self._watch())
        finally:
            self._loop.close()

    async def _watch(self) -> None:
        try:
            async with inspect(self._address, self._worker) as self._inspector:
                await self._live()
                self._opened.set()
                while not self._ending.is_set():
                    await self._sample()
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._ending.wait(), _SAMPLE_SECONDS)
        except (LocalError, OSError, TimeoutError, aiohttp.ClientError) as error:
            self._failure = error
            self._opened.set()
            await self._ending.wait()

    async def _sample(self) -> None:
        passed = (await self._look()).total > self._peak.total
        if passed and self._loop.time() - self._collected_at > _COLLECT_SECONDS:
            await self._live()

    async def _live(self) -> MemoryUse:
        """Has V8 collect, and looks at what is left."""
        inspector = self._asked()
        prototype = await inspector.evaluated(_WASM_PROTOTYPE)
        found = await inspector.call("Runtime.queryObjects", prototypeObjectId=prototype)
        before, self._memories = self._memories, str(found["objects"]["objectId"])
        for name in filter(None, (prototype, before)):
            await inspector.call("Runtime.releaseObject", objectId=name)
        use = await self._look()
        self._collected_at = self._loop.time()
        self._peak = max(self._peak, use, key=lambda one: one.total)
        return use

    async def _look(self) -> MemoryUse:
        inspector = self._asked()
        found = await inspector.call("Runtime.getHeapUsage")
        sizes = await inspector.call(
            "Runtime.callFunctionOn", objectId=self._memories, functionDeclaration=_WASM_BYTES, returnByValue=True
        )
        use = MemoryUse(
            heap=int(found["usedSize"]),
            embedder=int(found["embedderHeapUsedSize"]),
            buffers=int(found["backingStorageSize"]),
            wasm=int(sizes["result"]["value"]),
        )
        self._unswept = max(self._unswept, use, key=lambda one: one.total)
        return use

    def _asked(self) -> Inspector:
        if self._inspector is None:
            raise LocalError("the isolate is not looked into yet")
        return self._inspector


def gauge(process: DevProcess) -> MemoryGauge:
    """The gauge of the Worker's isolate, for a `with` block; raises `LocalError` where it cannot be looked into."""
    announced, config = (json.loads((process.state / name).read_text("utf-8")) for name in ("dev.json", "run.json"))
    if not announced["inspector"]:
        raise LocalError("this deployment runs without its inspector", hint="DevProcess starts it with one")
    return MemoryGauge(announced["inspector"], config["name"])

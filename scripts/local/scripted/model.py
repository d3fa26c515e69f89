"""A language model that answers by rule and fails on order: an OpenAI-compatible server with a log that tests can read.

It runs in a thread of its own and outside workerd, so it outlives every `kill -9` of the Worker. In a test:

    with ScriptedModel() as model:      # model.url is what `scripts/dev --ai URL` takes
        model.rules = [counter("apple")]
        model.faults = [Fault(3040, calls=frozenset({1}), retry_after=1)]
        …
        assert len(model.calls) == 2

Over HTTP the same: GET and POST /control, GET and DELETE /control/calls.
"""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Self

from aiohttp import web

from scripts.local.scripted.http import scripted_app
from scripts.local.scripted.script import Script

_START_SECONDS = 10.0


class ScriptedModel(Script):
    """A script, served at `url` while it runs."""

    def __init__(self, *, port: int = 0) -> None:
        super().__init__()
        self._wanted_port = port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event
        self._thread: threading.Thread | None = None
        self.url = ""

    def start(self) -> Self:
        """Serves in a thread of its own until `stop`."""
        ready = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(ready)), name="scripted-model", daemon=True
        )
        self._thread.start()
        if not ready.wait(_START_SECONDS):
            raise TimeoutError("the scripted model did not start")
        return self

    def stop(self) -> None:
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(_START_SECONDS)
            self._loop = None

    async def _serve(self, ready: threading.Event) -> None:
        self._stopping = asyncio.Event()
        runner = web.AppRunner(scripted_app(self), access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self._wanted_port, backlog=2048)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        self._loop = asyncio.get_running_loop()
        ready.set()
        await self._stopping.wait()
        self.release()
        await runner.cleanup()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

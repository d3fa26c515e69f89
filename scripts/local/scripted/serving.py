"""A script that is played over HTTP, in a thread of its own and outside workerd: it outlives every `kill -9` of it."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from aiohttp import web

from .script import Script

_START_SECONDS = 10.0


class ServedScript(Script, ABC):
    """Served at `url`, the base URL that clients take, between `start` and `stop`."""

    def __init__(self, *, port: int = 0) -> None:
        super().__init__()
        self._wanted_port = port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event
        self._thread: threading.Thread | None = None
        self.url = ""

    @abstractmethod
    def app(self) -> web.Application:
        """What is served."""

    @abstractmethod
    def base_path(self) -> str:
        """What stands between host and route in the base URL."""

    def start(self) -> Self:
        """Serves in a thread of its own until `stop`."""
        ready = threading.Event()
        name = type(self).__name__
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), name=name, daemon=True)
        self._thread.start()
        if not ready.wait(_START_SECONDS):
            raise TimeoutError(f"{name} did not start")
        return self

    def stop(self) -> None:
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(_START_SECONDS)
            self._loop = None

    async def _serve(self, ready: threading.Event) -> None:
        self._stopping = asyncio.Event()
        runner = web.AppRunner(self.app(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self._wanted_port, backlog=2048)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}{self.base_path()}"
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

"""Streams that an object goes on writing while their readers read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import js


class Streaming:
    """What an object needs that answers with streams."""

    def _streamed(self, write: Callable[[Any], Awaitable[None]]) -> Any:
        """A stream of the platform's; `write` gets its writer and goes on until it has written everything."""
        stream = js.TransformStream.new()
        pump = asyncio.ensure_future(write(stream.writable.getWriter()))
        self._pumps.add(pump)
        pump.add_done_callback(self._pumps.discard)
        return stream.readable

    @property
    def _pumps(self) -> set[asyncio.Future[None]]:
        # The platform's base classes want `__init__` for themselves.
        pumps: set[asyncio.Future[None]] = self.__dict__.setdefault("_running_pumps", set())
        return pumps

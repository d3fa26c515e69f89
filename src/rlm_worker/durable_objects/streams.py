"""Streams that an object goes on writing while their readers read: flat in memory, and exempt from limits of RPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import js
from pyodide.ffi import JsException, to_js

from rlm_worker.log import log_error

# What is handed over at once, in characters: a row may have megabytes, and crosses into JavaScript as a copy.
_PIECE_CHARACTERS = 256 * 1024


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


async def write_text(writer: Any, text: str) -> None:
    """Writes a text as UTF-8, as fast as it is read."""
    for start in range(0, len(text), _PIECE_CHARACTERS):
        await writer.write(to_js(text[start : start + _PIECE_CHARACTERS].encode()))


async def write_all(writer: Any, texts: AsyncIterator[str]) -> None:
    """Writes texts as they come, then closes the stream; one that fails half-way breaks off."""
    try:
        async for text in texts:
            await write_text(writer, text)
        await writer.close()
    except Exception as error:  # noqa: BLE001 - whatever it is, who reads must not take this as the end
        if not isinstance(error, JsException):  # as a rule the reader has gone
            log_error("stream", error)
        with suppress(JsException):
            await writer.abort(js.Error.new("the answer broke off"))

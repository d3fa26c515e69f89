"""An isolate of a running workerd, reached through V8's inspector: the protocol of Chrome's developer tools."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from scripts.local.errors import LocalError

_ANSWER_SECONDS = 60.0
_CONTEXT_CREATED = "Runtime.executionContextCreated"


class Inspector:
    """One isolate; answers between two turns of its JavaScript, so that a call may take as long as a turn does."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._turn = asyncio.Lock()
        self._context = 0

    async def open(self) -> None:
        """Finds the context that the Worker's code runs in."""
        await self.call("Runtime.enable")
        await self.call("Runtime.disable")  # what the isolate tells of itself is for nobody

    async def call(self, method: str, **parameters: object) -> Mapping[str, Any]:
        """What a method of the protocol gives; raises `LocalError` for its error, and where workerd has gone."""
        async with self._turn, asyncio.timeout(_ANSWER_SECONDS):
            number = next(self._numbers)
            try:
                await self._socket.send_json({"id": number, "method": method, "params": parameters})
                return await self._answer(number, method)
            except (ConnectionError, TypeError) as error:  # the second: a message that is not text, so a closing one
                raise LocalError(f"workerd has gone, or lets itself be inspected no more ({method})") from error

    async def evaluated(self, expression: str) -> str:
        """The name under which the protocol knows the object that an expression of JavaScript gives."""
        found = await self.call("Runtime.evaluate", expression=expression, contextId=self._context)
        return str(found["result"]["objectId"])

    async def _answer(self, number: int, method: str) -> Mapping[str, Any]:
        while (message := await self._socket.receive_json()).get("id") != number:
            if message.get("method") == _CONTEXT_CREATED:
                self._context = message["params"]["context"]["id"]
        if "error" in message:
            raise LocalError(f"{method}: {message['error'].get('message')}")
        result: Mapping[str, Any] = message["result"]
        return result


@asynccontextmanager
async def inspect(address: str, worker: str) -> AsyncIterator[Inspector]:
    """The isolate of a Worker; `address` is workerd's inspector as `http://HOST:PORT`."""
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{address}/json") as response:
            isolates = [str(isolate["id"]) for isolate in await response.json(content_type=None)]
        found = [name for name in isolates if name.rpartition(":")[2] == worker]
        if not found:
            raise LocalError(f"workerd has no isolate {worker}, only {', '.join(isolates)}")
        async with session.ws_connect(f"{address}/{found[0]}", max_msg_size=0) as socket:
            inspector = Inspector(socket)
            await inspector.open()
            yield inspector

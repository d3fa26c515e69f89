"""The Worker with a way to hold memory: `PUT /hold/{kind}/{bytes}` holds so many more, `DELETE /hold` nothing."""

from __future__ import annotations

from typing import Any

import js
from workers import Response

import entry

RLMSession = entry.RLMSession
RLMAccount = entry.RLMAccount
RLMBatch = entry.RLMBatch
RLMPace = entry.RLMPace
RLMKeys = entry.RLMKeys
SandboxHost = entry.SandboxHost
HELD: list[Any] = []


async def _text(size: int) -> Any:
    """A string of that length on JavaScript's heap, in an array, which Python does not convert."""
    body = js.Uint8Array.new(size + 4).fill(ord("x"))
    for place, letter in ((0, "["), (1, '"'), (size + 2, '"'), (size + 3, "]")):
        body[place] = ord(letter)
    return await js.Response.new(body).json()


class Default(entry.Default):
    """Answers HTTP, and holds what it is told to."""

    async def fetch(self, request: Any) -> Any:
        _, _, path = str(request.url).partition("/hold")
        if not path and not str(request.url).endswith("/hold"):
            return await super().fetch(request)
        if not path:
            HELD.clear()
            return Response("")
        _, kind, size = path.split("/")
        if kind == "buffer":
            HELD.append(js.ArrayBuffer.new(int(size)))
        elif kind == "python":
            HELD.append(b"\x01" * int(size))
        elif kind == "text":
            HELD.append(await _text(int(size)))
        else:  # garbage: lies there until somebody collects it
            js.ArrayBuffer.new(int(size))
        return Response("")

"""The Worker with sessions that have no room: each question to one is counted, and fails as the platform lets it."""

from __future__ import annotations

from typing import Any

from workers import Response

import entry

SandboxHost = entry.SandboxHost
RLMAccount = entry.RLMAccount
RLMBatch = entry.RLMBatch
RLMPace = entry.RLMPace
RLMKeys = entry.RLMKeys
ASKED: list[str] = []


class RLMSession(entry.RLMSession):
    """The session; what it answers is too large, or it has run out of memory."""

    async def status(self, owner: str) -> str:
        ASKED.append(owner)
        return "x" * 40_000_000

    async def result(self, owner: str) -> str:
        ASKED.append(owner)
        raise MemoryError

    async def remove(self, owner: str) -> str:
        ASKED.append(owner)
        raise RuntimeError("Durable Object's isolate exceeded its memory limit and was reset.")


class Default(entry.Default):
    """Answers HTTP, and how many questions there were since it was last asked."""

    async def fetch(self, request: Any) -> Any:
        if not str(request.url).endswith("/asked"):
            return await super().fetch(request)
        count = len(ASKED)
        ASKED.clear()
        return Response(str(count))

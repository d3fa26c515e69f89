"""The Worker with a way to abort a session's Durable Object from inside: `PUT /crash/{session}`."""

from __future__ import annotations

from typing import Any

from pyodide.ffi import JsException
from workers import Response

import entry
from rlm_worker.adapters.sandbox import DynamicWorkers
from rlm_worker.durable_objects.session_object import SessionSlot, open_session

SandboxHost = entry.SandboxHost
RLMKeys = entry.RLMKeys
RLMAccount = entry.RLMAccount
RLMBatch = entry.RLMBatch
RLMPace = entry.RLMPace


class Default(entry.Default):
    """Answers HTTP, and crashes what it is told to."""

    def __init__(self, ctx: Any, env: Any) -> None:
        self.ctx = ctx
        self.env = env

    async def fetch(self, request: Any) -> Any:
        _, _, path = str(request.url).partition("/crash/")
        if not path:
            return await super().fetch(request)
        try:
            await self.env.RLM_SESSIONS.getByName(path).crash()
        except JsException:
            return Response("crashed", status=200)
        return Response("still there", status=500)


class RLMSession(entry.RLMSession):
    """The session, mortal."""

    def __init__(self, ctx: Any, env: Any) -> None:
        self.ctx = ctx
        self._sandbox = DynamicWorkers(ctx, env)
        self._slot = SessionSlot(lambda: open_session(ctx, env, self._sandbox))

    async def crash(self) -> None:
        self.ctx.abort("crashed by a test")

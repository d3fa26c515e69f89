"""The Worker, counting the rows that its sessions write as the platform bills them: `GET /rows` tells how many."""

from __future__ import annotations

from typing import Any

from workers import DurableObject, Response

import entry
from rlm_worker.adapters.sandbox import DynamicWorkers
from rlm_worker.durable_objects.session_object import SessionMethods, SessionSlot, open_session

SandboxHost = entry.SandboxHost
RLMAccount = entry.RLMAccount
RLMBatch = entry.RLMBatch
RLMPace = entry.RLMPace
RLMKeys = entry.RLMKeys
WRITTEN: list[int] = []


class CountingSQL:
    """SQLite that notes what each statement has written; a cursor has written everything as soon as it is there."""

    def __init__(self, sql: Any) -> None:
        self._sql = sql

    def exec(self, statement: str, *values: Any) -> Any:
        cursor = self._sql.exec(statement, *values)
        WRITTEN.append(int(cursor.rowsWritten))
        return cursor


class CountingStorage:
    """A Durable Object's storage; only its SQLite is another one."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage
        self.sql = CountingSQL(storage._binding.sql)
        self._binding = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)


class CountingContext:
    """A Durable Object's context; only its storage is another one."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self.storage = CountingStorage(context.storage)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


class RLMSession(SessionMethods, DurableObject):
    """The session, counted."""

    def __init__(self, ctx: Any, env: Any) -> None:
        self._sandbox = DynamicWorkers(ctx, env)
        self._slot = SessionSlot(lambda: open_session(CountingContext(ctx), env, self._sandbox))


class Default(entry.Default):
    """Answers HTTP, and what was written since it was last asked."""

    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)

    async def fetch(self, request: Any) -> Any:
        if not str(request.url).endswith("/rows"):
            return await super().fetch(request)
        written = sum(WRITTEN)
        WRITTEN.clear()
        return Response(str(written))

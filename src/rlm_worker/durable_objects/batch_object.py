"""The batch's Durable Object: its SQLite, its alarm, and its methods over RPC, each call JSON to JSON."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from rlm_worker.adapters.bindings import SystemClock, variable
from rlm_worker.adapters.queue import BatchQueue
from rlm_worker.batches.batch import Batch
from rlm_worker.batches.items import BatchEntry
from rlm_worker.batches.keeper import BatchKeeper
from rlm_worker.settings import Settings

from .rpc import answered, answered_now, sessions
from .storage import DurableAlarm, DurableEraser, DurableSQL
from .streams import Streaming, write_all


def open_batch(context: Any, env: Any) -> BatchKeeper:
    """The batch of a Durable Object, wired to the platform."""
    settings = Settings.from_vars(lambda name: variable(env, name))
    return BatchKeeper(
        Batch(DurableSQL(context)),
        BatchQueue(env),
        sessions(env),
        alarm=DurableAlarm(context),
        eraser=DurableEraser(context),
        clock=SystemClock(),
        stall_seconds=settings.batch_stall_seconds,
        retention_seconds=settings.retention_seconds,
    )


class BatchMethods(Streaming):
    """What a batch's Durable Object answers over RPC, each call JSON to JSON."""

    _keeper: BatchKeeper

    async def open(self, batch_id: str, owner: str, token: str) -> str:
        return await answered(lambda: self._keeper.open(batch_id, owner, token))

    async def add(self, token: str, first: int, entries: str) -> str:
        parsed = [BatchEntry(body, error) for body, error in json.loads(entries)]
        return await answered(lambda: self._keeper.add(token, int(first), parsed))

    async def seal(self, token: str, digest: str) -> str:
        return await answered(lambda: self._keeper.seal(token, digest))

    async def discard(self, token: str) -> str:
        return await answered(lambda: self._keeper.discard(token))

    async def remove(self, owner: str) -> str:
        return await answered(lambda: self._keeper.remove(owner))

    async def status(self, owner: str) -> str:
        def state() -> object:
            self._keeper.batch.check_owner(owner)
            return self._keeper.batch.state().to_wire()

        return await answered_now(state)

    async def characters(self, number: int) -> str:
        return await answered_now(lambda: self._keeper.batch.characters(int(number)))

    async def take(self, number: int) -> str:
        def taken() -> object:
            item = self._keeper.batch.take(int(number), _now())
            return {"owner": item.owner, "body": item.body, "attempt": item.attempt} if item else None

        return await answered_now(taken)

    async def started(self, number: int, session: str) -> str:
        return await answered_now(lambda: self._keeper.batch.started(int(number), session))

    async def deferred(self, number: int, cost: float, result: str, counted: bool) -> str:
        return await answered_now(
            lambda: self._keeper.batch.deferred(int(number), float(cost), result, counted=bool(counted), now=_now())
        )

    async def finished(self, number: int, cost: float, result: str, success: bool) -> str:
        return await answered_now(
            lambda: self._keeper.batch.finished(int(number), float(cost), result, success=bool(success), now=_now())
        )

    async def give_up(self, number: int) -> str:
        return await answered_now(lambda: self._keeper.batch.give_up(int(number), _now()))

    async def results(self, owner: str) -> Any:
        """A stream of lines; or JSON, where there is nothing to stream."""
        refused = await answered_now(lambda: self._keeper.batch.check_owner(owner))
        if "error" in json.loads(refused):
            return refused
        return self._streamed(lambda writer: write_all(writer, self._lines()))

    async def _lines(self) -> AsyncIterator[str]:
        for line in self._keeper.batch.lines():
            yield line


def _now() -> float:
    return SystemClock().now()

"""Batches on the platform: their Durable Object over RPC, the queue that feeds the consumers, and its messages."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import js
from pyodide.ffi import JsException

from rlm_worker.adapters.bindings import SystemClock, binding, variable
from rlm_worker.batches.batch import Batch, BatchEntry
from rlm_worker.batches.consumer import BatchConsumer, ItemMessage
from rlm_worker.batches.keeper import BatchKeeper
from rlm_worker.errors import StorageUnavailable
from rlm_worker.settings import Settings

from .rpc import SessionStubs, enveloped
from .storage import DurableAlarm, DurableEraser, DurableSQL

_SECONDS_PER_DAY = 86_400
_RETRY_SECONDS = 10


class BatchQueue:
    """The `ItemQueue` port on `RLM_BATCH_QUEUE`."""

    def __init__(self, env: Any) -> None:
        self._env = env

    async def send(self, messages: Sequence[str]) -> None:
        """Sends up to 100 messages at once."""
        await self._sent("sendBatch", [{"body": message, "contentType": "text"} for message in messages])

    async def send_later(self, message: str, delay_seconds: int) -> None:
        """Sends one message that arrives after a while."""
        await self._sent("send", message, {"contentType": "text", "delaySeconds": delay_seconds})

    async def _sent(self, method: str, *arguments: object) -> None:
        queue = binding(self._env, "RLM_BATCH_QUEUE")
        if queue is None:
            raise StorageUnavailable("the binding RLM_BATCH_QUEUE is missing")
        try:
            await getattr(queue, method)(*arguments)
        except (JsException, OSError) as error:
            raise StorageUnavailable(f"the queue did not take the batch: {str(error)[:200]}") from None


class BatchStubs(SessionStubs):
    """Calls batches from outside; every call may be repeated."""

    namespace = "RLM_BATCHES"


def batches_of(env: Any) -> BatchStubs | None:
    """The batches of a deployment; None where it lacks a part that they need."""
    parts = [binding(env, name) for name in ("RLM_BATCHES", "RLM_BATCH_QUEUE")]
    return BatchStubs(env) if all(part is not None for part in parts) else None


def open_batch(context: Any, env: Any) -> BatchKeeper:
    """The batch of a Durable Object, wired to the platform."""
    settings = Settings.from_vars(lambda name: variable(env, name))
    return BatchKeeper(
        Batch(DurableSQL(context)),
        BatchQueue(env),
        SessionStubs(env),
        alarm=DurableAlarm(context),
        eraser=DurableEraser(context),
        clock=SystemClock(),
        stall_seconds=settings.batch_stall_seconds,
        retention_seconds=settings.session_ttl_days * _SECONDS_PER_DAY,
    )


class BatchMethods:
    """What a batch's Durable Object answers over RPC, each call JSON to JSON."""

    _keeper: BatchKeeper

    async def open(self, batch_id: str, owner: str, token: str) -> str:
        return await enveloped(lambda: self._keeper.open(batch_id, owner, token))

    async def add(self, token: str, first: int, entries: str) -> str:
        parsed = [BatchEntry(body, error) for body, error in json.loads(entries)]
        return await enveloped(lambda: self._keeper.add(token, int(first), parsed))

    async def seal(self, token: str, digest: str) -> str:
        return await enveloped(lambda: self._keeper.seal(token, digest))

    async def discard(self, token: str) -> str:
        return await enveloped(lambda: self._keeper.discard(token))

    async def remove(self, owner: str) -> str:
        return await enveloped(lambda: self._keeper.remove(owner))

    async def status(self, owner: str) -> str:
        def state() -> object:
            self._keeper.batch.check_owner(owner)
            return self._keeper.batch.state().model_dump(by_alias=True)

        return await _told(state)

    async def take(self, number: int) -> str:
        def taken() -> object:
            item = self._keeper.batch.take(int(number), _now())
            return {"owner": item.owner, "body": item.body, "attempt": item.attempt} if item else None

        return await _told(taken)

    async def started(self, number: int, session: str) -> str:
        return await _told(lambda: self._keeper.batch.started(int(number), session))

    async def deferred(self, number: int, cost: float, result: str) -> str:
        return await _told(lambda: self._keeper.batch.deferred(int(number), float(cost), result, _now()))

    async def finished(self, number: int, cost: float, result: str, success: bool) -> str:
        return await _told(
            lambda: self._keeper.batch.finished(int(number), float(cost), result, success=bool(success), now=_now())
        )

    async def bury(self, number: int) -> str:
        return await _told(lambda: self._keeper.batch.bury(int(number), _now()))

    async def results(self, owner: str) -> Any:
        """A stream of lines; or JSON, where there is nothing to stream."""
        refused = await _told(lambda: self._keeper.batch.check_owner(owner))
        if "error" in json.loads(refused):
            return refused
        stream = js.TransformStream.new()
        self._pumps.add(pump := asyncio.create_task(self._pump(stream.writable.getWriter())))
        pump.add_done_callback(self._pumps.discard)
        return stream.readable

    @property
    def _pumps(self) -> set[asyncio.Task[None]]:
        pumps: set[asyncio.Task[None]] = self.__dict__.setdefault("_running_pumps", set())
        return pumps

    async def _pump(self, writer: Any) -> None:
        encoder = js.TextEncoder.new()
        try:
            for page in self._keeper.batch.lines():
                await writer.write(encoder.encode(page))
            await writer.close()
        except JsException:
            return  # the reader has gone


async def _told(work: Callable[[], object]) -> str:
    async def done() -> object:
        return work()

    return await enveloped(done)


def _now() -> float:
    return SystemClock().now()


async def consume(delivery: Any, consumer: BatchConsumer, env: Any) -> None:
    """Works through the messages of one delivery, all at once; each is acknowledged or retried by itself."""
    dead = str(delivery.queue).endswith("-dlq")
    messages = list(delivery.messages)
    handled: list[Awaitable[None]] = [_handle(message, consumer, BatchQueue(env), dead=dead) for message in messages]
    for message, outcome in zip(messages, await asyncio.gather(*handled, return_exceptions=True), strict=True):
        if isinstance(outcome, BaseException):
            consumer.write_line(json.dumps({"event": "batch_item", "error": f"{type(outcome).__name__}: {outcome}"}))
            message.retry({"delaySeconds": _RETRY_SECONDS})


async def _handle(message: Any, consumer: BatchConsumer, queue: BatchQueue, *, dead: bool) -> None:
    item = ItemMessage.from_json(str(message.body))
    if dead:
        await consumer.bury(item)
        message.ack()
        return
    again = await consumer.process(item)
    if again is None:
        message.ack()
    elif again.counted:
        message.retry({"delaySeconds": again.after_seconds})
    else:
        await queue.send_later(item.to_json(), again.after_seconds)
        message.ack()

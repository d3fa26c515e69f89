"""A batch in its object: it feeds the queue, watches over what it has sent, and goes when it is old or unwanted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from rlm_worker.errors import Conflict, NotFound, RLMError
from rlm_worker.ports import Alarm, Clock, Eraser, ObjectStubs

from .batch import Batch
from .consumer import ItemMessage
from .items import BatchEntry

# The queue takes so many messages at once.
_SENT_AT_ONCE = 100
_ABANDONED_SECONDS = 3_600.0
_REMOVED_AT_ONCE = 20
# How long deleting may keep a caller waiting, and how long an alarm may take.
_REQUEST_SECONDS, _ALARM_SECONDS = 2.0, 600.0


class ItemQueue(Protocol):
    """Takes messages; each will reach a consumer at least once."""

    async def send(self, messages: Sequence[str]) -> None: ...

    async def send_later(self, message: str, delay_seconds: int) -> None: ...


class BatchKeeper:
    """Does what takes time with a batch; its alarm goes on with whatever a crash has cut short."""

    def __init__(
        self,
        batch: Batch,
        queue: ItemQueue,
        sessions: ObjectStubs,
        *,
        alarm: Alarm,
        eraser: Eraser,
        clock: Clock,
        stall_seconds: float,
        retention_seconds: float,
    ) -> None:
        self.batch = batch
        self._queue = queue
        self._sessions = sessions
        self._alarm = alarm
        self._eraser = eraser
        self._clock = clock
        self._stall_seconds = stall_seconds
        self._retention_seconds = retention_seconds
        self._removing = asyncio.Lock()

    async def open(self, batch_id: str, owner: str, token: str) -> dict[str, object] | None:
        """Begins a batch; gives what is known of it where it has been sent before.

        Raises `Conflict` for one whose deletion takes long.
        """
        if self.batch.status == "deleting":
            await self._remove(_ALARM_SECONDS)
        if self.batch.status == "deleting":
            raise Conflict("the batch of this Idempotency-Key is still being deleted")
        if self.batch.status == "running":
            return self._accepted()
        self.batch.open(batch_id, owner, token, self._clock.now())
        await self._alarm.set(self._clock.now() + _ABANDONED_SECONDS)
        return None

    async def add(self, token: str, first: int, entries: Sequence[BatchEntry]) -> None:
        """Takes items in; raises `Conflict` where another sender has taken over."""
        self.batch.check_token(token)
        self.batch.add(first, entries, self._clock.now())

    async def seal(self, token: str, digest: str) -> dict[str, object]:
        """Lets the batch run."""
        self.batch.check_token(token)
        if self.batch.status != "running":
            self.batch.seal(digest, self._clock.now())
        await self._alarm.set(self._clock.now())
        return self._accepted()

    async def discard(self, token: str) -> None:
        """Drops a batch that was never complete."""
        self.batch.check_token(token)
        if self.batch.status == "receiving":
            await self._erase()

    async def remove(self, owner: str) -> None:
        """Stops every run of the batch and deletes all that it has left; raises `NotFound` for another key's.

        A session that somebody else has asked for too stays theirs.
        """
        self.batch.check_owner(owner)
        self.batch.leave()
        await self._remove(_REQUEST_SECONDS)

    async def on_alarm(self) -> None:
        """Sends what waits, sends again what got lost, deletes what is old."""
        status, now = self.batch.status, self._clock.now()
        if status == "deleting":
            await self._remove(_ALARM_SECONDS)
        elif status == "receiving":
            await self._alarm.set(now + self._stall_seconds)
            await self._erase()
        elif status == "running" and not self.batch.unfinished and now >= self._expires_at():
            self.batch.leave()
            await self._remove(_ALARM_SECONDS)
        elif status == "running":
            await self._feed()

    async def _feed(self) -> None:
        self.batch.revive(self._clock.now(), self._stall_seconds)
        if self.batch.unfinished:
            # Set first: should sending fail half-way, the alarm comes again.
            await self._alarm.set(self._clock.now() + self._stall_seconds)
            await self._send_waiting()
        else:
            await self._alarm.set(self._expires_at())

    async def _send_waiting(self) -> None:
        batch_id = self.batch.id
        while numbers := self.batch.waiting(_SENT_AT_ONCE):
            # Noted first: a consumer may be faster than the answer of the queue.
            self.batch.sent(numbers, self._clock.now())
            try:
                await self._queue.send([ItemMessage(batch_id, number).to_json() for number in numbers])
            except RLMError:
                self.batch.unsent(numbers, self._clock.now())
                raise

    async def _remove(self, seconds: float) -> None:
        """Removes sessions, those that run first, and at last the batch; the alarm does what takes longer."""
        async with self._removing:
            if self.batch.status == "deleting":  # or somebody else has done it, and begun anew
                # Set first: the platform drops an alarm whose handler has failed six times.
                await self._alarm.set(self._clock.now() + self._stall_seconds)
                await self._remove_parts(self._clock.now() + seconds)

    async def _remove_parts(self, until: float) -> None:
        sessions = self.batch.sessions(_REMOVED_AT_ONCE)
        while sessions:
            await asyncio.gather(*(self._remove_session(session) for session in sessions))
            self.batch.removed(sessions)
            if self._clock.now() >= until:
                await self._alarm.set(self._clock.now())
                return
            sessions = self.batch.sessions(_REMOVED_AT_ONCE)
        await self._erase()

    async def _remove_session(self, session: str) -> None:
        with suppress(NotFound):
            await self._sessions.call(session, "leave", self.batch.owner, self.batch.id)

    async def _erase(self) -> None:
        await self._eraser.erase()
        self.batch.forget()

    def _accepted(self) -> dict[str, object]:
        return {"digest": self.batch.digest, **self.batch.accepted().model_dump(by_alias=True)}

    def _expires_at(self) -> float:
        return self.batch.updated + self._retention_seconds

"""What a consumer of the queue does with one item of a batch."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from rlm_worker.errors import Overloaded, RLMError
from rlm_worker.memory import Held
from rlm_worker.ports import ObjectStubs
from rlm_worker.runs.job import Job
from rlm_worker.sessions.runner import Content, Runner
from rlm_worker.wire.requests import parse_request
from rlm_worker.wire.results import ErrorBody, RunResult

from .admission import Admission
from .input import MAX_ITEM_BYTES, error_result
from .items import TakenItem

# A consumer may last 15 minutes of wall time.
_WAIT_SECONDS = 780.0
_MAX_DELAY_SECONDS = 600
# Attempts at an item whose result lacks what failed for passing reasons; then what there is will do.
MAX_INCOMPLETE_ATTEMPTS = 3
# An item comes as JSON within JSON, and its letters may take four bytes each in each of its forms.
_ITEM_FACTOR = 20
_CHARACTER_BYTES = 4
# Failures that another attempt may not meet; what was paid until then is not paid again.
_PASSING = frozenset(
    {"model_unavailable", "storage_unavailable", "rate_limited", "internal_error", "not_configured", "overloaded"}
)


@dataclass(frozen=True, slots=True)
class ItemMessage:
    """What the queue carries: which item of which batch."""

    batch_id: str
    number: int

    def to_json(self) -> str:
        return json.dumps({"batchId": self.batch_id, "item": self.number})

    @classmethod
    def from_json(cls, text: str) -> ItemMessage:
        parsed = json.loads(text)
        return cls(str(parsed["batchId"]), int(parsed["item"]))


@dataclass(frozen=True, slots=True)
class Again:
    """The item is to be tried again; `counted` attempts use up the queue's retries."""

    after_seconds: int
    counted: bool = True


@dataclass(frozen=True, slots=True)
class BatchConsumer:
    """Runs items and reports how they end."""

    runner: Runner
    batches: ObjectStubs
    write_line: Callable[[str], None]
    admission: Admission

    async def process(self, message: ItemMessage) -> Again | None:
        """Runs one item to its end; gives None when the message has done its work."""
        try:
            held = await self.runner.room.take(await self._needed_bytes(message))
        except Overloaded as error:
            return Again(error.retry_after, counted=False)
        try:
            return await self._run(message, held)
        finally:
            held.close()

    async def _run(self, message: ItemMessage, held: Held) -> Again | None:
        """Takes an item and runs it; what holding its body takes is given back as soon as its run has begun."""
        began = self.runner.clock.now()
        taken = await self._take(message)
        if taken is None:
            return None
        body, taken = taken.body, replace(taken, body="")
        try:
            asking = self._result(message, taken, body, held)
            del body
            async with asyncio.timeout(_WAIT_SECONDS):
                result = await asking
        except TimeoutError:
            return Again(1, counted=False)
        except RLMError as error:
            return await self._refused(message, taken, error)
        if result is None:
            return None
        self._log(message, taken, result, self.runner.clock.now() - began)
        return await self._report(message, taken, result)

    async def _needed_bytes(self, message: ItemMessage) -> int:
        found = await self.batches.call(message.batch_id, "characters", message.number)
        return _ITEM_FACTOR * (found if isinstance(found, int) else MAX_ITEM_BYTES)

    async def give_up(self, message: ItemMessage) -> None:
        """Ends an item that the queue has given up."""
        await self.batches.call(message.batch_id, "give_up", message.number)

    async def _take(self, message: ItemMessage) -> TakenItem | None:
        found = await self.batches.call(message.batch_id, "take", message.number)
        return TakenItem(**found) if isinstance(found, dict) else None

    async def _result(self, message: ItemMessage, taken: TakenItem, body: str, held: Held) -> RunResult | None:
        """The item's result; None where the batch was deleted meanwhile. What is `held` goes when its run begins."""
        content = Content(held=held)
        try:
            wanted = parse_request(body, self.runner.settings.defaults)
            del body
            wanted = wanted.model_copy(update={"stream": False, "background": False, "cancel_on_disconnect": False})
            # Only a run that refuses the cache needs a name of its own; the same question else is one run.
            own = None if wanted.config.use_cache else f"batch {message.batch_id} {message.number}"
            job, content.parts = await self.runner.prepare(wanted, taken.owner, own)
            del wanted
            job = job.model_copy(update={"batch_id": message.batch_id})
            if not await self.batches.call(message.batch_id, "started", message.number, job.session_id):
                return None
            # An earlier attempt may have ended without a word: its run is the one that was paid.
            known = await self.runner.ended(job) if taken.attempt > 1 else None
            if known is not None:
                return known
            needed, kept = held.size, _kept_bytes(job, content)
            async with self.admission.of(job, lambda: held.shrink(kept)):
                if held.size < needed:  # others had the room while this one waited
                    held.close()
                    content.held = await self.runner.room.take(needed)
                return await self.runner.outcome(job, content, waits=True)
        finally:
            content.close()

    async def _report(self, message: ItemMessage, taken: TakenItem, result: RunResult) -> Again | None:
        again: Again | None
        if result.incomplete and taken.attempt < MAX_INCOMPLETE_ATTEMPTS:
            again, wanted = await self._defer(message, self._later(taken), result.cost_usd, result.to_json())
        else:
            again, wanted = await self._end(message, taken, result.error, result.cost_usd, result.to_json())
        if wanted:
            return again
        # The batch was deleted while its item began to run, and may not have found this session.
        with suppress(RLMError):
            await self.runner.sessions.call(result.session_id, "leave", taken.owner, message.batch_id)
        return None

    async def _refused(self, message: ItemMessage, taken: TakenItem, error: RLMError) -> Again | None:
        """What went wrong before there was a run."""
        again, _ = await self._end(message, taken, ErrorBody.of(error), 0.0, error_result(error))
        return again

    async def _end(
        self, message: ItemMessage, taken: TakenItem, error: ErrorBody | None, cost_usd: float, result: str
    ) -> tuple[Again | None, bool]:
        """Ends an attempt: whether and when there is another one, and whether the batch still wants to know."""
        number, batch_id = message.number, message.batch_id
        if error is None or error.type not in _PASSING:
            success = error is None
            return None, bool(await self.batches.call(batch_id, "finished", number, cost_usd, result, success))
        return await self._defer(message, self._again(taken, error), cost_usd, result)

    async def _defer(self, message: ItemMessage, again: Again, cost_usd: float, result: str) -> tuple[Again, bool]:
        arguments = (message.number, cost_usd, result, again.counted)
        return again, bool(await self.batches.call(message.batch_id, "deferred", *arguments))

    def _again(self, taken: TakenItem, error: ErrorBody) -> Again:
        """Waits twice as long each time; what a key, or the memory of all, allows is nobody's failure."""
        if error.type in ("rate_limited", "overloaded"):
            return Again(min(_MAX_DELAY_SECONDS, error.retry_after or 5), counted=False)
        return self._later(taken)

    def _later(self, taken: TakenItem) -> Again:
        delay = self.runner.settings.batch_retry_seconds * 2 ** min(10, taken.attempt - 1)
        return Again(min(_MAX_DELAY_SECONDS, int(delay)))

    def _log(self, message: ItemMessage, taken: TakenItem, result: RunResult, seconds: float) -> None:
        line = {
            "event": "batch_item",
            "batchId": message.batch_id,
            "item": message.number,
            "attempt": taken.attempt,
            "key": taken.owner,
            "sessionId": result.session_id,
            "success": result.success,
            "costUsd": result.cost_usd,
            "durationMs": round(seconds * 1000),
            **({"error": result.error.type} if result.error else {}),
        }
        self.write_line(json.dumps(line))


def _kept_bytes(job: Job, content: Content) -> int:
    """What an item takes that has been read and waits: its context once, and the table of its documents."""
    inline = _CHARACTER_BYTES * len(job.context_text or "")
    return inline + len(job.manifest) + content.size

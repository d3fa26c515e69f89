"""What every model call goes through, as decorators over the `Model` port.

Journalled( Metered( Retrying( FallingBack( Throttled( Timed( adapter ))))))
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field, replace

from rlm_worker.budget.ledger import Ledger
from rlm_worker.errors import RetryableError, UsageLimitExceeded
from rlm_worker.ports import (
    CallRecord,
    CallUsage,
    Clock,
    DeltaSink,
    Deployment,
    Journal,
    Model,
    ModelReply,
    ModelRequest,
)
from rlm_worker.timers import SharedTimer

from .catalog import Catalog
from .concurrency import CapacityLimiter, Relief
from .pricing import Pricing

NO_CAPACITY = frozenset({3040, 3021})


class Timed:
    """Ends a call that takes too long."""

    def __init__(self, model: Model, seconds: float) -> None:
        self._model = model
        self._timer = SharedTimer(seconds)

    async def complete(self, request: ModelRequest, deltas: DeltaSink | None = None) -> ModelReply:
        try:
            async with asyncio.timeout(None) as timeout:
                with self._timer.over(timeout):
                    return await self._model.complete(request, deltas)
        except TimeoutError:
            told = f"no answer from {request.model.id} in {self._timer.seconds:g} s"
            raise RetryableError(told, 3007) from None


@dataclass(frozen=True, slots=True)
class Throttled:
    """Lets calls through as the limiter allows and tells it how they went."""

    model: Model
    limiter: CapacityLimiter

    async def complete(self, request: ModelRequest, deltas: DeltaSink | None = None) -> ModelReply:
        slot = await self.limiter.acquire()
        try:
            reply = await self.model.complete(request, deltas)
        except RetryableError as error:
            if error.code in NO_CAPACITY:
                self.limiter.refused(slot, error.retry_after)
            raise
        else:
            self.limiter.succeeded()
            return reply
        finally:
            await self.limiter.release()


@dataclass(frozen=True, slots=True)
class FallingBack:
    """Asks a model's named fallback when there is no capacity for the model itself."""

    model: Model
    catalog: Catalog

    async def complete(self, request: ModelRequest, deltas: DeltaSink | None = None) -> ModelReply:
        fallback = self.catalog.fallback_of(request.model)
        try:
            return await self.model.complete(request, deltas)
        except RetryableError as error:
            if fallback is None or error.code != 3040:
                raise
        return await self.model.complete(replace(request, model=fallback), deltas)


@dataclass(frozen=True, slots=True)
class Retrying:
    """Asks again after a passing failure: exponential back-off with jitter, `Retry-After` honoured.

    Nine attempts take about 40 s: a limit that counts by the minute has let something through by then.
    """

    model: Model
    clock: Clock
    deployment: Deployment
    relief: Relief = field(default_factory=Relief)

    async def complete(self, request: ModelRequest, deltas: DeltaSink | None = None) -> ModelReply:
        for attempt in range(1, self.deployment.attempts):
            try:
                return await self.model.complete(request, deltas)
            except RetryableError as error:
                self.relief.waiting()
                await self.clock.sleep(self._backoff(attempt, error.retry_after))
                if deltas is not None:
                    deltas.restart()
        return await self.model.complete(request, deltas)

    def _backoff(self, attempt: int, retry_after: float) -> float:
        ceiling = min(self.deployment.longest_backoff_seconds, self.deployment.backoff_seconds * 2 ** (attempt - 1))
        return retry_after + random.uniform(ceiling / 2, ceiling)


class Metered:
    """Reserves a call's worst case in the ledger and settles with what the model reports."""

    def __init__(self, model: Model, ledger: Ledger, pricing: Pricing, catalog: Catalog) -> None:
        self._model = model
        self._ledger = ledger
        self._pricing = pricing
        self._catalog = catalog

    async def complete(self, request: ModelRequest, deltas: DeltaSink | None = None) -> ModelReply:
        # Without a limit in dollars nobody asks for the worst case, and weighing a long prompt is not free.
        worst = 0.0 if self._ledger.limits.max_cost_usd is None else self._pricing.worst_usd(request)
        reservation = await self._ledger.reserve(request.role, worst)
        try:
            reply = await self._in_time(request, deltas)
        except BaseException:
            await self._ledger.release(reservation)
            raise
        usage = reply.usage or self._pricing.estimated_usage(request, reply.text)
        await self._ledger.settle(reservation, self._catalog.find(reply.model) or request.model, usage)
        self._pricing.learn(request, reply)
        return replace(reply, usage=usage)

    async def _in_time(self, request: ModelRequest, deltas: DeltaSink | None) -> ModelReply:
        """The reply, all attempts included before the run's deadline; raises `UsageLimitExceeded` at that."""
        left = self._ledger.remaining_seconds()
        whole = asyncio.timeout(None if left is None else max(0.0, left))
        try:
            async with whole:
                return await self._model.complete(request, deltas)
        except TimeoutError:
            if not whole.expired():
                raise
            deadline = self._ledger.limits.deadline or 0.0
            raise UsageLimitExceeded("timeoutSeconds", deadline, deadline) from None


class Journalled:
    """Answers from the journal what was paid before, and writes down each new answer before anyone uses it."""

    def __init__(self, model: Model, journal: Journal, clock: Clock, ledger: Ledger, catalog: Catalog) -> None:
        self._model = model
        self._journal = journal
        self._clock = clock
        self._ledger = ledger
        self._catalog = catalog
        self._met: set[str] = set()

    async def complete(self, request: ModelRequest, deltas: DeltaSink | None = None) -> ModelReply:
        key = request.key()
        known = self._journal.recall(key)
        if known is not None:
            self._count_repeated(key, request)
            return ModelReply(known.text, known.model, known.usage)
        started = self._clock.now()
        reply = await self._model.complete(request, deltas)
        self._journal.record(self._record(key, request, reply, started))
        self._met.add(key)
        return reply

    def _count_repeated(self, key: str, request: ModelRequest) -> None:
        """The same prompt twice in one run is asked once."""
        if key in self._met and request.role == "sub":
            self._ledger.count_cached()
        self._met.add(key)

    def _record(self, key: str, request: ModelRequest, reply: ModelReply, started: float) -> CallRecord:
        usage = reply.usage or CallUsage(0, 0, estimated=True)
        model = self._catalog.find(reply.model) or request.model
        return CallRecord(
            key=key,
            role=request.role,
            kind=request.kind,
            model=reply.model,
            messages=request.messages,
            text=reply.text,
            usage=usage,
            cost_usd=model.cost(usage.input_tokens, usage.output_tokens),
            started_at=started,
            duration_ms=round((self._clock.now() - started) * 1000),
            span=request.span,
            parent=request.parent,
        )

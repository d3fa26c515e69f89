"""What a model call goes through, as decorators over the `Model` port; `stack` puts them together."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field, replace

from rlm_worker.budget.ledger import Ledger
from rlm_worker.errors import (
    InputTooLarge,
    ModelError,
    RetryableError,
    SchemaRefused,
    TerminalError,
    UsageLimitExceeded,
)
from rlm_worker.messages import CallUsage, ModelReply, ModelRequest, OutputExhausted, UnusableReply
from rlm_worker.ports import Clock, DeltaSink, Deployment, FailedAttempt, Journal, Model
from rlm_worker.timers import SharedTimer

from .chains import Chains, Failed, Link, chain_error
from .concurrency import MAX_RETRY_AFTER, BackoffSignal, CapacityLimiter
from .pricing import Pricing, max_prompt_tokens

# How much longer than asked an answer may become that has not even begun.
_LONGER = 4


class Coalesced:
    """Makes one call of equal calls under way; those that come later wait for it, and its failure is theirs too.

    What it brings they have from the journal, which stands below. Where it is cancelled one of them takes its place.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._under_way: dict[str, list[asyncio.Future[None]]] = {}

    async def complete(self, request: ModelRequest, deltas: DeltaSink | None = None) -> ModelReply:
        key = request.call_key()
        while key in self._under_way:
            await self._end_of(key)
        waiting = self._under_way[key] = []
        failure: ModelError | None = None
        try:
            return await self._model.complete(request if request.call else replace(request, call=key), deltas)
        except ModelError as error:
            failure = error
            raise
        finally:
            del self._under_way[key]
            for end in waiting:
                _resolve(end, failure)

    async def _end_of(self, key: str) -> None:
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._under_way[key].append(end)
        await end


def _resolve(end: asyncio.Future[None], failure: ModelError | None) -> None:
    if end.done():  # whoever waited was cancelled
        return
    if failure is None:
        end.set_result(None)
    else:
        end.set_exception(failure)


class Journalled:
    """Answers from the journal what was paid before."""

    def __init__(self, model: Model, journal: Journal, ledger: Ledger) -> None:
        self._model = model
        self._journal = journal
        self._ledger = ledger
        self._met: set[str] = set()

    async def complete(self, request: ModelRequest, deltas: DeltaSink | None = None) -> ModelReply:
        known = self._journal.recall(request.call)
        if known is None:
            reply = await self._model.complete(request, deltas)
            self._met.add(request.call)
            return reply
        met = request.call in self._met
        reply = ModelReply(known.text, known.model, known.usage, known.finish_reason, met, recalled=True)
        self._count_repeated(request)
        if deltas is not None:
            deltas.write(reply.text)
        return reply.with_finish_reason(request)

    def _count_repeated(self, request: ModelRequest) -> None:
        """The same prompt twice in one run is asked once."""
        if request.call in self._met and request.role == "sub":
            self._ledger.count_cached()
        self._met.add(request.call)


@dataclass(frozen=True, slots=True)
class Limited:
    """Counts a call, and ends it at the run's deadline, all attempts included: `UsageLimitExceeded`."""

    model: Model
    ledger: Ledger

    async def complete(self, request: ModelRequest, deltas: DeltaSink | None = None) -> ModelReply:
        await self.ledger.begin(request.call, request.role)
        try:
            left = self.ledger.remaining_seconds()
            if left is None:
                return await self.model.complete(request, deltas)
            return await self._within(left, request, deltas)
        finally:
            self.ledger.end(request.call)

    async def _within(self, seconds: float, request: ModelRequest, deltas: DeltaSink | None) -> ModelReply:
        whole = asyncio.timeout(max(0.0, seconds))
        try:
            async with whole:
                return await self.model.complete(request, deltas)
        except TimeoutError:
            if not whole.expired():
                raise
            deadline = self.ledger.limits.deadline or 0.0
            raise UsageLimitExceeded("timeoutSeconds", deadline, deadline) from None


@dataclass(frozen=True, slots=True)
class Lengthened:
    """Asks once more, with room for a longer answer, where a model has used up its room before it began to answer."""

    model: Model
    ledger: Ledger
    pricing: Pricing

    async def complete(self, request: ModelRequest, deltas: DeltaSink | None = None) -> ModelReply:
        try:
            return await self.model.complete(request, deltas)
        except OutputExhausted as exhausted:
            longer = self._longer(request)
            if longer is None:
                raise
            try:
                return await self.model.complete(longer, deltas)
            except UsageLimitExceeded:
                raise exhausted from None

    def _longer(self, request: ModelRequest) -> ModelRequest | None:
        """The same with as much room as window and budget allow; None where that is no more than it had."""
        tokens = min(_LONGER * request.max_output_tokens, self._room(request))
        return replace(request, max_output_tokens=tokens) if tokens > request.max_output_tokens else None

    def _room(self, request: ModelRequest) -> int:
        left = request.model.window - min(max_prompt_tokens(request), 2 * self.pricing.prompt_tokens(request))
        usd = self.ledger.remaining_usd()
        return left if usd is None else min(left, self.pricing.affordable_output(request, usd))


class SchemaOptional:
    """Asks once more without a schema where the model refuses it or has not met it: the prompt names it too.

    A model that knows no JSON mode is not asked for it again.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._without: set[str] = set()

    async def complete(self, request: ModelRequest, deltas: DeltaSink | None = None) -> ModelReply:
        if request.response_schema is None:
            return await self._model.complete(request, deltas)
        plain = replace(request, response_schema=None)
        if request.model.id in self._without:
            return await self._model.complete(plain, deltas)
        try:
            return await self._model.complete(request, deltas)
        except SchemaRefused as refused:
            if refused.work == "none":
                self._without.add(request.model.id)
        return await self._model.complete(plain, deltas)


@dataclass(frozen=True, slots=True)
class Retrying:
    """Asks again after a passing failure: exponential back-off with jitter, `Retry-After` honoured up to a minute.

    Where the platform only says to come back later, that uses up no attempts while `patience` lasts: seconds since
    the call was first told so; without end in a run whose deadline ends its calls.
    """

    model: Model
    clock: Clock
    deployment: Deployment
    patience: float
    backoff: BackoffSignal = field(default_factory=BackoffSignal)

    async def complete(self, request: ModelRequest, deltas: DeltaSink | None = None) -> ModelReply:
        failed = _Failures(self.clock, self.patience)
        while True:
            try:
                return await self.model.complete(replace(request, attempt=failed.total), deltas)
            except RetryableError as error:
                failed.count(error)
                if failed.attempts >= self.deployment.attempts:
                    raise
                self.backoff.notify()
                await self.clock.sleep(self._pause(failed.total, error.retry_after))
                if deltas is not None:
                    deltas.restart()

    def _pause(self, failures: int, retry_after: float) -> float:
        # Counted no further than matters: 2 ** 1024 is no number of seconds.
        doubled = self.deployment.backoff_seconds * 2 ** min(failures - 1, 32)
        ceiling = min(self.deployment.max_backoff_seconds, doubled)
        return min(retry_after, MAX_RETRY_AFTER) + random.uniform(ceiling / 2, ceiling)


@dataclass(slots=True)
class _Failures:
    """How often one call has failed: `attempts` of them count against it."""

    clock: Clock
    patience: float
    total: int = 0
    attempts: int = 0
    _until: float | None = None

    def count(self, error: RetryableError) -> None:
        self.total += 1
        if not error.capacity:
            self.attempts += 1
            return
        now = self.clock.now()
        self._until = now + self.patience if self._until is None else self._until
        self.attempts += now >= self._until


@dataclass(frozen=True, slots=True)
class FallingBack:
    """Asks the next model of a chain where one fails for reasons of its own; ends at the first that answers.

    Where another one stands behind it, a busy model is to say so at once; the last one may let the request wait. What
    a rule has put behind a model is asked for more than want of room, and then what was refused, and cost nothing, is
    written down too: a trajectory shows each hop.
    """

    model: Model
    chains: Chains
    journal: Journal

    async def complete(self, request: ModelRequest, deltas: DeltaSink | None = None) -> ModelReply:
        chain = self.chains.of(request.model)
        if len(chain) == 1:
            return await self.model.complete(request, deltas)
        able, failed = self.chains.left(chain)
        for link in able:
            if (misfit := self.chains.misfit(link, request)) is not None:
                failed.append(Failed(link.model, misfit))
                continue
            last = link == able[-1]
            try:
                reply = await self.model.complete(self.chains.asked_of(link, request, last=last), deltas)
            except ModelError as error:
                self._note(link, request, error)
                moves_on = link.passes_on(error) or (bool(failed) and isinstance(error, InputTooLarge))
                if not moves_on and not (failed and _ends_chain(error)):
                    raise
                failed.append(Failed(link.model, error))
                if not moves_on:
                    break
                if deltas is not None and not last:
                    deltas.restart()
            else:
                return replace(reply, passed_over=_passed_over(failed, chain[: chain.index(link)]))
        raise chain_error(_in_order(failed, chain))

    def _note(self, link: Link, request: ModelRequest, error: ModelError) -> None:
        self.chains.learn(link, error)
        if link.willing and error.work == "none" and link.passes_on(error):
            nothing = CallUsage(0, 0)
            self.journal.book(FailedAttempt(request.call, request.role, link.model.id, nothing, 0.0, 0.0, str(error)))


def _passed_over(failed: list[Failed], before: list[Link]) -> tuple[str, ...]:
    models = {one.model for one in failed}
    return tuple(link.model.id for link in before if link.model in models)


def _in_order(failed: list[Failed], chain: list[Link]) -> list[Failed]:
    places = [link.model for link in chain]
    return sorted(failed, key=lambda one: places.index(one.model))


def _ends_chain(error: ModelError) -> bool:
    """Whether a failure is told together with what the models before have said."""
    if isinstance(error, RetryableError):
        return not isinstance(error, UnusableReply)
    return isinstance(error, TerminalError) and error.unavailable


@dataclass(frozen=True, slots=True)
class Throttled:
    """Lets attempts through as the limiter allows and tells it how they went."""

    model: Model
    limiter: CapacityLimiter

    async def complete(self, request: ModelRequest, deltas: DeltaSink | None = None) -> ModelReply:
        slot = await self.limiter.acquire(first=request.attempt > 0)
        try:
            reply = await self.model.complete(request, deltas)
        except RetryableError as error:
            if error.capacity:
                # Where another one is asked at once, nobody waits for this one to have room again.
                self.limiter.refused(slot, 0.0 if request.reject_if_busy else error.retry_after)
            raise
        else:
            self.limiter.succeeded()
            return reply
        finally:
            self.limiter.release()


class Timed:
    """Ends an attempt that takes too long."""

    def __init__(self, model: Model, seconds: float) -> None:
        self._model = model
        self._timer = SharedTimer(seconds)

    async def complete(self, request: ModelRequest, deltas: DeltaSink | None = None) -> ModelReply:
        try:
            async with asyncio.timeout(None) as timeout:
                with self._timer.over(timeout):
                    return await self._model.complete(request, deltas)
        except TimeoutError:
            message = f"no answer from {request.model.id} in {self._timer.seconds:g} s"
            raise RetryableError(message, fallback=True, work="unfinished") from None

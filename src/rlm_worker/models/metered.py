"""Each attempt at a call in the books: reserved before it is sent, written down before anyone hears of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from rlm_worker.budget.ledger import Ledger, Reservation
from rlm_worker.errors import InvocationSpent, ModelError, Work
from rlm_worker.messages import (
    CallUsage,
    Declined,
    InexactReply,
    ModelReply,
    ModelRequest,
    OutputExhausted,
    UnusableReply,
)
from rlm_worker.ports import CallRecord, Clock, DeltaSink, FailedAttempt, Journal, Model

from .catalog import Catalog
from .latency import Latency
from .pricing import Pricing


@dataclass(frozen=True, slots=True)
class Metered:
    """Reserves an attempt's worst case, sends it, and settles with what it used, in the journal and in the ledger.

    Whatever was sent and not refused counts, answered or not: with the usage that was reported, else with a marked
    estimate.
    """

    model: Model
    ledger: Ledger
    journal: Journal
    pricing: Pricing
    catalog: Catalog
    clock: Clock
    latency: Latency

    async def complete(self, request: ModelRequest, deltas: DeltaSink | None = None) -> ModelReply:
        # Without a limit in dollars nobody asks for the worst case.
        worst = 0.0 if self.ledger.limits.max_cost_usd is None else self.pricing.worst_usd(request)
        reservation = await self.ledger.reserve(request.call, request.role, worst)
        started = self.clock.now()
        try:
            reply = await self.model.complete(request, deltas)
        except BaseException as error:
            self._failed(reservation, request, error)
            raise
        return self._answered(reservation, request, reply, started)

    def _answered(
        self, reservation: Reservation, request: ModelRequest, reply: ModelReply, started: float
    ) -> ModelReply:
        usage = reply.usage or self.pricing.estimated_usage(request, reply.text)
        reply = replace(reply, usage=usage).with_finish_reason(request)
        model = self.catalog.answering(reply.model, request.model)
        seconds = self.clock.now() - started
        at_most = self._at_most(request, usage)
        self.journal.record(
            CallRecord(
                key=request.call,
                role=request.role,
                kind=request.kind,
                model=reply.model,
                messages=request.messages,
                text=reply.text,
                usage=usage,
                cost_usd=model.bill(usage),
                started_at=started,
                duration_ms=round(seconds * 1000),
                span=request.span,
                parent=request.parent,
                finish_reason=reply.finish_reason,
                at_most_usd=at_most,
            )
        )
        self.ledger.settle(reservation, model, usage, at_most)
        self.latency.observe(request.role, seconds)
        self.pricing.learn(request, reply)
        return reply

    def _failed(self, reservation: Reservation, request: ModelRequest, error: BaseException) -> None:
        usage = self._billed(request, error)
        if usage is None:
            self.ledger.release(reservation)
            return
        model = request.model
        cost = model.bill(usage)
        at_most, reason = self._at_most(request, usage), str(error) or type(error).__name__
        self.journal.book(FailedAttempt(request.call, request.role, model.id, usage, cost, at_most, reason))
        self.ledger.settle(reservation, model, usage, at_most)

    def _billed(self, request: ModelRequest, error: BaseException) -> CallUsage | None:
        """What a failed attempt is billed at; None where nothing was computed."""
        if isinstance(error, UnusableReply):
            return error.usage or self.pricing.estimated_usage(request, error.text)
        if isinstance(error, OutputExhausted):
            return error.usage or self.pricing.usage_under_way(request)
        if isinstance(error, Declined | InexactReply) and error.usage is not None:
            return error.usage
        work = _work(error)
        if work == "unfinished":
            return self.pricing.usage_under_way(request)
        return self.pricing.estimated_usage(request, "") if work == "read" else None

    def _at_most(self, request: ModelRequest, usage: CallUsage) -> float:
        return self.pricing.worst_usd(request) if usage.estimated else 0.0


def _work(error: BaseException) -> Work:
    """How far the model got before the attempt failed, or was given up."""
    if isinstance(error, ModelError):
        return error.work
    if isinstance(error, InvocationSpent):  # never sent
        return "none"
    return "unfinished" if isinstance(error, asyncio.CancelledError) else "read"

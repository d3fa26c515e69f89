"""The ledger of a run: one for the whole tree of calls, reserved before and settled after each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from rlm_worker.errors import UsageLimitExceeded
from rlm_worker.ports import CallUsage, ModelSpec, Role


@dataclass(frozen=True, slots=True)
class UsageLimits:
    """What a run may use: US dollars, calls to sub-models, turns of the root model, and until when (clock seconds)."""

    max_cost_usd: float | None = None
    max_sub_calls: int = 100
    max_iterations: int = 20
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class ModelTotals:
    """One model's share of a run."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    neurons: float = 0.0
    estimated: bool = False

    def plus(self, model: ModelSpec, usage: CallUsage) -> ModelTotals:
        return ModelTotals(
            calls=self.calls + 1,
            input_tokens=self.input_tokens + usage.input_tokens,
            output_tokens=self.output_tokens + usage.output_tokens,
            cost_usd=self.cost_usd + model.cost(usage.input_tokens, usage.output_tokens),
            neurons=self.neurons + model.neurons(usage.input_tokens, usage.output_tokens),
            estimated=self.estimated or usage.estimated,
        )


@dataclass(frozen=True, slots=True)
class RunUsage:
    """What a run has used so far."""

    iterations: int = 0
    sub_calls: int = 0
    cached_sub_calls: int = 0
    models: tuple[tuple[str, ModelTotals], ...] = ()

    @property
    def cost_usd(self) -> float:
        return sum(totals.cost_usd for _, totals in self.models)

    @property
    def neurons(self) -> float:
        return sum(totals.neurons for _, totals in self.models)

    @property
    def input_tokens(self) -> int:
        return sum(totals.input_tokens for _, totals in self.models)

    @property
    def output_tokens(self) -> int:
        return sum(totals.output_tokens for _, totals in self.models)

    @property
    def estimated(self) -> bool:
        return any(totals.estimated for _, totals in self.models)


@dataclass(frozen=True, slots=True)
class Reservation:
    """The worst case of a call under way."""

    role: Role
    cost_usd: float


class Ledger:
    """Holds a run to its limits.

    A call reserves its worst case first, so that calls in flight together cannot pass a limit that each alone would
    keep, and settles with what the model reports.
    """

    def __init__(self, limits: UsageLimits, now: Callable[[], float]) -> None:
        self.limits = limits
        self._now = now
        self._usage = RunUsage()
        self._totals: dict[str, ModelTotals] = {}
        self._open: list[Reservation] = []
        self._set_aside_usd = 0.0
        self._settled = asyncio.Condition()

    @property
    def usage(self) -> RunUsage:
        return replace(self._usage, models=tuple(self._totals.items()))

    def remaining_usd(self) -> float | None:
        """Dollars neither spent nor reserved; None without a limit."""
        if self.limits.max_cost_usd is None:
            return None
        return self.limits.max_cost_usd - self._committed()

    def remaining_seconds(self) -> float | None:
        """Seconds to the deadline, negative when it has passed; None without one."""
        return None if self.limits.deadline is None else self.limits.deadline - self._now()

    def remaining_sub_calls(self) -> int:
        return self.limits.max_sub_calls - self._usage.sub_calls - self._in_flight("sub")

    def remaining_iterations(self) -> int:
        return self.limits.max_iterations - self._usage.iterations - self._in_flight("root")

    def set_aside(self, usd: float) -> None:
        """Keeps that many dollars out of reach of sub-calls, for the root model's last word."""
        self._set_aside_usd = usd

    async def reserve(self, role: Role, worst_usd: float) -> Reservation:
        """Reserves the worst case of a call; raises `UsageLimitExceeded` when no limit can take it any more.

        While other calls are in flight their worst case is counted; it usually shrinks when they settle, so a
        reservation that does not fit yet waits for them.
        """
        async with self._settled:
            while (refusal := self._refusal(role, worst_usd)) is not None:
                if not self._open or refusal.limit == "timeoutSeconds":
                    raise refusal
                await self._settled.wait()
            reservation = Reservation(role, worst_usd)
            self._open.append(reservation)
            return reservation

    async def settle(self, reservation: Reservation, model: ModelSpec, usage: CallUsage) -> None:
        """Replaces a reservation by what the call really used."""
        async with self._settled:
            self._open.remove(reservation)
            self._count(reservation.role, model, usage)
            self._settled.notify_all()

    async def release(self, reservation: Reservation) -> None:
        """Gives a reservation back: the call was not paid."""
        async with self._settled:
            self._open.remove(reservation)
            self._settled.notify_all()

    def restore(self, role: Role, model: ModelSpec, usage: CallUsage) -> None:
        """Counts a call that an earlier life of this run has paid."""
        self._count(role, model, usage)

    def count_cached(self) -> None:
        """Counts a sub-call that an earlier run has paid."""
        self._usage = replace(self._usage, cached_sub_calls=self._usage.cached_sub_calls + 1)

    def _count(self, role: Role, model: ModelSpec, usage: CallUsage) -> None:
        self._totals[model.id] = self._totals.get(model.id, ModelTotals()).plus(model, usage)
        if role == "sub":
            self._usage = replace(self._usage, sub_calls=self._usage.sub_calls + 1)
        else:
            self._usage = replace(self._usage, iterations=self._usage.iterations + 1)

    def _refusal(self, role: Role, worst_usd: float) -> UsageLimitExceeded | None:
        limits = self.limits
        if limits.deadline is not None and self._now() >= limits.deadline:
            return UsageLimitExceeded("timeoutSeconds", limits.deadline, self._now())
        if role == "sub" and self.remaining_sub_calls() <= 0:
            return UsageLimitExceeded("maxSubCalls", limits.max_sub_calls, limits.max_sub_calls)
        if role == "root" and self.remaining_iterations() <= 0:
            return UsageLimitExceeded("maxIterations", limits.max_iterations, limits.max_iterations)
        if limits.max_cost_usd is None:
            return None
        allowed = limits.max_cost_usd - (self._set_aside_usd if role == "sub" else 0.0)
        if self._committed() + worst_usd > allowed:
            return UsageLimitExceeded("maxCostUsd", limits.max_cost_usd, round(self._committed(), 8))
        return None

    def _committed(self) -> float:
        spent = sum(totals.cost_usd for totals in self._totals.values())
        return spent + sum(reservation.cost_usd for reservation in self._open)

    def _in_flight(self, role: Role) -> int:
        return sum(1 for reservation in self._open if reservation.role == role)

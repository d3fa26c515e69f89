"""The ledger of a run: one for the whole tree of calls, reserved before and settled after each attempt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from rlm_worker.errors import UsageLimitExceeded
from rlm_worker.messages import CallUsage, ModelSpec, Role

from .changes import Change


@dataclass(frozen=True, slots=True)
class UsageLimits:
    """What a run may use: US dollars, calls to sub-models, turns of the root model, and until when (clock seconds)."""

    max_cost_usd: float | None = None
    max_sub_calls: int = 100
    max_iterations: int = 20
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class ModelTotals:
    """One model's share of a run; `calls` counts every attempt that was billed."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    neurons: float = 0.0
    estimated: bool = False
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    def plus(self, model: ModelSpec, usage: CallUsage) -> ModelTotals:
        return ModelTotals(
            calls=self.calls + 1,
            input_tokens=self.input_tokens + usage.input_tokens,
            output_tokens=self.output_tokens + usage.output_tokens,
            cost_usd=self.cost_usd + model.bill(usage),
            neurons=self.neurons + model.neurons(usage.input_tokens, usage.output_tokens),
            estimated=self.estimated or usage.estimated,
            cached_tokens=self.cached_tokens + usage.cached_tokens,
            reasoning_tokens=self.reasoning_tokens + usage.reasoning_tokens,
        )


@dataclass(frozen=True, slots=True)
class RunUsage:
    """What a run has used so far.

    `sub_calls` and `iterations` count calls to sub-models and to the root model that were paid, however many attempts
    each took; calls to judges are neither. Tokens and dollars count every attempt. `sandboxes` are the isolates of
    REPLs, for each day that they were used.
    """

    iterations: int = 0
    sub_calls: int = 0
    cached_sub_calls: int = 0
    models: tuple[tuple[str, ModelTotals], ...] = ()
    sandboxes: int = 0
    sandbox_usd: float = 0.0

    @property
    def cost_usd(self) -> float:
        return sum(totals.cost_usd for _, totals in self.models) + self.sandbox_usd

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
    def cached_tokens(self) -> int:
        return sum(totals.cached_tokens for _, totals in self.models)

    @property
    def reasoning_tokens(self) -> int:
        return sum(totals.reasoning_tokens for _, totals in self.models)

    @property
    def estimated(self) -> bool:
        return any(totals.estimated for _, totals in self.models)


@dataclass(frozen=True, slots=True, eq=False)
class Reservation:
    """The worst case of an attempt under way, at the call of that key."""

    call: str
    role: Role
    cost_usd: float


class Ledger:
    """Holds a run to its limits.

    A call takes its place among those that the run may make; each attempt at it reserves its worst case first, so that
    attempts in flight together cannot pass a limit that each alone would keep, and settles with what the model reports.
    What was paid never exceeds `max_cost_usd` if no attempt costs more than it has reserved: where a usage is only an
    estimate, the rest of its reservation is not spent again.
    """

    def __init__(self, limits: UsageLimits, now: Callable[[], float]) -> None:
        self.limits = limits
        self._now = now
        self._usage = RunUsage()
        self._totals: dict[str, ModelTotals] = {}
        self._begun: dict[str, Role] = {}  # calls under way for which nothing was paid yet
        self._paid: set[str] = set()
        self._open: list[Reservation] = []
        self._spent_usd = 0.0
        self._doubtful_usd = 0.0
        self._set_aside_usd = 0.0
        self._held_usd = 0.0
        self._change = Change()

    @property
    def usage(self) -> RunUsage:
        return replace(self._usage, models=tuple(self._totals.items()))

    @property
    def settled_usd(self) -> float:
        """The most that all settled attempts have cost; more than `usage.cost_usd` where that is an estimate."""
        return self._spent_usd + self._doubtful_usd

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
        """Keeps that many dollars out of reach of sub-calls and judges, for the root model's last word."""
        self._set_aside_usd = usd

    async def begin(self, call: str, role: Role) -> None:
        """Takes a call's place among those that the run may make; raises `UsageLimitExceeded` where none is left.

        Waits for calls in flight, which give theirs back when they come to nothing. A call that an earlier life of the
        run has begun and paid for is not counted again.
        """
        while (refusal := self._call_refusal(call, role)) is not None:
            if refusal.limit == "timeoutSeconds" or not self._in_flight(role):
                raise refusal
            await self._change.wait()
        if call not in self._paid:
            self._begun[call] = role

    def end(self, call: str) -> None:
        """The call is over; its place is free again if nothing was paid.

        One that has brought an answer is not begun again; one that was paid in vain counts anew when it is.
        """
        self._paid.discard(call)
        if self._begun.pop(call, None) is not None:
            self._change.notify()

    async def reserve(self, call: str, role: Role, worst_usd: float) -> Reservation:
        """Reserves the worst case of an attempt; raises `UsageLimitExceeded` when no limit can take it any more.

        While others are in flight their worst case is counted; it usually shrinks when they settle, so a reservation
        that does not fit yet waits for them.
        """
        while (refusal := self._refusal(role, worst_usd)) is not None:
            if not self._open or refusal.limit == "timeoutSeconds":
                raise refusal
            await self._change.wait()
        reservation = Reservation(call, role, worst_usd)
        self._open.append(reservation)
        return reservation

    async def hold(self, role: Role, usd: float, wanted: str) -> None:
        """Keeps dollars for what will be needed later; raises `UsageLimitExceeded` where no limit can take it any more.

        Waits for attempts in flight, but nobody waits for what is held: it may be so for long.
        """
        while (refusal := self._refusal(role, usd, wanted)) is not None:
            if not self._open or refusal.limit == "timeoutSeconds":
                raise refusal
            await self._change.wait()
        self._held_usd += usd

    def let_go(self, usd: float) -> None:
        """Gives back what was held."""
        self._held_usd = max(0.0, self._held_usd - usd)
        self._change.notify()

    def pay_sandbox(self, usd: float) -> None:
        """Counts a sandbox, whose price is known."""
        self._usage = replace(
            self._usage, sandboxes=self._usage.sandboxes + 1, sandbox_usd=self._usage.sandbox_usd + usd
        )
        self._spent_usd += usd

    def settle(self, reservation: Reservation, model: ModelSpec, usage: CallUsage, at_most_usd: float = 0.0) -> None:
        """Replaces a reservation by what the attempt used; `at_most_usd` bounds that where it is an estimate."""
        self._open.remove(reservation)
        self._count(reservation.call, reservation.role, model, usage, at_most_usd)
        self._change.notify()

    def release(self, reservation: Reservation) -> None:
        """Gives a reservation back: the attempt was not billed."""
        self._open.remove(reservation)
        self._change.notify()

    def restore(self, call: str, role: Role, model: ModelSpec, usage: CallUsage, at_most_usd: float = 0.0) -> None:
        """Counts an attempt that an earlier life of this run has paid."""
        self._count(call, role, model, usage, at_most_usd)

    def count_cached(self) -> None:
        """Counts a sub-call that an earlier run has paid."""
        self._usage = replace(self._usage, cached_sub_calls=self._usage.cached_sub_calls + 1)

    def _count(self, call: str, role: Role, model: ModelSpec, usage: CallUsage, at_most_usd: float) -> None:
        self._totals[model.id] = self._totals.get(model.id, ModelTotals()).plus(model, usage)
        cost = model.bill(usage)
        self._spent_usd += cost
        self._doubtful_usd += max(0.0, at_most_usd - cost)
        if call in self._paid:
            return
        self._paid.add(call)
        self._begun.pop(call, None)
        if role == "sub":
            self._usage = replace(self._usage, sub_calls=self._usage.sub_calls + 1)
        elif role == "root":
            self._usage = replace(self._usage, iterations=self._usage.iterations + 1)

    def _call_refusal(self, call: str, role: Role) -> UsageLimitExceeded | None:
        if self._is_late():
            return self._too_late()
        if call in self._paid:
            return None
        if role == "sub" and self.remaining_sub_calls() <= 0:
            return UsageLimitExceeded("maxSubCalls", self.limits.max_sub_calls, self.limits.max_sub_calls)
        if role == "root" and self.remaining_iterations() <= 0:
            return UsageLimitExceeded("maxIterations", self.limits.max_iterations, self.limits.max_iterations)
        return None

    def _refusal(self, role: Role, worst_usd: float, wanted: str = "") -> UsageLimitExceeded | None:
        if self._is_late():
            return self._too_late()
        most = self.limits.max_cost_usd
        if most is None:
            return None
        allowed = most - (0.0 if role == "root" else self._set_aside_usd)
        if self._committed() + worst_usd > allowed:
            return UsageLimitExceeded("maxCostUsd", most, round(self._committed(), 8), wanted)
        return None

    def _is_late(self) -> bool:
        return self.limits.deadline is not None and self._now() >= self.limits.deadline

    def _too_late(self) -> UsageLimitExceeded:
        return UsageLimitExceeded("timeoutSeconds", self.limits.deadline or 0.0, self._now())

    def _committed(self) -> float:
        return self.settled_usd + self._held_usd + sum(reservation.cost_usd for reservation in self._open)

    def _in_flight(self, role: Role) -> int:
        return sum(1 for other in self._begun.values() if other == role)

"""No sequence of runs of several keys passes the cap of the whole deployment, nor that of any key."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rlm_worker.budget.account import AccountLimits
from rlm_worker.budget.shared import SharedCap
from rlm_worker.errors import RateLimited
from rlm_worker.testing import ManualClock, MemoryAccounts

KEY_CAP, WHOLE_CAP = 1.0, 1.5
RUNS = st.sampled_from(["ann/1", "ann/2", "bob/1", "bob/2", "eve/1"])
USD = st.floats(0, 0.9, allow_nan=False)
T = TypeVar("T")


class Whole:
    """One account for all keys."""

    def __init__(self, clock: ManualClock) -> None:
        self.accounts = MemoryAccounts(AccountLimits(WHOLE_CAP), clock)

    async def open(self, owner: str, run: str, usd: float, *, resumed: bool = False) -> float:
        return await self.accounts.open("", run, usd, resumed=resumed)

    async def extend(self, owner: str, run: str, total: float) -> float:
        return await self.accounts.extend("", run, total)

    async def close(self, owner: str, run: str, total: float) -> None:
        await self.accounts.close("", run, total)

    async def state(self, owner: str) -> Mapping[str, object]:
        return await self.accounts.state("")


class Deployment(RuleBasedStateMachine):
    """Keys whose runs spend whatever they are granted, and nothing more."""

    def __init__(self) -> None:
        super().__init__()
        clock = ManualClock(1_700_049_600.0)
        self.keys, self.whole = MemoryAccounts(AccountLimits(KEY_CAP), clock), Whole(clock)
        self.accounts = SharedCap(self.keys, self.whole)
        self.granted: dict[str, float] = {}
        self.spent: dict[str, float] = {}

    @rule(run=RUNS, usd=USD)
    def open(self, run: str, usd: float) -> None:
        with suppress(RateLimited):
            self.granted[run] = done(self.accounts.open(owner(run), run, usd))

    @rule(run=RUNS, more=USD)
    def extend(self, run: str, more: float) -> None:
        if run in self.granted:
            total = self.spent.get(run, 0.0) + more
            self.granted[run] = done(self.accounts.extend(owner(run), run, total))

    @rule(run=RUNS, share=st.floats(0, 1))
    def spend(self, run: str, share: float) -> None:
        left = max(0.0, self.granted.get(run, 0.0) - self.spent.get(run, 0.0))
        self.spent[run] = self.spent.get(run, 0.0) + left * share

    @rule(run=RUNS)
    def close(self, run: str) -> None:
        if run in self.granted:
            done(self.accounts.close(owner(run), run, self.spent.get(run, 0.0)))
            self.granted[run] = self.spent.get(run, 0.0)

    @invariant()
    def caps_hold(self) -> None:
        assert sum(self.spent.values()) <= WHOLE_CAP + 1e-6
        for name in ("ann", "bob", "eve"):
            assert sum(usd for run, usd in self.spent.items() if owner(run) == name) <= KEY_CAP + 1e-6

    @invariant()
    def closed_books_agree(self) -> None:
        if all(self.granted[run] == self.spent.get(run, 0.0) for run in self.granted):
            state = done(self.whole.state(""))
            assert float(str(state["spentTodayUsd"])) <= sum(self.spent.values()) + 1e-6


def owner(run: str) -> str:
    return run.partition("/")[0]


def done(work: Coroutine[object, object, T]) -> T:
    return asyncio.run(work)


TestDeployment = pytest.mark.filterwarnings("ignore")(Deployment.TestCase)
TestDeployment.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


async def test_poor_deployment_frees_key() -> None:
    """What the deployment refuses leaves no slot and no dollars taken at the key's account."""
    clock = ManualClock()
    keys, whole = MemoryAccounts(AccountLimits(KEY_CAP, 1), clock), Whole(clock)
    accounts = SharedCap(keys, whole)
    await accounts.open("ann", "ann/1", 1.0)
    await accounts.open("bob", "bob/1", 1.0)
    with pytest.raises(RateLimited):
        await accounts.open("eve", "eve/1", 1.0)
    state = await keys.state("eve")
    assert (state["runs"], state["grantedUsd"], state["spentTodayUsd"]) == (0, 0, 0)

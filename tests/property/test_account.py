"""No sequence of runs, renewals, ends, repetitions, losses and midnights passes a key's cap or its slots."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rlm_worker.budget.account import LEASE_SECONDS, Account, AccountLimits
from rlm_worker.errors import RateLimited
from rlm_worker.testing import SqliteDatabase

CAP, SLOTS = 1.0, 3
DAY = 86_400
RUNS = st.sampled_from("abcdef")
USD = st.floats(0, 0.6, allow_nan=False)


class Key(RuleBasedStateMachine):
    """A key whose runs spend whatever they are granted, and nothing more."""

    def __init__(self) -> None:
        super().__init__()
        self.books = Account(SqliteDatabase(), AccountLimits(CAP, SLOTS))
        self.now = 1_700_049_600.0
        self.granted: dict[str, float] = {}
        self.spent: dict[str, float] = {}
        self.by_day: dict[int, float] = {}

    @rule(run=RUNS, usd=USD)
    def open(self, run: str, usd: float) -> None:
        with suppress(RateLimited):
            self.granted[run] = self.books.open(run, usd, self.now)

    @rule(run=RUNS, more=USD)
    def extend(self, run: str, more: float) -> None:
        if run in self.granted:
            self.granted[run] = self.books.extend(run, self.granted[run] + more, self.now)

    @rule(run=RUNS, share=st.floats(0, 1))
    def spend(self, run: str, share: float) -> None:
        usd = (self.granted.get(run, 0.0) - self.spent.get(run, 0.0)) * share
        self.spent[run] = self.spent.get(run, 0.0) + usd
        day = int(self.now // DAY)
        self.by_day[day] = self.by_day.get(day, 0.0) + usd

    @rule(run=RUNS, again=st.booleans())
    def close(self, run: str, again: bool) -> None:
        for _ in range(1 + again):
            if run in self.granted:
                self.books.close(run, self.spent.get(run, 0.0), self.now)
        if run in self.granted:
            self.granted[run] = self.spent.get(run, 0.0)

    @rule(seconds=st.sampled_from([1.0, 60.0, 300.0]))
    def wait(self, seconds: float) -> None:
        for run in self.granted:  # runs that live renew their lease
            self.granted[run] = max(self.granted[run], self.books.extend(run, 0.0, self.now))
        self.now += seconds

    @rule()
    def pass_midnight(self) -> None:
        """Runs that live renew their lease all along."""
        midnight = (self.now // DAY + 1) * DAY
        while self.now < midnight:
            self.wait(min(LEASE_SECONDS - 1, midnight + 1 - self.now))

    @rule()
    def lose_all(self) -> None:
        """Everything stops, and is heard of again the next day at the earliest: runs may still close."""
        self.granted = {run: self.spent.get(run, 0.0) for run in self.granted}
        self.books.state(self.now + LEASE_SECONDS)
        self.now = (self.now // DAY + 1) * DAY + LEASE_SECONDS + 1

    @invariant()
    def day_keeps_its_cap(self) -> None:
        assert all(usd <= CAP + 1e-9 for usd in self.by_day.values())

    @invariant()
    def books_cover_grants(self) -> None:
        state = self.books.state(self.now)
        assert float(str(state["grantedUsd"])) + float(str(state["spentTodayUsd"])) <= CAP + 1e-6


TestKey = pytest.mark.filterwarnings("ignore")(Key.TestCase)
TestKey.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)

"""A run's way to its key's account: no call is made that the day's dollars do not cover."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from rlm_worker.errors import RateLimited, RLMError, StorageUnavailable, UsageLimitExceeded
from rlm_worker.messages import ModelReply, ModelRequest
from rlm_worker.ports import Accounts, DeltaSink, Model

from .account import FIRST_LEASE_SECONDS
from .changes import Change
from .ledger import Ledger

# What a run asks for when it begins, in US dollars; the account gives what is left of the day where that is less.
FIRST_GRANT_USD = 0.02
UNLIMITED_USD = 1e12
_RETRY_SECONDS = 3_600
# Which of the two it is only the accounts know, and either may be mended by ops.
_LIMIT = "KEY_DAILY_USD or DEPLOYMENT_DAILY_USD"
_SETTLE_SECONDS = 5.0
# A grant is asked about again after so long, before the next attempt: a cap may have been set or lowered, a lease may
# have run out. Where the account cannot be reached the grant holds for as long as its lease surely does.
_CONFIRM_SECONDS = 60.0
_SURELY_LEASED_SECONDS = FIRST_LEASE_SECONDS - 10.0


class Unlimited:
    """The `Accounts` of a deployment that holds its keys to nothing."""

    # Nobody is asked, so nothing of the questions is used.
    # ruff: noqa: ARG002

    async def open(self, owner: str, run: str, usd: float, *, resumed: bool = False) -> float:
        return UNLIMITED_USD

    async def extend(self, owner: str, run: str, total: float) -> float:
        return UNLIMITED_USD

    async def close(self, owner: str, run: str, total: float) -> None:
        return

    async def state(self, owner: str) -> dict[str, object]:
        return {}


@dataclass(frozen=True, slots=True)
class Grant:
    """Whose money a run spends: the key's account, and the dollars granted when the run began.

    `earlier_usd` was spent by this run without being in its ledger; `at` is when it was granted, in clock seconds.
    """

    accounts: Accounts
    owner: str
    run: str
    usd: float
    earlier_usd: float = 0.0
    at: float = float("inf")


class CallPricing(Protocol):
    """The most that an attempt may cost, in US dollars."""

    def worst_usd(self, request: ModelRequest) -> float: ...


class Funds:
    """What the key's account has granted to a run, and what of it is under way or held for later."""

    def __init__(self, ledger: Ledger, grant: Grant, now: Callable[[], float] = lambda: 0.0) -> None:
        self._ledger = ledger
        self._grant = grant
        self._granted = grant.usd
        self._now = now
        self._confirmed_at = grant.at
        self._under_way: list[float] = []
        self._held = 0.0
        self._asking = asyncio.Lock()
        self._change = Change()

    async def reserve(self, worst: float) -> None:
        """Waits until the account covers an attempt's worst case; `release` gives it back."""
        await self._cover(worst)
        self._under_way.append(worst)

    def release(self, worst: float) -> None:
        self._under_way.remove(worst)
        self._change.notify()

    async def hold(self, usd: float) -> None:
        """Keeps dollars for what will be needed later; nobody waits for them to come back. `let_go` gives them back."""
        await self._cover(usd)
        self._held += usd

    def let_go(self, usd: float) -> None:
        self._held = max(0.0, self._held - usd)
        self._change.notify()

    async def _cover(self, usd: float) -> None:
        if self._age() > _CONFIRM_SECONDS or not self._fits(usd):
            async with self._asking:  # one asks for all: the account grants a total
                if self._age() > _CONFIRM_SECONDS:
                    await self._confirm(usd)
                await self._make_room(usd)

    def _age(self) -> float:
        return self._now() - self._confirmed_at

    async def _confirm(self, worst: float) -> None:
        """Hears what the grant is now; one that nobody knows of was given while there was no limit."""
        grant, asked_at = self._grant, self._now()
        try:
            if self._granted >= UNLIMITED_USD:
                total = self._total(worst)
                self._granted = await grant.accounts.open(grant.owner, grant.run, total, resumed=True)
            else:
                self._granted = await grant.accounts.extend(grant.owner, grant.run, self._total(worst))
            self._confirmed_at = asked_at
        except StorageUnavailable:
            if self._age() > _SURELY_LEASED_SECONDS:
                raise

    async def _make_room(self, worst: float) -> None:
        while not self._fits(worst):
            grant, asked_at = self._grant, self._now()
            self._granted = await grant.accounts.extend(grant.owner, grant.run, self._total(worst))
            self._confirmed_at = asked_at
            if self._fits(worst):
                return
            if not self._under_way:
                raise self._refusal()
            await self._change.wait()  # what is under way usually costs less than its worst case

    def _fits(self, worst: float) -> bool:
        return self._total(worst) <= self._granted

    def _total(self, worst: float) -> float:
        return self._spent() + self._held + sum(self._under_way) + worst

    def _refusal(self) -> RateLimited | UsageLimitExceeded:
        """A run that has spent nothing is refused by its key's limit; any other ends with what it has."""
        if not self._spent():
            return RateLimited(
                f"daily spending limit reached ({_LIMIT}): what is left does not cover one call", _RETRY_SECONDS
            )
        return UsageLimitExceeded(_LIMIT, round(self._granted, 8), round(self._spent(), 8))

    def _spent(self) -> float:
        return self._ledger.settled_usd + self._grant.earlier_usd


@dataclass(frozen=True, slots=True)
class Funded:
    """Lets an attempt through when the account covers its worst case beside all that is spent and under way."""

    model: Model
    funds: Funds
    pricing: CallPricing

    async def complete(self, request: ModelRequest, deltas: DeltaSink | None = None) -> ModelReply:
        worst = self.pricing.worst_usd(request)
        await self.funds.reserve(worst)
        try:
            return await self.model.complete(request, deltas)
        finally:
            self.funds.release(worst)


class RunAccount:
    """What a session settles with its key's account: a slot and dollars when a run begins, its cost at the end."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def open(self, owner: str, run: str, max_cost_usd: float | None) -> float:
        """Takes a slot; gives the dollars granted, no more than the run may spend. Raises `RateLimited`."""
        return await self._accounts.open(owner, run, min(FIRST_GRANT_USD, max_cost_usd or FIRST_GRANT_USD))

    async def renew(self, owner: str, run: str) -> None:
        """Keeps the run's slot: a lease is longer than an alarm lasts."""
        with suppress(RLMError, TimeoutError):
            async with asyncio.timeout(_SETTLE_SECONDS):
                await self._accounts.extend(owner, run, 0.0)

    async def close(self, owner: str, run: str, total_usd: float) -> bool:
        """Books what the run has cost; False where the account cannot be reached, which may be tried again."""
        try:
            async with asyncio.timeout(_SETTLE_SECONDS):
                await self._accounts.close(owner, run, total_usd)
        except (RLMError, TimeoutError):
            return False
        return True

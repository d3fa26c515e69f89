"""The account of a key in its Durable Object: its books, its methods over RPC, and the port that calls them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlm_worker.adapters.bindings import SystemClock, variable
from rlm_worker.budget.account import Account
from rlm_worker.budget.funding import Unlimited
from rlm_worker.errors import StorageUnavailable
from rlm_worker.ports import Accounts
from rlm_worker.settings import Settings

from .rpc import accounts, answered_now
from .storage import DurableSQL


def open_account(context: Any, env: Any) -> Account:
    """The books of a Durable Object, held to the deployment's limits."""
    settings = Settings.from_vars(lambda name: variable(env, name))
    return Account(DurableSQL(context), settings.account_limits)


def accounts_of(env: Any, settings: Settings) -> Accounts:
    """The accounts of a deployment; without limits nobody is asked."""
    return AccountStubs(env) if settings.account_limits.any else Unlimited()


class AccountMethods:
    """What an account answers over RPC."""

    _account: Account

    async def open_run(self, run: str, usd: float, resumed: bool) -> str:
        return await answered_now(lambda: self._account.open(run, float(usd), _now(), resumed=resumed))

    async def extend_run(self, run: str, total: float) -> str:
        return await answered_now(lambda: self._account.extend(run, float(total), _now()))

    async def close_run(self, run: str, total: float) -> str:
        return await answered_now(lambda: self._account.close(run, float(total), _now()))

    async def account_state(self) -> str:
        return await answered_now(lambda: self._account.state(_now()))


def _now() -> float:
    return SystemClock().now()


class AccountStubs:
    """The `Accounts` port: one Durable Object for each key. Every call may be repeated, so a broken one is."""

    def __init__(self, env: Any) -> None:
        self._stubs = accounts(env)

    async def open(self, owner: str, run: str, usd: float, *, resumed: bool = False) -> float:
        return _dollars(await self._stubs.call(owner, "open_run", run, usd, resumed))

    async def extend(self, owner: str, run: str, total: float) -> float:
        return _dollars(await self._stubs.call(owner, "extend_run", run, total))

    async def close(self, owner: str, run: str, total: float) -> None:
        await self._stubs.call(owner, "close_run", run, total)

    async def state(self, owner: str) -> Mapping[str, object]:
        found = await self._stubs.call(owner, "account_state")
        return found if isinstance(found, dict) else {}


def _dollars(value: object) -> float:
    if not isinstance(value, int | float):
        raise StorageUnavailable("the key's account answered with something that is not a number")
    return float(value)

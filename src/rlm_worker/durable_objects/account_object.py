"""The account of a key in its Durable Object: its books, its methods over RPC, and the port that calls them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rlm_worker.adapters.bindings import SystemClock, variable
from rlm_worker.budget.account import Account, AccountLimits
from rlm_worker.budget.funding import Unlimited
from rlm_worker.budget.shared import DEPLOYMENT, Exempt, SharedCap
from rlm_worker.errors import StorageUnavailable
from rlm_worker.ports import Accounts
from rlm_worker.settings import LOCAL_OWNER, Settings

from .rpc import accounts, answered_now
from .storage import DurableSQL

Scope = Literal["key", "deployment"]


@dataclass(frozen=True, slots=True)
class Books:
    """What an object may be asked to keep; each keeps one of them."""

    key: Account
    deployment: Account

    def of(self, scope: Scope) -> Account:
        return self.deployment if scope == "deployment" else self.key


def open_account(context: Any, env: Any) -> Books:
    """The books of a Durable Object, held to the deployment's limits."""
    settings, database = Settings.from_vars(lambda name: variable(env, name)), DurableSQL(context)
    whole = AccountLimits(settings.deployment_daily_usd)
    return Books(Account(database, settings.account_limits), Account(database, whole, "this deployment", adopts=True))


def accounts_of(env: Any, settings: Settings) -> Accounts:
    """The accounts of a deployment; nobody is asked for who works on a local one without a key."""
    held: Accounts = AccountStubs(env)
    if settings.deployment_daily_usd is not None:
        held = SharedCap(held, AccountStubs(env, "deployment"))
    return Exempt(held, Unlimited(), LOCAL_OWNER) if settings.local else held


class AccountMethods:
    """What an account answers over RPC."""

    _account: Books

    async def open_run(self, run: str, usd: float, resumed: bool, scope: Scope = "key") -> str:
        books = self._account.of(scope)
        return await answered_now(lambda: books.open(run, float(usd), _now(), resumed=resumed))

    async def extend_run(self, run: str, total: float, scope: Scope = "key") -> str:
        return await answered_now(lambda: self._account.of(scope).extend(run, float(total), _now()))

    async def close_run(self, run: str, total: float, scope: Scope = "key") -> str:
        return await answered_now(lambda: self._account.of(scope).close(run, float(total), _now()))

    async def account_state(self, scope: Scope = "key") -> str:
        return await answered_now(lambda: self._account.of(scope).state(_now()))

    async def limit_daily(self, usd: float) -> str:
        """Sets the key's own limit; below zero it goes back to what holds for every key."""
        return await answered_now(lambda: self._account.key.limit_daily(None if usd < 0 else float(usd)))


def _now() -> float:
    return SystemClock().now()


class AccountStubs:
    """The `Accounts` port: one Durable Object for each key, or one for all of them.

    Every call may be repeated, so a broken one is.
    """

    def __init__(self, env: Any, scope: Scope = "key") -> None:
        self._stubs = accounts(env)
        self._scope: Scope = scope

    async def open(self, owner: str, run: str, usd: float, *, resumed: bool = False) -> float:
        return _dollars(await self._call(owner, "open_run", run, usd, resumed))

    async def extend(self, owner: str, run: str, total: float) -> float:
        return _dollars(await self._call(owner, "extend_run", run, total))

    async def close(self, owner: str, run: str, total: float) -> None:
        await self._call(owner, "close_run", run, total)

    async def state(self, owner: str) -> Mapping[str, object]:
        found = await self._call(owner, "account_state")
        return found if isinstance(found, dict) else {}

    async def _call(self, owner: str, method: str, *arguments: object) -> object:
        name = owner if self._scope == "key" else DEPLOYMENT
        return await self._stubs.call(name, method, *arguments, self._scope)


def _dollars(value: object) -> float:
    if not isinstance(value, int | float):
        raise StorageUnavailable("the key's account answered with something that is not a number")
    return float(value)

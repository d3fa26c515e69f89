"""The account of a key in its Durable Object: its books, its methods over RPC, and the port that calls them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from pyodide.ffi import JsException

from rlm_worker.adapters.bindings import SystemClock, binding, variable
from rlm_worker.budget.account import Account
from rlm_worker.budget.funding import Unlimited
from rlm_worker.errors import RateLimited, StorageUnavailable
from rlm_worker.ports import Accounts
from rlm_worker.settings import Settings

from .storage import DurableSQL

_PAUSES = (0.05, 0.2, 0.5, None)


def open_account(context: Any, env: Any) -> Account:
    """The books of a Durable Object, held to the deployment's limits."""
    settings = Settings.from_vars(lambda name: variable(env, name))
    return Account(DurableSQL(context), settings.account_limits)


def accounts_of(env: Any, settings: Settings) -> Accounts:
    """The accounts of a deployment; without limits nobody is asked."""
    return AccountStubs(env) if settings.account_limits.any else Unlimited()


class AccountMethods:
    """What an account answers over RPC, JSON as text."""

    _account: Account

    async def open_run(self, run: str, usd: float, resumed: bool) -> str:
        return _enveloped(lambda: self._account.open(run, float(usd), _now(), resumed=resumed))

    async def extend_run(self, run: str, total: float) -> str:
        return _enveloped(lambda: self._account.extend(run, float(total), _now()))

    async def close_run(self, run: str, total: float) -> str:
        return _enveloped(lambda: self._account.close(run, float(total), _now()))

    async def account_state(self) -> str:
        return _enveloped(lambda: self._account.state(_now()))


def _now() -> float:
    return SystemClock().now()


def _enveloped(work: Callable[[], object]) -> str:
    try:
        return json.dumps({"value": work()})
    except RateLimited as error:
        return json.dumps({"rateLimited": str(error), "retryAfter": error.retry_after})


class AccountStubs:
    """The `Accounts` port: one Durable Object for each key. Every call may be repeated, so a broken one is."""

    def __init__(self, env: Any) -> None:
        self._env = env

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
        namespace = binding(self._env, "RLM_ACCOUNTS")
        if namespace is None:
            raise StorageUnavailable("the binding RLM_ACCOUNTS is missing, so the key's limits cannot be held")
        for pause in _PAUSES:
            try:
                return _opened(await getattr(namespace.getByName(owner), method)(*arguments))
            except (JsException, OSError, ValueError) as error:
                if pause is None:
                    raise StorageUnavailable(f"the key's account cannot be reached: {_first_line(error)}") from None
                await asyncio.sleep(pause)
        raise AssertionError("the last pause is None")


def _opened(answer: object) -> object:
    envelope = json.loads(str(answer))
    if "rateLimited" in envelope:
        raise RateLimited(envelope["rateLimited"], int(envelope["retryAfter"]))
    return envelope["value"]


def _dollars(value: object) -> float:
    if not isinstance(value, int | float):
        raise StorageUnavailable("the key's account answered with something that is not a number")
    return float(value)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]

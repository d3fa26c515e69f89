"""What `scripts/keys` asks for: the deployment's keys and their budgets. Behind an admin key, and not for callers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from rlm_worker.budget.shared import DEPLOYMENT
from rlm_worker.errors import RLMError
from rlm_worker.http import Call, Handler, HttpResponse, read_json
from rlm_worker.keys.registry import REGISTRY
from rlm_worker.keys.ring import CACHING_SECONDS
from rlm_worker.ports import ObjectStubs
from rlm_worker.settings import Settings
from rlm_worker.wire.keys import Budget, KeyBudget, KeyEntry, KeyListing, NewKey
from rlm_worker.wire.requests import refusal
from rlm_worker.wire.results import AccountState

from .auth import names_of

# Which books are asked for: those of all keys together.
_WHOLE = (DEPLOYMENT, "deployment")
_MAX_BODY_BYTES = 10_000
# A name's account is one more object to ask.
_MAX_BUDGETS = 100
_DEFAULT = -1.0
_Body = TypeVar("_Body", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class AdminRoutes:
    """Handlers over the list of keys and their accounts; each is named as its operation."""

    keys: ObjectStubs
    accounts: ObjectStubs
    settings: Settings

    def handlers(self) -> Mapping[str, Handler]:
        """By the names of their operations."""
        return {
            "listKeys": self.list_keys,
            "addKey": self.add_key,
            "revokeKey": self.revoke_key,
            "setBudget": self.set_budget,
        }

    async def list_keys(self, _: Call) -> HttpResponse:
        found = await self.keys.call(REGISTRY, "list_keys")
        entries = [KeyEntry.model_validate(entry) for entry in found] if isinstance(found, list) else []
        names = sorted({entry.name for entry in entries if entry.state == "active"})
        budgets = await asyncio.gather(*(self._budget(name) for name in names[:_MAX_BUDGETS]))
        known = [budget for budget in budgets if budget is not None]
        whole = None if self.settings.deployment_daily_usd is None else await self._state(*_WHOLE)
        listing = KeyListing(keys=entries, budgets=known, deployment=whole, caching_seconds=CACHING_SECONDS)
        return HttpResponse.of_json_text(200, listing.to_json())

    async def add_key(self, call: Call) -> HttpResponse:
        """Admits a key, its budget first: no key ever works without the limit that it was given."""
        key = await self._body(call, NewKey)
        await self.keys.call(REGISTRY, "check_key", key.to_json())
        if key.daily_usd is not None:
            await self.accounts.call(key.name, "limit_daily", key.daily_usd)
        elif not key.rotate and key.name not in names_of(self.settings.keys):
            await self.accounts.call(key.name, "limit_daily", _DEFAULT)  # a name that is new again begins anew
        entry = KeyEntry.model_validate(await self.keys.call(REGISTRY, "add_key", key.to_json()))
        return HttpResponse.of_json_text(201, entry.to_json())

    async def revoke_key(self, call: Call) -> HttpResponse:
        entry = KeyEntry.model_validate(await self.keys.call(REGISTRY, "revoke_key", call.parameters["id"]))
        return HttpResponse.of_json_text(200, entry.to_json())

    async def set_budget(self, call: Call) -> HttpResponse:
        name, budget = call.parameters["id"], await self._body(call, Budget)
        usd = _DEFAULT if budget.daily_usd is None else budget.daily_usd
        await self.accounts.call(name, "limit_daily", usd)
        state = AccountState.model_validate(await self.accounts.call(name, "account_state"))
        return HttpResponse.of_json_text(200, KeyBudget(name=name, account=state).to_json())

    async def _body(self, call: Call, form: type[_Body]) -> _Body:
        body = await read_json(call.request, _MAX_BODY_BYTES, self.settings.body_idle_seconds)
        try:
            return form.model_validate_json(body)
        except ValidationError as error:
            raise refusal(error) from None

    async def _budget(self, name: str) -> KeyBudget | None:
        state = await self._state(name)
        return None if state is None else KeyBudget(name=name, account=state)

    async def _state(self, name: str, *scope: str) -> AccountState | None:
        try:
            return AccountState.model_validate(await self.accounts.call(name, "account_state", *scope))
        except RLMError:
            return None  # the list is worth more than one figure in it

"""A cap for all keys together: what a run may spend is what its key's account and the deployment's both cover."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rlm_worker.errors import RLMError
from rlm_worker.ports import Accounts

# No key can have this name: an object of that name keeps the books of all keys together.
DEPLOYMENT = "/deployment"


@dataclass(frozen=True, slots=True)
class SharedCap:
    """The `Accounts` of a deployment with a cap of its own: each grant is covered twice.

    `total` keeps the deployment's books, in which every run stands under the name of its key.
    """

    accounts: Accounts
    total: Accounts

    async def open(self, owner: str, run: str, usd: float, *, resumed: bool = False) -> float:
        granted = await self.accounts.open(owner, run, usd, resumed=resumed)
        try:
            return min(granted, await self.total.open(owner, run, usd, resumed=resumed))
        except RLMError:
            if not resumed:
                await self.accounts.close(owner, run, 0.0)
            raise

    async def extend(self, owner: str, run: str, total: float) -> float:
        granted = await self.accounts.extend(owner, run, total)
        return min(granted, await self.total.extend(owner, run, total))

    async def close(self, owner: str, run: str, total: float) -> None:
        await self.accounts.close(owner, run, total)
        await self.total.close(owner, run, total)

    async def state(self, owner: str) -> Mapping[str, object]:
        return await self.accounts.state(owner)


@dataclass(frozen=True, slots=True)
class Exempt:
    """The `Accounts` of a deployment in which one owner is held to nothing: whoever works on it without a key."""

    accounts: Accounts
    unlimited: Accounts
    owner: str

    async def open(self, owner: str, run: str, usd: float, *, resumed: bool = False) -> float:
        return await self._of(owner).open(owner, run, usd, resumed=resumed)

    async def extend(self, owner: str, run: str, total: float) -> float:
        return await self._of(owner).extend(owner, run, total)

    async def close(self, owner: str, run: str, total: float) -> None:
        await self._of(owner).close(owner, run, total)

    async def state(self, owner: str) -> Mapping[str, object]:
        return await self._of(owner).state(owner)

    def _of(self, owner: str) -> Accounts:
        return self.unlimited if owner == self.owner else self.accounts

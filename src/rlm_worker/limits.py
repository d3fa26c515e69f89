"""What stands between a caller and a paid route: the brake on requests, and what a key sees of its account."""

from __future__ import annotations

from collections.abc import Mapping

from .errors import RateLimited, RLMError
from .ports import Accounts, RateLimiter

# The period of the binding in wrangler.toml: after that long the caller may surely ask again.
_PERIOD_SECONDS = 60


class Unbraked:
    """The `RateLimiter` of a deployment that has none."""

    async def allows(self, owner: str) -> bool:  # noqa: ARG002 - whoever it is
        return True


async def check_rate(limiter: RateLimiter, owner: str) -> None:
    """Raises `RateLimited` for a key that asks too often."""
    if not await limiter.allows(owner):
        raise RateLimited("this key asks more often than it may", _PERIOD_SECONDS)


async def account_state(accounts: Accounts, owner: str) -> Mapping[str, object]:
    """What a key has used today; empty where the account cannot be reached or there is none."""
    try:
        return await accounts.state(owner)
    except RLMError:
        return {}

"""API keys that are kept in the deployment itself, as `scripts/keys` and the admin routes speak of them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import Answer, Wire
from .results import AccountState

KEY_NAME = r"[A-Za-z0-9._-]{1,64}"
_MAX_DAILY_USD = 1e9
_MAX_SECONDS = 400 * 86_400.0


class NewKey(Wire):
    """A key to be admitted: its name and its SHA-256 digest; the key itself is never sent.

    `daily_usd` is the name's own budget in US dollars a day, 0 for none. With `rotate` the name may have keys already;
    they end after `overlap_seconds`, or go on until somebody revokes them.
    """

    name: str = Field(pattern=f"^{KEY_NAME}$")
    digest: str = Field(pattern="^[0-9a-f]{64}$")
    daily_usd: float | None = Field(default=None, ge=0, le=_MAX_DAILY_USD)
    expires_in_seconds: float | None = Field(default=None, gt=0, le=_MAX_SECONDS)
    rotate: bool = False
    overlap_seconds: float | None = Field(default=None, gt=0, le=_MAX_SECONDS)


class Budget(Wire):
    """What a key's name may spend, in US dollars a day; 0: no limit, null: the deployment's `KEY_DAILY_USD`."""

    daily_usd: float | None = Field(ge=0, le=_MAX_DAILY_USD)


class KeyEntry(Answer):
    """One key: whose, the digest of what, and since when or until when it admits."""

    name: str
    digest: str
    state: Literal["active", "expired", "revoked"]
    created_at: str
    expires_at: str | None = None
    revoked_at: str | None = None


class KeyBudget(Answer):
    """What the keys of one name have spent today, beside their limits."""

    name: str
    account: AccountState


class KeyListing(Answer):
    """Every key that is kept, those that ended in the last 90 days included, and what was spent today.

    What is changed holds everywhere after `caching_seconds`.
    """

    keys: list[KeyEntry]
    budgets: list[KeyBudget]
    deployment: AccountState | None = None
    caching_seconds: float

"""Who may call: named keys, of which a deployment knows only the digests."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping

from rlm_worker.errors import NotConfigured, RateLimited, RLMError, Unauthenticated
from rlm_worker.ports import Accounts, RateLimiter

LOCAL_OWNER = "local"
_ENTRY = re.compile(r"^([A-Za-z0-9._-]{1,64}):([0-9a-f]{64})$")


def owner_of(headers: Mapping[str, str], keys: str, *, local: bool) -> str:
    """The name of the key that a request carries.

    `keys` is the secret `RLM_API_KEYS`: entries `name:sha256-hex`, separated by commas. Raises `NotConfigured` where a
    deployment has no key and is not local, and `Unauthenticated` for a key that is missing or not known.
    """
    known = _parsed(keys)
    if not known and local:
        return LOCAL_OWNER
    if not known:
        raise NotConfigured("no API key is configured: set the secret RLM_API_KEYS (./scripts/deploy does it)")
    presented = _presented(headers)
    digest = hashlib.sha256(presented.encode("utf-8", "surrogatepass")).hexdigest()
    owner = None
    for name, expected in known:  # every entry is compared, so that the time tells nothing
        if hmac.compare_digest(digest, expected):
            owner = name
    if not presented or owner is None:
        raise Unauthenticated("an API key is needed: Authorization: Bearer KEY")
    return owner


def _presented(headers: Mapping[str, str]) -> str:
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    return headers.get("x-api-key", "").strip()


def _parsed(keys: str) -> list[tuple[str, str]]:
    entries = [entry.strip() for entry in keys.split(",") if entry.strip()]
    matches = [_ENTRY.match(entry) for entry in entries]
    if not all(matches):
        raise NotConfigured("RLM_API_KEYS must be entries of the form name:sha256-hex, separated by commas")
    return [(match[1], match[2]) for match in matches if match]


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

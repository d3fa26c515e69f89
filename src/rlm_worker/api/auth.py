"""Who may call, and how often: named keys, of which a deployment knows only the digests."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass

from rlm_worker.errors import NotConfigured, RateLimited, RLMError, Unauthenticated
from rlm_worker.http import HttpRequest
from rlm_worker.log import RequestRecord
from rlm_worker.ports import Accounts, RateLimiter
from rlm_worker.settings import Settings
from rlm_worker.wire.results import AccountState

LOCAL_OWNER = "local"
# The period of the binding in wrangler.toml: after that long the caller may surely ask again.
_PERIOD_SECONDS = 60
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


@dataclass(frozen=True, slots=True)
class Gate:
    """Lets callers in by their keys, and no key in more often than it may."""

    settings: Settings
    limiter: RateLimiter
    accounts: Accounts

    def owner(self, request: HttpRequest, record: RequestRecord) -> str:
        """The name of the key that a request carries; for routes that cost nothing."""
        record.key = owner_of(request.headers, self.settings.keys, local=self.settings.local)
        return record.key

    async def paying_owner(self, request: HttpRequest, record: RequestRecord) -> str:
        """The same for a route that costs money; raises `RateLimited` for a key that asks too often."""
        owner = self.owner(request, record)
        if self.settings.keys and not await self.limiter.allows(owner):
            raise RateLimited("rate limit exceeded for this key", _PERIOD_SECONDS)
        return owner

    def known_owner(self, request: HttpRequest) -> str:
        """The same where no key is asked for; empty without a key that is known."""
        try:
            return owner_of(request.headers, self.settings.keys, local=self.settings.local)
        except RLMError:
            return ""

    async def account(self, owner: str) -> AccountState | None:
        """What a key has used today; None where the account cannot be reached or there is none."""
        try:
            state = await self.accounts.state(owner)
        except RLMError:
            return None
        return AccountState.model_validate(state) if state else None


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

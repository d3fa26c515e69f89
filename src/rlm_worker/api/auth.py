"""Who may call, and how often: named keys, of which a deployment knows only the digests."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlm_worker.errors import NotConfigured, RateLimited, RLMError, Unauthenticated
from rlm_worker.http import HttpRequest
from rlm_worker.log import RequestRecord
from rlm_worker.ports import Accounts, Keys, RateLimiter
from rlm_worker.settings import LOCAL_OWNER, Settings
from rlm_worker.wire.results import AccountState

# The period of the binding in wrangler.toml: after that long the caller may surely ask again.
_PERIOD_SECONDS = 60
# No key can be named so.
_ADMIN = "/admin"
_DIGEST = re.compile(r"^[0-9a-f]{64}$")
_ENTRY = re.compile(r"^([A-Za-z0-9._-]{1,64}):([0-9a-f]{64})$")


def owner_of(headers: Mapping[str, str], keys: str, *, local: bool, registered: Sequence[tuple[str, str]] = ()) -> str:
    """The name of the key that a request carries.

    `keys` is the secret `RLM_API_KEYS`: entries `name:sha256-hex`, separated by commas; `registered` has name and
    digest of others. Raises `NotConfigured` where a deployment has no key and is not local, and `Unauthenticated` for a
    key that is missing or not known.
    """
    known = [*_parsed(keys), *registered]
    if not known and local:
        return LOCAL_OWNER
    if not known:
        raise NotConfigured("no API key is configured: make one (./scripts/keys add NAME) or set RLM_API_KEYS")
    presented = _presented(headers)
    owner = _matching(presented, known)
    if not presented or owner is None:
        raise Unauthenticated("an API key is needed: Authorization: Bearer KEY")
    return owner


def names_of(keys: str) -> frozenset[str]:
    """Whose keys stand in the secret `RLM_API_KEYS`; raises `NotConfigured` for one that cannot be right."""
    return frozenset(name for name, _ in _parsed(keys))


@dataclass(frozen=True, slots=True)
class Gate:
    """Lets callers in by their keys, and no key in more often than it may."""

    settings: Settings
    limiter: RateLimiter
    accounts: Accounts
    keys: Keys

    async def owner(self, request: HttpRequest, record: RequestRecord) -> str:
        """The name of the key that a request carries; for routes that cost nothing."""
        record.key = await self._owner(request)
        return record.key

    async def paying_owner(self, request: HttpRequest, record: RequestRecord) -> str:
        """The same for a route that costs money; raises `RateLimited` for a key that asks too often."""
        owner = await self.owner(request, record)
        if not self._works_here(owner) and not await self.limiter.allows(owner):
            raise RateLimited("rate limit exceeded for this key", _PERIOD_SECONDS)
        return owner

    async def known_owner(self, request: HttpRequest) -> str:
        """The same where no key is asked for; empty without a key that is known."""
        try:
            return await self._owner(request) if self.settings.local or _presented(request.headers) else ""
        except RLMError:
            return ""

    async def admin(self, request: HttpRequest, record: RequestRecord) -> str:
        """Lets ops in by the admin key; raises `RateLimited`, `NotConfigured` and `Unauthenticated`.

        Nobody is let in where there is none, but for who works on a local deployment without a secret.
        """
        record.key = _ADMIN
        caller = f"{_ADMIN}/{request.headers.get('cf-connecting-ip', '')}"
        if not await self.limiter.allows(caller):
            raise RateLimited("rate limit exceeded for admin requests", _PERIOD_SECONDS)
        digests = [digest.strip() for digest in self.settings.admin_keys.split(",") if digest.strip()]
        if not all(_DIGEST.match(digest) for digest in digests):
            raise NotConfigured("RLM_ADMIN_KEYS must be the SHA-256 of the admin key in hex")
        if not digests and (self.settings.keys or not self.settings.local):
            raise NotConfigured("no admin key is configured: set the secret RLM_ADMIN_KEYS (./scripts/deploy does it)")
        admitted = _matching(_presented(request.headers), [(_ADMIN, digest) for digest in digests])
        if digests and admitted is None:
            raise Unauthenticated("the admin key is needed: Authorization: Bearer KEY")
        return _ADMIN

    async def account(self, owner: str) -> AccountState | None:
        """What a key has used today; None where the account cannot be reached or there is none."""
        try:
            state = await self.accounts.state(owner)
        except RLMError:
            return None
        return AccountState.model_validate(state) if state else None

    async def _owner(self, request: HttpRequest) -> str:
        """A key of the secret is known without asking; one that nobody knows may have been added just now."""
        secret = _parsed(self.settings.keys)
        if (owner := _matching(_presented(request.headers), secret)) is not None:
            return owner
        try:
            return self._registered(request, await self.keys.known())
        except (NotConfigured, Unauthenticated):
            if not _presented(request.headers):
                raise
            return self._registered(request, await self.keys.known(recheck=True))

    def _registered(self, request: HttpRequest, registered: Sequence[tuple[str, str]]) -> str:
        return owner_of(request.headers, self.settings.keys, local=self.settings.local, registered=registered)

    def _works_here(self, owner: str) -> bool:
        return self.settings.local and owner == LOCAL_OWNER


def _matching(presented: str, known: Sequence[tuple[str, str]]) -> str | None:
    """Whose digest a key has; every entry is compared, so that the time tells nothing."""
    digest = hashlib.sha256(presented.encode("utf-8", "surrogatepass")).hexdigest()
    owner = None
    for name, expected in known:
        if hmac.compare_digest(digest, expected):
            owner = name
    return owner if presented else None


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

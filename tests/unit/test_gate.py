"""Who is let in: by a key of the secret, by one that the deployment keeps, as ops by the admin key."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest

from rlm_worker.api.auth import Gate
from rlm_worker.budget.funding import Unlimited
from rlm_worker.errors import NotConfigured, RateLimited, StorageUnavailable, Unauthenticated
from rlm_worker.http import HttpRequest
from rlm_worker.log import RequestRecord
from rlm_worker.testing import MemoryKeys, RateLimiterDisabled
from tests.unit.conftest import settings


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


DEPLOYED = replace(settings(), local=False, keys=f"ann:{digest('of ann')}", admin_keys=digest("of ops"))


@dataclass
class Limiter:
    """Refuses; keeps who was asked about."""

    asked: list[str] = field(default_factory=list)

    async def allows(self, owner: str) -> bool:
        self.asked.append(owner)
        return False


async def nothing() -> AsyncIterator[bytes]:
    pieces: tuple[bytes, ...] = ()
    for piece in pieces:
        yield piece


def request(key: str = "", **headers: str) -> HttpRequest:
    presented = {"authorization": f"Bearer {key}"} if key else {}
    return HttpRequest("GET", "/admin/keys", {}, {**presented, **headers}, nothing())


def record() -> RequestRecord:
    return RequestRecord.of("GET", "/", {}, 0.0)


def gate(keys: MemoryKeys | None = None, configured: object = DEPLOYED) -> Gate:
    return Gate(configured, RateLimiterDisabled(), Unlimited(), keys or MemoryKeys())  # type: ignore[arg-type]


async def test_secret_needs_no_list() -> None:
    keys = MemoryKeys(failing=True)
    assert await gate(keys).owner(request("of ann"), record()) == "ann"
    assert not keys.asked


async def test_listed_key_enters() -> None:
    assert await gate(MemoryKeys([("bob", digest("of bob"))])).owner(request("of bob"), record()) == "bob"


async def test_listed_key_alone_configures() -> None:
    unset = replace(DEPLOYED, keys="")
    assert await gate(MemoryKeys([("bob", digest("of bob"))]), unset).owner(request("of bob"), record()) == "bob"
    with pytest.raises(NotConfigured, match="keys add"):
        await gate(MemoryKeys(), unset).owner(request("of bob"), record())


async def test_stranger_is_rechecked_once() -> None:
    keys = MemoryKeys([("bob", digest("of bob"))])
    with pytest.raises(Unauthenticated):
        await gate(keys).owner(request("of eve"), record())
    assert keys.asked == [False, True]


async def test_first_key_is_met_soon() -> None:
    """A deployment that had no key when its list was read looks again for who brings one."""
    keys = MemoryKeys()
    with pytest.raises(NotConfigured):
        await gate(keys, replace(DEPLOYED, keys="")).owner(request("of bob"), record())
    with pytest.raises(NotConfigured):
        await gate(keys, replace(DEPLOYED, keys="")).owner(request(), record())
    assert keys.asked == [False, True, False]


async def test_unread_list_admits_nobody() -> None:
    with pytest.raises(StorageUnavailable):
        await gate(MemoryKeys(failing=True)).owner(request("of bob"), record())


async def test_keyless_health_asks_nobody() -> None:
    keys = MemoryKeys()
    assert await gate(keys).known_owner(request()) == ""
    assert not keys.asked


async def test_admin_key_opens() -> None:
    assert await gate().admin(request("of ops"), record()) == "/admin"
    for other in ("of ann", "", "of op"):
        with pytest.raises(Unauthenticated):
            await gate().admin(request(other), record())


async def test_both_admin_keys_during_rotation() -> None:
    rotating = replace(DEPLOYED, admin_keys=f"{digest('of ops')},{digest('new')}")
    assert await gate(configured=rotating).admin(request("new"), record()) == "/admin"


@pytest.mark.parametrize("admin_keys", ["", "not a digest"])
async def test_unconfigured_admin_is_refused(admin_keys: str) -> None:
    for local in (False, True):
        unset = replace(DEPLOYED, admin_keys=admin_keys, local=local)
        with pytest.raises(NotConfigured, match="RLM_ADMIN_KEYS"):
            await gate(configured=unset).admin(request("of ops"), record())


async def test_local_admin_needs_no_key() -> None:
    assert await gate(configured=settings()).admin(request(), record()) == "/admin"


async def test_admin_is_braked_by_address() -> None:
    limiter = Limiter()
    braked = Gate(DEPLOYED, limiter, Unlimited(), MemoryKeys())
    with pytest.raises(RateLimited):
        await braked.admin(request("of ops", **{"cf-connecting-ip": "192.0.2.7"}), record())
    assert limiter.asked == ["/admin/192.0.2.7"]

"""The list of keys: what is added, rotated and revoked, and how long an isolate believes what it has read."""

from __future__ import annotations

import pytest

from rlm_worker.errors import Conflict, NotFound, StorageUnavailable
from rlm_worker.keys.registry import MAX_ACTIVE_KEYS, KeyRegistry
from rlm_worker.keys.ring import CACHING_SECONDS, RECHECK_SECONDS, ActiveKey, KeyRing
from rlm_worker.testing import SqliteDatabase
from rlm_worker.wire.keys import NewKey

NOON = 1_700_049_600.0
HOUR = 3_600.0


def key(name: str, number: int, **more: object) -> NewKey:
    return NewKey.model_validate({"name": name, "digest": f"{number:064x}", **more})


def registry() -> KeyRegistry:
    return KeyRegistry(SqliteDatabase())


def names(keys: KeyRegistry, now: float = NOON) -> list[tuple[str, int]]:
    return sorted((name, int(digest, 16)) for name, digest, _ in keys.active(now))


def test_added_key_is_active() -> None:
    keys = registry()
    entry = keys.add(key("ann", 1), NOON)
    assert (entry.state, entry.created_at) == ("active", "2023-11-15T12:00:00.000Z")
    assert names(keys) == [("ann", 1)]


def test_adding_twice_is_once() -> None:
    keys = registry()
    assert keys.add(key("ann", 1), NOON) == keys.add(key("ann", 1), NOON)


def test_names_are_not_taken_over() -> None:
    keys = registry()
    keys.add(key("ann", 1), NOON)
    with pytest.raises(Conflict, match="rotate"):
        keys.add(key("ann", 2), NOON)
    with pytest.raises(Conflict, match="digest"):
        keys.add(key("bob", 1), NOON)


def test_rotation_overlaps() -> None:
    keys = registry()
    keys.add(key("ann", 1), NOON)
    keys.add(key("ann", 2, rotate=True), NOON)
    assert names(keys, NOON + 1_000 * HOUR) == [("ann", 1), ("ann", 2)]
    keys.revoke(f"{1:064x}", NOON)
    assert names(keys) == [("ann", 2)]


def test_overlap_ends_by_itself() -> None:
    keys = registry()
    keys.add(key("ann", 1), NOON)
    keys.add(key("bob", 3), NOON)
    keys.add(key("ann", 2, rotate=True, overlapSeconds=HOUR), NOON)
    assert names(keys, NOON + HOUR - 1) == [("ann", 1), ("ann", 2), ("bob", 3)]
    assert names(keys, NOON + HOUR) == [("ann", 2), ("bob", 3)]


def test_overlap_never_prolongs() -> None:
    keys = registry()
    keys.add(key("ann", 1, expiresInSeconds=60.0), NOON)
    keys.add(key("ann", 2, rotate=True, overlapSeconds=HOUR), NOON)
    assert names(keys, NOON + 61) == [("ann", 2)]


def test_revoked_key_stays_revoked() -> None:
    keys = registry()
    keys.add(key("ann", 1), NOON)
    first = keys.revoke(f"{1:064x}", NOON)
    assert keys.revoke(f"{1:064x}", NOON + HOUR) == first
    assert first.state == "revoked"
    with pytest.raises(Conflict):
        keys.add(key("bob", 1), NOON)
    keys.add(key("ann", 2), NOON)


def test_short_prefix_must_be_clear() -> None:
    keys = registry()
    keys.add(key("ann", 1), NOON)
    keys.add(key("bob", 2), NOON)
    with pytest.raises(Conflict, match="2 keys"):
        keys.revoke("0" * 8, NOON)
    with pytest.raises(NotFound):
        keys.revoke("f" * 8, NOON)


def test_ended_keys_are_listed_a_while() -> None:
    keys = registry()
    keys.add(key("ann", 1), NOON)
    keys.revoke(f"{1:064x}", NOON)
    assert [entry.state for entry in keys.entries(NOON + 89 * 86_400)] == ["revoked"]
    assert not keys.entries(NOON + 91 * 86_400)


def test_list_stays_small() -> None:
    keys = registry()
    for number in range(MAX_ACTIVE_KEYS):
        keys.add(key(f"k{number}", number), NOON)
    with pytest.raises(Conflict, match="1000"):
        keys.add(key("one-more", MAX_ACTIVE_KEYS), NOON)


class Reader:
    """Reads a list; keeps how often."""

    def __init__(self) -> None:
        self.keys: list[ActiveKey] = [("ann", "a", None), ("bob", "b", NOON + 10)]
        self.reads = 0
        self.failing = False

    async def __call__(self) -> list[ActiveKey]:
        self.reads += 1
        if self.failing:
            raise StorageUnavailable("gone")
        return self.keys


async def test_ring_reads_seldom() -> None:
    ring, read = KeyRing(), Reader()
    for second in (0, 1, CACHING_SECONDS):
        await ring.names_by_digest(read, NOON + second)
    assert read.reads == 1
    await ring.names_by_digest(read, NOON + CACHING_SECONDS + 1)
    assert read.reads == 2


async def test_revocation_takes_caching_time() -> None:
    ring, read = KeyRing(), Reader()
    await ring.names_by_digest(read, NOON)
    read.keys = []
    assert await ring.names_by_digest(read, NOON + CACHING_SECONDS)
    assert not await ring.names_by_digest(read, NOON + CACHING_SECONDS + 0.1)


async def test_end_needs_no_reading() -> None:
    ring, read = KeyRing(), Reader()
    assert ("bob", "b") in await ring.names_by_digest(read, NOON + 9)
    assert ("bob", "b") not in await ring.names_by_digest(read, NOON + 10)


async def test_new_key_is_met_soon() -> None:
    ring, read = KeyRing(), Reader()
    await ring.names_by_digest(read, NOON)
    read.keys = [*read.keys, ("eve", "e", None)]
    assert ("eve", "e") not in await ring.names_by_digest(read, NOON + RECHECK_SECONDS, recheck=True)
    assert ("eve", "e") in await ring.names_by_digest(read, NOON + RECHECK_SECONDS + 0.1, recheck=True)


async def test_unread_list_is_not_stretched() -> None:
    ring, read = KeyRing(), Reader()
    await ring.names_by_digest(read, NOON)
    read.failing = True
    assert await ring.names_by_digest(read, NOON + CACHING_SECONDS)
    with pytest.raises(StorageUnavailable):
        await ring.names_by_digest(read, NOON + CACHING_SECONDS + 1)

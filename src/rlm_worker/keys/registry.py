"""The list of a deployment's keys: added, rotated with overlap, revoked; digests only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rlm_worker.errors import Conflict, NotFound
from rlm_worker.ports import Cell, Database
from rlm_worker.wire.base import timestamp
from rlm_worker.wire.keys import KeyEntry, NewKey

# There is one list, and it is an object of that name.
REGISTRY = "registry"
# Every isolate keeps the whole list in memory.
MAX_ACTIVE_KEYS = 1_000
# What has ended is listed for so long, for who looks into what happened.
_MEMORY_SECONDS = 90 * 86_400
_SCHEMA = """CREATE TABLE IF NOT EXISTS keys (digest TEXT PRIMARY KEY, name TEXT NOT NULL, created_at REAL NOT NULL,
    expires_at REAL, revoked_at REAL)"""
_COLUMNS = "SELECT name, digest, created_at, expires_at, revoked_at FROM keys"


@dataclass(frozen=True, slots=True)
class StoredKey:
    """One row; times in seconds since the epoch."""

    name: str
    digest: str
    created_at: float
    expires_at: float | None
    revoked_at: float | None

    def state(self, now: float) -> Literal["active", "expired", "revoked"]:
        if self.revoked_at is not None:
            return "revoked"
        return "active" if self.expires_at is None or now < self.expires_at else "expired"

    def shown(self, now: float) -> KeyEntry:
        return KeyEntry(
            name=self.name,
            digest=self.digest,
            state=self.state(now),
            created_at=timestamp(self.created_at),
            expires_at=None if self.expires_at is None else timestamp(self.expires_at),
            revoked_at=None if self.revoked_at is None else timestamp(self.revoked_at),
        )


class KeyRegistry:
    """The list; every method is one transaction and may be repeated."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.execute(_SCHEMA)

    def check(self, key: NewKey, now: float) -> None:
        """Raises `Conflict` where `add` would."""
        active = self._active(now)
        if any(known.digest == key.digest and known.name == key.name for known in active):
            return  # the same request again
        if self._found(key.digest):
            raise Conflict("this digest has been used: make another key")
        if not key.rotate and any(known.name == key.name for known in active):
            raise Conflict(f"there is a key of the name {key.name}: rotate or revoke it")
        if len(active) >= MAX_ACTIVE_KEYS:
            raise Conflict(f"there are {MAX_ACTIVE_KEYS} keys: revoke some")

    def add(self, key: NewKey, now: float) -> KeyEntry:
        """Admits a key; raises `Conflict` for a digest or, unless it rotates, a name that is there already."""
        self.check(key, now)
        if not self._found(key.digest):
            expires = None if key.expires_in_seconds is None else now + key.expires_in_seconds
            self._database.execute("INSERT INTO keys VALUES (?, ?, ?, ?, NULL)", *(key.digest, key.name, now, expires))
            if key.rotate and key.overlap_seconds is not None:
                self._retire_others(key, now + key.overlap_seconds, now)
        return self._found(key.digest)[0].shown(now)

    def revoke(self, prefix: str, now: float) -> KeyEntry:
        """Ends the one key whose digest begins so; raises `NotFound`, and `Conflict` where several do."""
        found = self._found(prefix)
        if not found:
            raise NotFound("there is no key with this digest")
        if len(found) > 1:
            raise Conflict(f"{len(found)} keys have digests that begin so: give more of it")
        self._database.execute(
            "UPDATE keys SET revoked_at = ? WHERE digest = ? AND revoked_at IS NULL", now, found[0].digest
        )
        return self._found(found[0].digest)[0].shown(now)

    def entries(self, now: float) -> list[KeyEntry]:
        """Every key, the newest first; what ended long ago is forgotten."""
        ended = "DELETE FROM keys WHERE COALESCE(revoked_at, expires_at, ?) < ?"
        self._database.execute(ended, now, now - _MEMORY_SECONDS)
        return [key.shown(now) for key in self._keys(f"{_COLUMNS} ORDER BY created_at DESC, digest")]

    def active(self, now: float) -> list[tuple[str, str, float | None]]:
        """Name, digest and end of each key that admits."""
        return [(key.name, key.digest, key.expires_at) for key in self._active(now)]

    def _active(self, now: float) -> list[StoredKey]:
        return self._keys(f"{_COLUMNS} WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)", now)

    def _found(self, prefix: str) -> list[StoredKey]:
        return self._keys(f"{_COLUMNS} WHERE substr(digest, 1, ?) = ?", len(prefix), prefix)

    def _retire_others(self, key: NewKey, end: float, now: float) -> None:
        for other in self._active(now):
            if other.name == key.name and other.digest != key.digest and (other.expires_at or end) >= end:
                self._database.execute("UPDATE keys SET expires_at = ? WHERE digest = ?", end, other.digest)

    def _keys(self, query: str, *values: Cell) -> list[StoredKey]:
        return [_stored(row) for row in self._database.execute(query, *values)]


def _stored(row: Sequence[Cell]) -> StoredKey:
    name, digest, created, expires, revoked = row
    return StoredKey(str(name), str(digest), float(created or 0), _seconds(expires), _seconds(revoked))


def _seconds(cell: Cell) -> float | None:
    return None if cell is None else float(cell)

"""What a deployment keeps, read from its state folder: exact, and without asking the code under test."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

# What workerd and miniflare keep for themselves, beside what the Worker has stored.
_ALARMS, _OBJECTS, _UPLOADS, _ENTRIES = "_cf_ALARM", "_mf_objects", "_mf_multipart_uploads", "_mf_entries"
_OWN = (_ALARMS, "_cf_METADATA", "sqlite_sequence")
# How many calls a model was sent in each second of the last minute: the deployment's, and nobody's own.
_SHARED = "RLMPace"


@dataclass(frozen=True, slots=True)
class StoredState:
    """Names of R2 objects, R2 uploads that were not completed, KV keys, Durable Objects with an alarm, and their rows.

    `rows` has the number of rows of every table that has some, but those of `RLMPace`: class, object, table.
    """

    objects: frozenset[str]
    uploads: frozenset[str]
    entries: frozenset[str]
    alarms: frozenset[str]
    rows: dict[tuple[str, str, str], int]

    def classes(self) -> set[str]:
        """The classes of Durable Objects that keep anything."""
        return {name for name, _, _ in self.rows}


NOTHING = StoredState(frozenset(), frozenset(), frozenset(), frozenset(), {})


def stored_state(state: Path) -> StoredState:
    """Lists all that lies in the state folder of a deployment that does nothing at the moment, or has been stopped."""
    return StoredState(
        objects=_names(state / "r2", _OBJECTS, "key"),
        uploads=_names(state / "r2", _UPLOADS, "key", where="state = 0"),
        entries=_names(state / "kv", _ENTRIES, "key"),
        alarms=_names(state / "do", _ALARMS, "actor_name"),
        rows=dict(_rows(state / "do")),
    )


@contextmanager
def opened(database: Path) -> Iterator[sqlite3.Connection]:
    """A copy of a database, log included: what a crash has left is not touched before workerd has seen it."""
    with tempfile.TemporaryDirectory() as folder:
        for part in (database, database.with_name(f"{database.name}-wal")):
            if part.exists():
                shutil.copy(part, folder)
        with closing(sqlite3.connect(Path(folder) / database.name)) as connection:
            yield connection


def databases(state: Path) -> Iterator[Path]:
    """The databases below a folder."""
    return iter(sorted(state.rglob("*.sqlite")))


def _tables(connection: sqlite3.Connection) -> list[str]:
    return [str(name) for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


def _names(folder: Path, table: str, column: str, *, where: str = "TRUE") -> frozenset[str]:
    found: set[str] = set()
    for database in databases(folder):
        with opened(database) as connection:
            if table in _tables(connection):
                rows = connection.execute(f"SELECT {column} FROM {table} WHERE {where}")
                found.update(str(name) for (name,) in rows)
    return frozenset(found)


def _rows(folder: Path) -> Iterator[tuple[tuple[str, str, str], int]]:
    for database in databases(folder):
        name = database.parent.name.rpartition("-")[2]
        if name == _SHARED:
            continue
        with opened(database) as connection:
            for table in set(_tables(connection)) - set(_OWN):
                (count,) = connection.execute(f'SELECT COUNT(*) FROM "{table}"').fetchone()
                if count:
                    yield (name, database.stem, table), int(count)

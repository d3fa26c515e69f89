"""How a batch is kept in SQLite: small facts, one row for each item, and long texts in parts.

A batch that is only asked about, or gone, leaves nothing behind: the tables come with its first fact.
"""

from __future__ import annotations

from rlm_worker.ports import MAX_TEXT_CHARACTERS, Cell, Database

_TABLES = ("items", "texts", "facts")
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    (
        "CREATE TABLE IF NOT EXISTS items (number INTEGER PRIMARY KEY, status TEXT NOT NULL, attempts INTEGER NOT NULL,"
        " session TEXT NOT NULL, cost REAL NOT NULL, updated REAL NOT NULL)"
    ),
    # Of what is still to be done: an item that has ended costs no further row, and is looked for by its number.
    "CREATE INDEX IF NOT EXISTS open_items ON items (status) WHERE status IN ('waiting', 'queued', 'running')",
    (
        "CREATE TABLE IF NOT EXISTS texts (number INTEGER NOT NULL, kind TEXT NOT NULL, part INTEGER NOT NULL,"
        " text TEXT NOT NULL, PRIMARY KEY (number, kind, part))"
    ),
)


class BatchTables:
    """The tables of one batch."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._created = bool(database.execute("SELECT 1 FROM sqlite_master WHERE name = 'facts'"))

    def empty(self) -> None:
        """Makes the tables, or empties them."""
        for statement in _SCHEMA:
            self._database.execute(statement)
        self._created = True
        for table in _TABLES:
            self._database.execute(f"DELETE FROM {table}")  # noqa: S608 - the names stand right above

    def forget(self) -> None:
        """To be called when the storage underneath was emptied."""
        self._created = False

    def execute(self, statement: str, *values: Cell) -> list[tuple[Cell, ...]]:
        """The rows of a statement; none where there are no tables."""
        return self._database.execute(statement, *values) if self._created else []

    def number(self, query: str, *values: Cell) -> float:
        """The first cell of the first row; 0 where there is none."""
        rows = self.execute(query, *values)
        return float(rows[0][0] or 0) if rows else 0.0

    def fact(self, name: str) -> str:
        rows = self.execute("SELECT value FROM facts WHERE name = ?", name)
        return str(rows[0][0]) if rows else ""

    def set_fact(self, name: str, value: str) -> None:
        self.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", name, value)

    def text(self, number: int, kind: str) -> str:
        rows = self.execute("SELECT text FROM texts WHERE number = ? AND kind = ? ORDER BY part", number, kind)
        return "".join(str(text) for (text,) in rows)

    def set_text(self, number: int, kind: str, text: str) -> None:
        self.execute("DELETE FROM texts WHERE number = ? AND kind = ?", number, kind)
        for number_of_part, start in enumerate(range(0, len(text), MAX_TEXT_CHARACTERS)):
            part = text[start : start + MAX_TEXT_CHARACTERS]
            self.execute("INSERT INTO texts VALUES (?, ?, ?, ?)", number, kind, number_of_part, part)

"""The `Database` port on a Durable Object's SQLite."""

from __future__ import annotations

from typing import Any

import js

from rlm_worker.journal import Cell


class DurableSQL:
    """The `Database` port on a Durable Object's SQLite."""

    def __init__(self, context: Any) -> None:
        # The SDK's wrapper would convert each cursor as a whole; the plain binding gives rows.
        self._sql = context.storage._binding.sql  # noqa: SLF001 - the SDK has no public way to it

    def execute(self, statement: str, *values: Cell) -> list[tuple[Cell, ...]]:
        if not statement.startswith("SELECT"):
            self._sql.exec(statement, *(_null() if value is None else value for value in values))
            return []
        cursor = self._sql.exec(statement, *(_null() if value is None else value for value in values))
        rows = cursor.raw().toArray().to_py()
        return [tuple(_cell(value) for value in row) for row in rows]


def _null() -> Any:
    """SQL's NULL; Python's None would arrive as undefined, which the binding refuses."""
    return js.JSON.parse("null")


def _cell(value: Any) -> Cell:
    return value if isinstance(value, str | int | float) else None

"""A Durable Object's storage: the ports for its SQLite, its alarm and emptying it."""

from __future__ import annotations

from typing import Any

from pyodide.ffi import jsnull  # type: ignore[attr-defined] # newer than the types

from rlm_worker.ports import Cell


class DurableSQL:
    """The `Database` port on a Durable Object's SQLite."""

    def __init__(self, context: Any) -> None:
        # The SDK's wrapper would convert each cursor as a whole; the plain binding gives rows.
        self._sql = context.storage._binding.sql  # noqa: SLF001 - the SDK has no public way to it
        self._exec: Any = None

    def execute(self, statement: str, *values: Cell) -> list[tuple[Cell, ...]]:
        if self._exec is None:
            self._exec = self._sql.exec  # looking a method up crosses into JavaScript each time
        cursor = self._exec(statement, *(jsnull if value is None else value for value in values))
        if not statement.startswith("SELECT"):
            return []
        return [tuple(_cell(value) for value in row) for row in cursor.raw().toArray().to_py()]


def _cell(value: Any) -> Cell:
    return value if isinstance(value, str | int | float) else None


class DurableAlarm:
    """The `Alarm` port; the platform wants milliseconds."""

    def __init__(self, context: Any) -> None:
        self._context = context

    async def set(self, at: float) -> None:
        await self._context.storage.setAlarm(int(at * 1000))


class DurableEraser:
    """Deletes a Durable Object's storage, alarm included."""

    def __init__(self, context: Any) -> None:
        self._context = context

    async def erase(self) -> None:
        await self._context.storage.deleteAlarm()
        await self._context.storage.deleteAll()

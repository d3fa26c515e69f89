"""SQL that a model wrote, on a copy of the rows, in Python's `sqlite3` in memory.

Confirmed in workerd 1.20261117.1 (Pyodide 314.0.6): `sqlite3` is linked into the interpreter, SQLite 3.39.0, with
authorizer, progress handler, `setlimit`, user-defined and window functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from .rows import Row, Value
from .schema import Schema

MAX_RESULT_ROWS, MAX_RESULT_BYTES = 10_000, 1_000_000
MAX_PICKED = 50_000
MAX_STEPS = 200_000_000
Cause = Literal["syntax", "unknown_name", "denied", "too_heavy", "too_large", "not_ids"]


class QueryError(Exception):
    """A statement that gave no result; the message says what the root model can mend, `statement` which of the two."""

    def __init__(self, cause: Cause, message: str, statement: Literal["pick", "compute"]) -> None:
        self.cause = cause
        self.statement = statement
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Query:
    """The two statements: `pick` gives the ids of the rows that count (pairs: two), `compute` works on `picked`."""

    pick: str
    compute: str


@dataclass(frozen=True, slots=True)
class QueryResult:
    """What a query gives: the ids of the picked rows (one or two each), and the rows that were computed.

    `truncated`: there are more computed rows than are held. `hints` say what an empty pick may have meant.
    """

    query: Query
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    picked: tuple[tuple[str, ...], ...]
    truncated: bool = False
    hints: tuple[str, ...] = field(default=())


class TableDatabase:
    """The rows as tables of SQL: columns as the schema has them, and `row_id` and `source_document`."""

    def __init__(self, schema: Schema, rows: Sequence[Row], *, max_steps: int = MAX_STEPS) -> None:
        raise NotImplementedError

    def run(self, query: Query) -> QueryResult:
        """Runs both statements; raises `QueryError`."""
        raise NotImplementedError

    def close(self) -> None:
        """Gives the memory back."""
        raise NotImplementedError


def table_definitions(schema: Schema) -> str:
    """The tables as CREATE statements with what each column means, for a model that writes SQL."""
    raise NotImplementedError


def parse_query(reply: str) -> Query:
    """The two statements of a model's reply, JSON or fenced SQL; raises `QueryError` (`syntax`)."""
    raise NotImplementedError

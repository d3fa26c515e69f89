"""What a session writes down about its tables: the rows in blocks, and every query before and after it runs.

A row of SQLite is billed when it is written, and holds a megabyte: so hundreds of a table's rows lie in one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from rlm_worker.ports import MAX_TEXT_CHARACTERS, Cell

from .facts import Facts

SCHEMA = (
    # Rows as lines of JSON, in their order.
    """CREATE TABLE IF NOT EXISTS row_blocks (
        number INTEGER PRIMARY KEY, first INTEGER NOT NULL, count INTEGER NOT NULL, lines TEXT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS queries (
        number INTEGER PRIMARY KEY, statements TEXT NOT NULL, starts INTEGER NOT NULL, outcome TEXT)""",
)
TABLES = ("row_blocks", "queries")
# The facts that hold what is read once and what is too long for a row.
_STATE, _LINES, _OUTCOME = "table ", "rows ", "query "
TEXTS = (_STATE, _LINES, _OUTCOME)
# What holds for one run only, also where the next one reads just what is missing.
COLLECTED, GIVEN_UP = "collected", "given_up"
_BEGUN = "begun"
# What readers are asked, where in the cache their replies lie, and what the next question about the text is told.
EXTRACTION, CACHE_KEY, KNOWN_KEY = "extraction", "cache", "known"


@dataclass(frozen=True, slots=True)
class QueryRecord:
    """A query as it is written down; `starts` counts how often it was begun, `outcome` is None until it has ended."""

    statements: str
    starts: int
    outcome: str | None


class RowTable:
    """The rows and queries of a session, in its SQLite."""

    def __init__(self, read: Callable[..., list[tuple[Cell, ...]]], write: Callable[..., None], facts: Facts) -> None:
        self._read = read
        self._write = write
        self._facts = facts

    def state(self, name: str) -> str | None:
        """A small value about the tables, by its name."""
        return self._facts.get(_STATE + name)

    def set_state(self, name: str, value: str) -> None:
        self._facts.set(_STATE + name, value)

    def begin(self, run: str) -> None:
        """A run begins under that name, or goes on: what another one has computed does not hold for it."""
        if self.state(_BEGUN) == run:
            return
        for name in (COLLECTED, GIVEN_UP):
            self._facts.forget(f"{_STATE}{name}.")
        self._write("DELETE FROM queries")
        self._facts.forget(_OUTCOME)
        self.set_state(_BEGUN, run)

    def replace(self, lines: Iterable[str]) -> int:
        """Writes all rows, each a line without its end, in the place of those that were there; gives their number."""
        self._write("DELETE FROM row_blocks")
        self._facts.forget(_LINES)
        number, first, held, size = 0, 0, list[str](), 0
        for line in lines:
            if held and size + len(line) + 1 > MAX_TEXT_CHARACTERS:
                self._write_block(number, first, held)
                number, first, held, size = number + 1, first + len(held), [], 0
            held.append(line)
            size += len(line) + 1
        if held:
            self._write_block(number, first, held)
        return first + len(held)

    def lines(self, numbers: Iterable[int] | None = None) -> Iterator[str]:
        """Rows by their numbers, counted from 0 and in rising order, or all; a block at a time is held."""
        wanted = iter(numbers) if numbers is not None else None
        next_number = next(wanted, None) if wanted is not None else None
        for block, first, count in self._read("SELECT number, first, count FROM row_blocks ORDER BY number"):
            begin, end = _int(first), _int(first) + _int(count)
            if wanted is None:
                yield from self._block(_int(block))
                continue
            lines: list[str] = []
            while next_number is not None and next_number < end:
                lines = lines or self._block(_int(block))
                yield lines[next_number - begin]
                next_number = next(wanted, None)

    def query(self, number: int) -> QueryRecord | None:
        rows = self._read("SELECT statements, starts, outcome FROM queries WHERE number = ?", number)
        if not rows:
            return None
        statements, starts, outcome = rows[0]
        kept = None if outcome is None else str(outcome) or self._facts.get(f"{_OUTCOME}{number}")
        return QueryRecord(str(statements), _int(starts), kept)

    def queries(self) -> list[QueryRecord]:
        """Every query that was begun, in order."""
        numbers = [_int(number) for (number,) in self._read("SELECT number FROM queries ORDER BY number")]
        return [record for number in numbers if (record := self.query(number)) is not None]

    def start_query(self, number: int, statements: str) -> None:
        """Notes, before it runs, that a query runs; another one under that number is forgotten."""
        self._write(
            "INSERT INTO queries VALUES (?, ?, 1, NULL) ON CONFLICT (number) DO UPDATE SET outcome = NULL,"
            " starts = CASE WHEN statements = excluded.statements THEN starts + 1 ELSE 1 END,"
            " statements = excluded.statements",
            *(number, statements),
        )

    def finish_query(self, number: int, outcome: str) -> None:
        kept = self._facts.fitting(f"{_OUTCOME}{number}", outcome)
        self._write("UPDATE queries SET outcome = ? WHERE number = ?", kept, number)

    def _write_block(self, number: int, first: int, lines: list[str]) -> None:
        text = self._facts.fitting(f"{_LINES}{number}", "\n".join(lines)) if len(lines) == 1 else "\n".join(lines)
        self._write("INSERT INTO row_blocks VALUES (?, ?, ?, ?)", number, first, len(lines), text)

    def _block(self, number: int) -> list[str]:
        ((lines,),) = self._read("SELECT lines FROM row_blocks WHERE number = ?", number)
        return (str(lines) or self._facts.get(f"{_LINES}{number}") or "").split("\n")


def _int(value: Cell) -> int:
    return int(value or 0)

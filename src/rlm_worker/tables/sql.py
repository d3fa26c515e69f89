# ruff: noqa: S608  names of tables and columns come quoted, and values are bound
"""SQL that a model wrote, on a copy of the rows, in Python's `sqlite3` in memory.

Confirmed in workerd 1.20261117.1 (Pyodide 314.0.6): `sqlite3` is linked into the interpreter, SQLite 3.39.0, with
authorizer, progress handler, `setlimit`, user-defined aggregates and windows, and a limit for its memory; about a
hundred million steps a second.

Numbers are REAL, each with at most 15 digits, so a double is exactly what was written and compares as such; `sum`,
`avg` and `total` add in decimal, and results are told with 15 digits: 0.1 + 0.2 is 0.3.
"""

from __future__ import annotations

import math
import re
import secrets
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Context, Decimal
from difflib import get_close_matches
from itertools import product, takewhile
from typing import Literal

from rlm_worker.errors import RLMError

from .reading import json_object
from .rows import Row, Value
from .schema import MAX_SQL, NUMERIC, PICKED, ROW_ID, SOURCE_DOCUMENT, Column, ColumnType, Schema, Table, name_key

MAX_RESULT_ROWS, MAX_RESULT_BYTES = 10_000, 1_000_000
# All pairs of 300 are 44,850; so many rows are kept of a run, too.
MAX_PICKED = 50_000
MAX_STEPS = 300_000_000
Cause = Literal["syntax", "unknown_name", "denied", "too_heavy", "too_large", "not_ids"]
Statement = Literal["pick", "compute"]
_SqlValue = str | int | float | None

_STEPS_BETWEEN = 100_000
_MAX_NESTING, _MAX_VALUE = 24, 64_000
# Steps that a call out of SQLite counts as, and the characters of text that count as one more.
_CALL_STEPS, _CHARACTERS_PER_STEP = 100, 8
# Of the whole interpreter's SQLite, and for good: once set, it can be lowered only.
_MAX_HEAP = 64_000_000
_LIMITS: Mapping[int, int] = {
    sqlite3.SQLITE_LIMIT_LENGTH: _MAX_VALUE,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: MAX_SQL,
    sqlite3.SQLITE_LIMIT_COLUMN: 100,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 20,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 25_000,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 20,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 200,
    sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER: 40,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 0,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
_AGGREGATES = "avg count group_concat max min string_agg sum total"
_WINDOWS = "cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank row_number"
_SCALARS = (
    "abs ceil ceiling coalesce concat concat_ws floor glob ifnull iif instr length like ln log10 lower ltrim nullif "
    "power replace round rtrim sign sqrt substr substring trim typeof upper"
)
_DATES = ("date", "datetime", "julianday", "strftime", "time")
_CLOCK = frozenset(("now", "localtime", "utc"))
FUNCTIONS = frozenset((*_AGGREGATES.split(), *_WINDOWS.split(), *_SCALARS.split(), *_DATES))
# What reads or makes long texts in one step, with the numbers of its arguments; LIKE and GLOB are functions, too.
_CHARGED: tuple[tuple[str, str, *tuple[int, ...]], ...] = (
    ("replace", "replace({})", 3),
    ("instr", "instr({})", 2),
    ("like", "like({})", 2, 3),
    ("glob", "glob({})", 2),
    *((name, f"{name}({{}})", 1, 2) for name in ("trim", "ltrim", "rtrim")),
    ("length", "length({})", 1),
)
_JOINING, _JOINING_WEIGHT = frozenset(("group_concat", "string_agg")), 10
_AFFINITIES: Mapping[ColumnType, str] = {
    **dict.fromkeys(("string", "date"), "TEXT"),
    "enum": "TEXT COLLATE NOCASE",
    **dict.fromkeys(("integer", "boolean"), "INTEGER"),
    **dict.fromkeys(("number", "decimal"), "REAL"),
}
_OWN = "_rlm_"
_EXACT = Context(prec=60)
_NAME = r'"(?:[^"]|"")*+"|`[^`]*+`|\[[^\]]*+\]|[^\W\d][\w$]*+'
_TOKEN = re.compile(rf"'(?:[^']|'')*+'|--[^\n]*+|/\*.*?(?:\*/|\Z)|{_NAME}|[\d.]\w*+|<>|[<>=!|]=?|\s++|.", re.DOTALL)
# Tables that SQLite has by itself, and ours.
_MODULES = ("sqlite_", "pragma_", "json_", "fts", "rtree", "geopoly", "dbstat", "bytecode", "tables_used", _OWN, PICKED)
_IS_NAME = re.compile(_NAME)
_COMPARED = re.compile(
    rf"(?<![\w$])({_NAME})\s*(?:=|==|\bIS\b|\bLIKE\b|\bIN\s*\()\s*((?:'(?:[^']|'')*'\s*,?\s*)+)", re.IGNORECASE
)
_LITERAL = re.compile(r"'((?:[^']|'')*)'")
_PARTIAL_DATE = re.compile(r"(\d{4})(?:-(\d{2}))?", re.ASCII)
_FENCED = re.compile(r"```[\w ]*\n(.*?)(?:```|\Z)", re.DOTALL)
_LABEL = r"^[^\w\n]*+(?:pick|compute)[^\w\n]*?[:=]"
_LABELLED = re.compile(rf"(?ims)^[^\w\n]*+(pick|compute)[^\w\n]*?[:=]\s*+(.+?)(?={_LABEL}|\Z)")
_MAX_HINTS, _MAX_DISTINCT = 4, 2_000


class QueryError(Exception):
    """A statement that gave no result; the message says what the root model can mend, `statement` which of the two."""

    def __init__(self, cause: Cause, message: str, statement: Statement = "pick") -> None:
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
    """The rows as tables of SQL: columns as the schema has them, and `row_id` and `source_document`.

    Held only while it is computed on, and never across an `await`: all databases share one limit of memory.
    `document_names` are told as `source_document`; without them it is the document's number.
    """

    def __init__(
        self,
        schema: Schema,
        rows: Iterable[Row],
        *,
        document_names: Sequence[str | None] = (),
        max_steps: int = MAX_STEPS,
    ) -> None:
        self._schema = schema
        self._max_steps = max_steps
        self._names = document_names
        self._ids: list[str] = []
        self._first_ids: list[int] = []
        self._db = sqlite3.connect(":memory:", isolation_level=None)
        self._guard = _Guard(self._db)
        # Names that no statement can guess: what stands behind the views is read through them only.
        own = f"{_OWN}{secrets.token_hex(8)}"
        self._picks = f"{own}_picked"
        self._tables = {table.name: f"{own}_rows_{number}" for number, table in enumerate(schema.tables)}
        self._fill(rows)

    def run(self, query: Query) -> QueryResult:
        """Runs both statements; raises `QueryError`."""
        with self._rows_shown() as views, self._asked(query.pick, "pick", views) as cursor:
            width, picked = self._numbers(cursor)
        self._keep(width, picked)
        try:
            self._show_picked(width, picked, query.compute)
            columns, rows, truncated = self._compute(query.compute)
        finally:
            self._db.execute(f"DROP VIEW IF EXISTS {PICKED}")
        ids = tuple(tuple(self._ids[number - 1] for number in numbers) for numbers in picked)
        return QueryResult(query, columns, rows, ids, truncated, () if picked else self._hints(query))

    def check(self, query: Query) -> None:
        """Judges both statements by compiling them: nothing of them is run. Raises `QueryError`."""
        with self._rows_shown() as views, self._asked(query.pick, "pick", views, compile_only=True) as cursor:
            width = next((int(step[3]) for step in cursor if step[1] == "ResultRow"), 0)
        if width not in {1, 2} or not self._guard.sources:
            raise QueryError("not_ids", f"pick must give one {ROW_ID} of a table, or two for pairs")
        try:
            self._show_picked(width, (), query.compute)
            with self._asked(query.compute, "compute", (PICKED,), compile_only=True):
                pass
        finally:
            self._db.execute(f"DROP VIEW IF EXISTS {PICKED}")

    def close(self) -> None:
        """Gives the memory back."""
        self._db.close()

    def __enter__(self) -> TableDatabase:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fill(self, rows: Iterable[Row]) -> None:
        for table in self._schema.tables:
            self._db.execute(f"CREATE TABLE {self._tables[table.name]} ({_columns(table)})")
        inserts = {table.name: self._insert(table) for table in self._schema.tables}
        columns = {table.name: [column.name for column in table.columns] for table in self._schema.tables}
        self._db.execute(f"CREATE TABLE {self._picks} (one INTEGER, other INTEGER)")
        self._db.execute("BEGIN")
        for number, row in enumerate(rows, 1):
            self._ids.append(row.id)
            values = [row.values.get(name) for name in columns[row.table]]
            self._db.execute(inserts[row.table], [number, self._document(row.document), *values])
        self._db.execute("COMMIT")

    def _insert(self, table: Table) -> str:
        places = ", ".join("?" * (len(table.columns) + 2))
        return f"INSERT INTO {self._tables[table.name]} VALUES ({places})"

    def _document(self, document: int) -> object:
        return (self._names[document] if document < len(self._names) else None) or document

    @contextmanager
    def _rows_shown(self) -> Iterator[Sequence[str]]:
        """The tables under their own names, for a pick to read."""
        views = [table.name for table in self._schema.tables]
        for table, name in self._own_tables():
            self._db.execute(f"CREATE VIEW {_quoted(table.name)} AS SELECT * FROM {name}")
        try:
            yield views
        finally:
            for name in views:
                self._db.execute(f"DROP VIEW {_quoted(name)}")

    def _numbers(self, cursor: sqlite3.Cursor) -> tuple[int, list[tuple[int, ...]]]:
        """How many rows are picked at a time, one or two, and their numbers."""
        names = [str(column[0]) for column in cursor.description or ()]
        if len(names) not in {1, 2}:
            raise QueryError("not_ids", f"pick must give one {ROW_ID}, or two for pairs; it gives {', '.join(names)}")
        found: dict[tuple[int, ...], None] = {}
        for row in cursor:
            if not all(isinstance(number, int) and 1 <= number <= len(self._ids) for number in row):
                raise QueryError("not_ids", f"pick must give {ROW_ID} and nothing else; it gives {row[0]!r:.80}")
            found[tuple(row)] = None
            if len(found) > MAX_PICKED:
                raise QueryError("too_large", f"pick gives more than {MAX_PICKED:,}; pick rows and pair in compute")
        return len(names), [*found]

    def _keep(self, width: int, picked: Sequence[tuple[int, ...]]) -> None:
        self._db.execute(f"DELETE FROM {self._picks}")
        self._db.execute("BEGIN")
        rows = ((numbers[0], numbers[1] if width == 2 else None) for numbers in picked)
        self._db.executemany(f"INSERT INTO {self._picks} VALUES (?, ?)", rows)
        self._db.execute("COMMIT")

    def _show_picked(self, width: int, picked: Sequence[tuple[int, ...]], compute: str) -> None:
        """Makes the view `picked`: of the tables whose rows these are, and where there are none, of those it is on."""
        if picked:
            self._create_picked([self._table_of({numbers[at] for numbers in picked}) for at in range(width)])
            return
        first, *others = self._tables_read(width)
        for tables in (first, *others) if others else ():
            self._create_picked(tables)
            if self._compiles(compute):
                return
            self._db.execute(f"DROP VIEW {PICKED}")
        self._create_picked(first)

    def _tables_read(self, width: int) -> list[tuple[Table, ...]]:
        """Of which tables the rows of the last pick can be, the likeliest first."""
        tables = {name_key(table.name): table for table in self._schema.tables}
        ids = [tables[name] for name in self._guard.ids[:width]]
        read = [tables[name] for name in self._guard.sources] or [*self._schema.tables]
        likeliest = [tuple(ids)] if len(ids) == width else []
        return [*dict.fromkeys([*likeliest, *product(read, repeat=width)])]

    def _compiles(self, compute: str) -> bool:
        with suppress(QueryError), self._asked(compute, "compute", (PICKED,), compile_only=True):
            return True
        return False

    def _create_picked(self, tables: Sequence[Table]) -> None:
        """The view `picked`; for pairs with the columns of both, as `a_…` and `b_…`."""
        sides = ("a_", "b_") if len(tables) == 2 else ("",)
        columns, joins = [], []
        for side, table, key in zip(sides, tables, ("one", "other"), strict=False):
            alias = f"{side or 'a_'}rows"
            columns += [f"{alias}.{_quoted(name)} AS {_quoted(side + name)}" for name in _names(table)]
            joins.append(f"JOIN {self._tables[table.name]} AS {alias} ON {alias}.{ROW_ID} = p.{key}")
        self._db.execute(
            f"CREATE VIEW {PICKED} AS SELECT {', '.join(columns)} FROM {self._picks} AS p {' '.join(joins)}"
        )

    def _table_of(self, numbers: set[int]) -> Table:
        """The one table of some rows; there is one row at least."""
        found = [table for table, name in self._own_tables() if self._holds(name, numbers)]
        if len(found) > 1:
            raise QueryError(
                "not_ids", f"pick must give rows of one table; these are of {' and '.join(_listed(found))}"
            )
        return found[0]

    def _holds(self, name: str, numbers: set[int]) -> bool:
        if len(self._tables) == 1:
            return bool(numbers)
        query = f"SELECT {ROW_ID} FROM {name}"
        return any(number in numbers for (number,) in self._db.execute(query))

    def _compute(self, statement: str) -> tuple[tuple[str, ...], tuple[tuple[Value, ...], ...], bool]:
        with self._asked(statement, "compute", (PICKED,)) as cursor:
            columns = tuple(str(column[0]) for column in cursor.description or ())
            rows: list[tuple[Value, ...]] = []
            size = 0
            for row in cursor:
                told = tuple(_told(value) for value in row)
                size += sum(len(value.encode()) if isinstance(value, str) else 8 for value in told)
                if len(rows) == MAX_RESULT_ROWS or size > MAX_RESULT_BYTES:
                    return columns, tuple(rows), True
                rows.append(told)
        return columns, tuple(rows), False

    @contextmanager
    def _asked(
        self, statement: str, which: Statement, readable: Iterable[str], *, compile_only: bool = False
    ) -> Iterator[sqlite3.Cursor]:
        """A statement being run under guard; what goes wrong with it, until its rows are read, is a `QueryError`.

        With `compile_only` the rows are the steps that it would take.
        """
        self._guard.forget()
        try:
            tokens = _checked(statement, self._schema)
            self._guard.begin(readable, _defined(tokens), self._max_steps, _weight(tokens))
            text = "".join(["EXPLAIN " if compile_only else "", *tokens])
            with closing(self._db.execute(text)) as cursor:
                yield cursor
        except QueryError as error:
            raise QueryError(error.cause, str(error), which) from None
        except (sqlite3.Error, sqlite3.Warning, MemoryError, OverflowError, ValueError) as error:
            self._guard.end()
            raise self._mended(error, which) from None
        finally:
            self._guard.end()

    def _own_tables(self) -> Iterator[tuple[Table, str]]:
        return ((table, self._tables[table.name]) for table in self._schema.tables)

    def _columns_told(self) -> str:
        return "; ".join(f"{table.name} has {', '.join(_names(table))}" for table in self._schema.tables)

    def _picked_told(self) -> str:
        columns = [str(row[1]) for row in self._db.execute(f"PRAGMA table_info({PICKED})")]
        return f"{PICKED} has {', '.join(columns)}"

    def _mended(self, error: Exception, statement: Statement) -> QueryError:
        """What the root model can do about what SQLite says."""
        told = self._guard.failure or str(error)
        names = self._columns_told() if statement == "pick" else self._picked_told()
        if self._guard.spent:
            advice = "group before you join, and join on equal values"
            return QueryError("too_heavy", f"stopped after {self._max_steps:,} steps: {advice}", statement)
        if self._guard.denied:
            return QueryError("denied", f"{self._guard.denied}; {names}", statement)
        if isinstance(error, MemoryError) or "too big" in told or "out of memory" in told:
            return QueryError("too_large", "takes too much memory: give fewer or shorter values", statement)
        if told.startswith(("no such", "ambiguous")):
            advice = "; text takes single quotes" if "column" in told else ""
            return QueryError("unknown_name", f"{told}; {names}{advice}", statement)
        advice = "; names that are words of SQL take double quotes" if "syntax error" in told else ""
        return QueryError("syntax", f"{told}{advice}", statement)

    def _hints(self, query: Query) -> tuple[str, ...]:
        """For each text that the pick compares a column with and that no row has: what comes near it."""
        hints: list[str] = []
        for name, literals in _COMPARED.findall(query.pick):
            for table, own in self._own_tables():
                column = table.column(_bare(name))
                if column is not None and column.type not in NUMERIC:
                    texts = [found.replace("''", "'") for found in _LITERAL.findall(literals)]
                    hints += [hint for text in texts if (hint := self._hint(table, own, column, text))]
        return tuple(dict.fromkeys(hints))[:_MAX_HINTS]

    def _hint(self, table: Table, own: str, column: Column, text: str) -> str:
        name = _quoted(column.name)
        values: Counter[str] = Counter()
        found = self._db.execute(f"SELECT {name}, count(*) FROM {own} GROUP BY 1 ORDER BY 2 DESC LIMIT {_MAX_DISTINCT}")
        for value, count in found:
            values["null" if value is None else str(value)] += count
        sought = text.strip("%").casefold()
        if not values or any(value.casefold() == sought for value in values):
            return ""
        folded = {value.casefold(): value for value in values}
        near = [value for key, value in folded.items() if sought and (sought in key or key in sought)]
        near = near or [folded[key] for key in get_close_matches(sought, folded, 5, 0.6)]
        told = "the nearest are" if near else "there are"
        listed = ", ".join(f"{value!r:.80} ({values[value]})" for value in (near or [*values])[:5])
        return f"no row has {table.name}.{column.name} = {text!r:.80}; {told} {listed}"


class _Guard:
    """What a statement of a model may do: read what it is given, with functions that are listed, for so many steps."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._readable: frozenset[str] = frozenset()
        self._defined: frozenset[str] = frozenset()
        self._left = 0
        self._weight = 1
        self.denied = ""
        self.spent = False
        self.failure = ""  # what SQLite says of a call that we make for a statement
        # Of the last statement: the tables that it read, and those whose ids it gives, in the order of its columns.
        self.sources: dict[str, None] = {}
        self.ids: list[str] = []
        db.execute(f"PRAGMA hard_heap_limit = {_MAX_HEAP}")
        db.execute("PRAGMA temp_store = MEMORY")
        for limit, most in _LIMITS.items():
            db.setlimit(limit, most)
        self._register()

    def begin(self, readable: Iterable[str], defined: frozenset[str], steps: int, weight: int = 1) -> None:
        """From now on what is run is a model's; `defined` are names of the statement itself."""
        self._weight = weight
        self._readable = frozenset(map(name_key, readable))
        self.sources, self.ids = {}, []
        self._defined = defined
        self._left = steps
        self._db.set_authorizer(self._authorize)
        self._db.set_progress_handler(self._step, _STEPS_BETWEEN)

    def forget(self) -> None:
        """What the last statement did is no fault of the next one."""
        self.denied, self.spent, self.failure = "", False, ""

    def _note(self, table: str, column: str, within: str) -> None:
        """SQLite asks for what a SELECT gives before it asks for its conditions."""
        self.sources[table] = None
        if column == ROW_ID and not within:
            self.ids.append(table)

    def end(self) -> None:
        """From now on what is run is our own."""
        self._db.set_authorizer(None)
        self._db.set_progress_handler(None, 0)

    def _step(self) -> bool:
        self._left -= _STEPS_BETWEEN * self._weight
        self.spent = self._left < 0
        return self.spent

    def _authorize(self, action: int, one: str | None, two: str | None, _: str | None, within: str | None) -> int:
        if action == sqlite3.SQLITE_SELECT:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_READ and self._may_read(one or "", two or "", within or ""):
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION and (two or "").lower() in FUNCTIONS:
            return sqlite3.SQLITE_OK
        self.denied = self.denied or _denial(action, one, two)
        return sqlite3.SQLITE_DENY

    def _may_read(self, table: str, column: str, within: str) -> bool:
        """Whether a statement may read a column of a table; `within` is the view that reads it, if one does."""
        key = name_key(table)
        if key.startswith(_OWN):
            # Where a view melts into the statement, SQLite asks once more, without a column and without the view.
            return not column or name_key(within) in self._readable
        if key in self._readable:
            self._note(key, column, within)
        # Of a name that the statement itself defines, SQLite asks only when none of its columns is used.
        return key in self._readable or (not column and key in self._defined)

    def _register(self) -> None:
        for name, aggregate in (("sum", _Sum), ("total", _Total), ("avg", _Average)):
            self._db.create_window_function(name, 1, aggregate)  # type: ignore[arg-type] # SQLite calls with any value
        for name, change in (("lower", str.lower), ("upper", str.upper)):
            self._db.create_function(name, 1, self._cased(change), deterministic=True)
        calendar = sqlite3.connect(":memory:")
        for limit, most in _LIMITS.items():
            calendar.setlimit(limit, most)
        for name, form, *counts in _CHARGED:
            for count in counts:
                self._db.create_function(name, count, self._charged(calendar, form, count), deterministic=True)
        for name in _DATES:
            self._db.create_function(name, -1, self._dated(calendar, name), deterministic=True)

    def _charge(self, arguments: Iterable[_SqlValue], times: int = 1) -> None:
        """Takes the work of a call from the steps: SQLite counts it as one, however long its texts are."""
        size = sum(len(value) for value in arguments if isinstance(value, str | bytes))
        self._left -= _CALL_STEPS + size * times // _CHARACTERS_PER_STEP
        if self._left < 0:
            self.spent = True
            raise ValueError("too many steps")

    def _charged(self, side: sqlite3.Connection, form: str, count: int) -> Callable[..., _SqlValue]:
        """SQLite's own function, whose work is paid for in steps; a search is as long as both of its texts together."""
        statement = f"SELECT {form.format(', '.join('?' * count))}"

        def charged(*arguments: _SqlValue) -> _SqlValue:
            shortest = min(len(str(argument)) for argument in arguments)
            self._charge(arguments, 1 + (shortest if count > 1 else 0) // _CHARACTERS_PER_STEP)
            try:
                told: _SqlValue = side.execute(statement, arguments).fetchone()[0]
            except (sqlite3.Error, MemoryError) as error:
                self.failure = str(error) or "out of memory"
                raise
            self._charge((told,))
            return told

        return charged

    def _cased(self, change: Callable[[str], str]) -> Callable[[_SqlValue], _SqlValue]:
        def cased(value: _SqlValue) -> _SqlValue:
            self._charge((value,))
            return change(value) if isinstance(value, str) else value

        return cased

    def _dated(self, calendar: sqlite3.Connection, name: str) -> Callable[..., _SqlValue]:
        """SQLite's function without the clock; a date of which only the year or month is known has no day."""

        def dated(*arguments: _SqlValue) -> _SqlValue:
            self._charge(arguments)
            at = 1 if name == "strftime" else 0
            words = {str(argument).strip().casefold() for argument in arguments}
            if len(arguments) <= at or words & _CLOCK:
                self.denied = _clockless(name)
                raise ValueError(self.denied)
            moment = arguments[at]
            if isinstance(moment, int) or moment is None:
                return None
            if isinstance(moment, str) and (partial := _PARTIAL_DATE.fullmatch(moment.strip())):
                return _of_partial(partial, str(arguments[0]) if at else "")
            places = ", ".join("?" * len(arguments))
            told: _SqlValue = calendar.execute(f"SELECT {name}({places})", arguments).fetchone()[0]
            return told

        return dated


class _Sum:
    """Adds integers and decimals exactly; null where there is nothing to add."""

    def __init__(self) -> None:
        self._whole, self._exact, self._count, self._fractions = 0, Decimal(), 0, 0

    def step(self, value: object) -> None:
        self._add(value, 1)

    def inverse(self, value: object) -> None:
        self._add(value, -1)

    def _add(self, value: object, sign: int) -> None:
        if isinstance(value, int):
            self._whole += sign * value
        elif isinstance(value, float) and math.isfinite(value):
            self._exact = _EXACT.add(self._exact, Decimal(repr(value)) * sign)
            self._fractions += sign
        else:
            return
        self._count += sign

    def _sum(self) -> Decimal:
        return _EXACT.add(self._exact, Decimal(self._whole))

    def value(self) -> object:
        if not self._count:
            return None
        return float(self._sum()) if self._fractions else self._whole

    def finalize(self) -> object:
        return self.value()


class _Total(_Sum):
    def value(self) -> object:
        return float(self._sum())


class _Average(_Sum):
    def value(self) -> object:
        return float(_EXACT.divide(self._sum(), Decimal(self._count))) if self._count else None


def table_definitions(schema: Schema) -> str:
    """The tables as CREATE statements with what each column means, for a model that writes SQL."""
    return "\n\n".join(map(_definition, schema.tables))


def _definition(table: Table) -> str:
    lines = [f"  {ROW_ID} INTEGER PRIMARY KEY", f"  {SOURCE_DOCUMENT} TEXT -- the document that the row stands in"]
    for column in table.columns:
        notes = [column.description, f"in {column.unit}" if column.unit else ""]
        notes += ["one of " + ", ".join(f"'{label}'" for label in column.enum)] if column.enum else []
        notes += ["1 or 0"] if column.type == "boolean" else []
        notes += ["'YYYY', 'YYYY-MM' or 'YYYY-MM-DD', as far as it is known"] if column.type == "date" else []
        note = "; ".join(" ".join(note.split()) for note in notes if note)
        affinity = _AFFINITIES[column.type].split(maxsplit=1)[0]
        lines.append(f"  {_quoted(column.name)} {affinity}" + (f" -- {note}" if note else ""))
    head = f"-- {' '.join(table.description.split())}\n" if table.description else ""
    return f"{head}CREATE TABLE {_quoted(table.name)} (\n" + "\n".join(lines) + "\n)"


def parse_query(reply: str) -> Query:
    """The two statements of a model's reply, JSON or labelled or fenced SQL; raises `QueryError` (`syntax`)."""
    try:
        told = json_object(reply)
    except RLMError:
        told = {}
    pick, compute = told.get("pick"), told.get("compute")
    if isinstance(pick, str) and isinstance(compute, str) and pick.strip() and compute.strip():
        return Query(pick.strip(), compute.strip())
    blocks = [block.strip() for block in _FENCED.findall(reply) if block.strip()]
    if len(blocks) == 2:
        return Query(*blocks)
    labelled = {name.lower(): text.strip().strip("`").strip() for name, text in _LABELLED.findall(reply)}
    if labelled.keys() >= {"pick", "compute"}:
        return Query(labelled["pick"], labelled["compute"])
    raise QueryError("syntax", 'the reply must be one JSON object with "pick" and "compute", each one SELECT')


def _checked(statement: str, schema: Schema) -> list[str]:
    """The tokens of one SELECT without its comments and its last semicolon; raises `QueryError` for anything else."""
    if len(statement) > MAX_SQL:
        raise QueryError("too_large", f"a statement of more than {MAX_SQL:,} characters")
    try:
        statement.encode()
    except UnicodeEncodeError:
        raise QueryError("syntax", "the statement is no text") from None
    tokens = [token for token in _TOKEN.findall(statement) if not token.startswith(("--", "/*"))]
    while tokens and (tokens[-1].isspace() or tokens[-1] == ";"):
        tokens.pop()
    if ";" in tokens:
        raise QueryError("denied", "give one statement, not several")
    words = [token for token in tokens if not token.isspace()]
    if not words or words[0].upper() not in {"SELECT", "WITH"}:
        raise QueryError("denied", "the statement must be a SELECT")
    if _depth(words) > _MAX_NESTING:
        raise QueryError("too_large", f"brackets nested more than {_MAX_NESTING} deep")
    _check_names(words, schema)
    _check_clock(words)
    return [token if not token.isspace() else " " for token in tokens]


def _weight(tokens: Sequence[str]) -> int:
    """What a step counts as: where texts are joined, which SQLite does by itself, one step may make a long text."""
    words = {token.lower() for token in tokens}
    joined = "||" in "".join(tokens) or words & {"concat", "concat_ws"} or (words & _JOINING and "over" in words)
    return _JOINING_WEIGHT if joined else 1


def _depth(words: Iterable[str]) -> int:
    depth = deepest = 0
    for word in words:
        depth += (word == "(") - (word == ")")
        deepest = max(deepest, depth)
    return deepest


def _check_names(words: Sequence[str], schema: Schema) -> None:
    """SQLite takes a name in double quotes that it does not know for a text: a slip would compare with itself."""
    known = {ROW_ID, SOURCE_DOCUMENT, PICKED, *_defined(words)}
    for table in schema.tables:
        known |= {name_key(table.name), *(name_key(name) for name in _names(table))}
    known |= {side + name for side in ("a_", "b_") for name in known}
    for word in words:
        if word[0] == '"' and name_key(_bare(word)) not in known:
            raise QueryError("unknown_name", f"no such column: {word:.80}; text takes single quotes, names take double")
        # SQLite takes a text for a name where only a name can stand.
        if name_key(_bare(word)).startswith(_OWN):
            raise QueryError("denied", f"no name may begin with {_OWN}")


def _check_clock(words: Sequence[str]) -> None:
    """Refuses unrun what plainly asks for the clock; words that are put together are met when they are run."""
    for name, bracket, at in zip(words, words[1:], range(2, len(words)), strict=False):
        if name.lower() in _DATES and bracket == "(":
            inside = [*takewhile(lambda word: word != ")", words[at:])]
            if not inside or any(word[0] == "'" and word[1:-1].strip().casefold() in _CLOCK for word in inside):
                raise QueryError("denied", _clockless(name))


def _clockless(name: str) -> str:
    return f"{name} may not ask for the time of day it is"


def _defined(tokens: Iterable[str]) -> frozenset[str]:
    """The names that a statement gives itself: beside AS, before brackets, and behind what they rename."""
    words = [token for token in tokens if not token.isspace()]
    found: set[str] = set()
    for before, word, behind in zip(["", *words], words, [*words[1:], ""], strict=False):
        if _IS_NAME.fullmatch(word) and (
            "AS" in {before.upper(), behind.upper()} or behind == "(" or before == ")" or _IS_NAME.fullmatch(before)
        ):
            found.add(name_key(_bare(word)))
    return frozenset(name for name in found if not name.startswith(_MODULES))


def _denial(action: int, one: str | None, two: str | None) -> str:
    if action == sqlite3.SQLITE_FUNCTION:
        return f"the function {two} may not be used"
    if action == sqlite3.SQLITE_READ:
        return f"{one} may not be read"
    if action == sqlite3.SQLITE_RECURSIVE:
        return "recursion may not be used"
    return "only SELECT may be used"


def _of_partial(partial: re.Match[str], form: str) -> str | None:
    """What `strftime` gives of a date without a day."""
    if form == "%Y":
        return partial[1]
    if form == "%m":
        return partial[2]
    return f"{partial[1]}-{partial[2]}" if form == "%Y-%m" and partial[2] else None


def _told(value: object) -> Value:
    """A value of a result as the wire has it."""
    if isinstance(value, float):
        return _with_digits(value) if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str | int) else None


def _with_digits(value: float) -> Value:
    """A number with 15 digits; a whole one without a decimal point."""
    rounded = float(f"{value:.15g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded


def _columns(table: Table) -> str:
    own = [f"{ROW_ID} INTEGER PRIMARY KEY", f"{SOURCE_DOCUMENT}"]
    return ", ".join([*own, *(f"{_quoted(column.name)} {_AFFINITIES[column.type]}" for column in table.columns)])


def _names(table: Table) -> list[str]:
    return [ROW_ID, SOURCE_DOCUMENT, *(column.name for column in table.columns)]


def _listed(tables: Iterable[Table]) -> list[str]:
    return [table.name for table in tables]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _bare(name: str) -> str:
    """A name without the quotation marks around it: any of those that SQLite takes."""
    if name[:1] in {'"', "`", "'"} and len(name) > 1:
        return name[1:-1].replace(name[0] * 2, name[0])
    return name[1:-1] if name[:1] == "[" and len(name) > 1 else name

"""What a session writes down, in SQLite: its state, every paid attempt, the chunks as they were cut, its events."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from rlm_worker.messages import CallUsage, Message, Role, Span
from rlm_worker.ports import (
    MAX_TEXT_CHARACTERS,
    CallRecord,
    Cell,
    Database,
    EventKind,
    FailedAttempt,
    PartsQuestion,
    Payment,
    SandboxPayment,
)

from . import cells as repl_journal
from . import facts as fact_journal
from . import tables as table_journal

# Each index is one more row that is written and billed, for every row of its table: what tells calls and events apart
# is held in memory instead, and read once in a life. Tables of earlier versions keep their indexes.
_SCHEMA = (
    *fact_journal.SCHEMA,
    """CREATE TABLE IF NOT EXISTS calls (
        number INTEGER PRIMARY KEY, key TEXT NOT NULL, role TEXT NOT NULL, kind TEXT NOT NULL,
        model TEXT NOT NULL, messages TEXT, text TEXT NOT NULL, input_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL, estimated INTEGER NOT NULL, cost_usd REAL NOT NULL, started_at REAL NOT NULL,
        duration_ms INTEGER NOT NULL, span TEXT, parent TEXT NOT NULL, finish_reason TEXT NOT NULL DEFAULT '',
        at_most_usd REAL NOT NULL DEFAULT 0, cached_tokens INTEGER NOT NULL DEFAULT 0,
        reasoning_tokens INTEGER NOT NULL DEFAULT 0)""",
    """CREATE TABLE IF NOT EXISTS spans (
        number INTEGER PRIMARY KEY, start INTEGER, stop INTEGER, byte_start INTEGER, byte_stop INTEGER,
        overlap_bytes INTEGER NOT NULL DEFAULT 0)""",
    """CREATE TABLE IF NOT EXISTS events (
        id INTEGER PRIMARY KEY, kind TEXT NOT NULL, data TEXT NOT NULL, identity TEXT)""",
    # Attempts that were billed and brought no answer; `call` is the key that the answer, if one came, has in `calls`.
    """CREATE TABLE IF NOT EXISTS attempts (
        number INTEGER PRIMARY KEY, call TEXT NOT NULL, role TEXT NOT NULL, model TEXT NOT NULL,
        input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, estimated INTEGER NOT NULL,
        cost_usd REAL NOT NULL, at_most_usd REAL NOT NULL, reason TEXT NOT NULL,
        cached_tokens INTEGER NOT NULL DEFAULT 0, reasoning_tokens INTEGER NOT NULL DEFAULT 0)""",
    *repl_journal.SCHEMA,
)
_TOKEN_DETAILS = ("cached_tokens", "reasoning_tokens")
# What earlier versions' tables lack: a session that they wrote goes on.
_ADDED_COLUMNS = (
    ("calls", "finish_reason", "TEXT NOT NULL DEFAULT ''"),
    ("calls", "at_most_usd", "REAL NOT NULL DEFAULT 0"),
    ("spans", "overlap_bytes", "INTEGER NOT NULL DEFAULT 0"),
    *((table, column, "INTEGER NOT NULL DEFAULT 0") for table in ("calls", "attempts") for column in _TOKEN_DETAILS),
)
_CALL_COLUMNS = (
    "key, role, kind, model, messages, text, input_tokens, output_tokens, estimated, cost_usd, started_at, "
    "duration_ms, span, parent, finish_reason, at_most_usd, cached_tokens, reasoning_tokens"
)
_USAGE_COLUMNS = "input_tokens, output_tokens, estimated, cached_tokens, reasoning_tokens, cost_usd"
_ATTEMPT_COLUMNS = f"call, role, model, {_USAGE_COLUMNS}, at_most_usd, reason"
# The facts that hold texts too long for a row: of calls by their key, of events by their id.
_PROMPTS, _REPLIES, _EVENTS = "prompt ", "reply ", "event "
# What a run has learned once and goes on with.
_RANKING, _TASK, _QUESTION = "ranking", "task", "question"
# Of earlier runs, the newest first: for each one notes are looked for when the session is deleted.
_EARLIER_QUESTIONS, _MAX_EARLIER_QUESTIONS = "earlier questions", 10


class SessionJournal:
    """The journal, the facts and the event log of one session."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._facts = fact_journal.Facts(self._read, self._write)
        self._watchers: set[Callable[[], None]] = set()
        # The numbers of calls by their keys, and what each event was about: see the schema.
        self._numbers: dict[str, int] | None = None
        self._identities: set[str] | None = None
        self._generation = 0
        tables = {str(name): str(sql) for name, sql in database.execute("SELECT name, sql FROM sqlite_master")}
        self._created = "facts" in tables
        self._has_rows = set(table_journal.TABLES) <= tables.keys()
        if self._created and any(column not in tables.get(table, "") for table, column, _ in _ADDED_COLUMNS):
            self._extend(tables)
        elif self._created and "sandboxes" not in tables:
            self._create()

    # Facts: small named values, such as the job and the result.

    def fact(self, name: str) -> str | None:
        return self._facts.get(name)

    def set_fact(self, name: str, value: str) -> None:
        self._facts.set(name, value)

    # Calls: the `Journal` port.

    def recall(self, key: str) -> CallRecord | None:
        # Nearly every call of a run is new: what is not there should not cost a query.
        number = self._known_numbers().get(key)
        if number is None:
            return None
        rows = self._read(f"SELECT {_CALL_COLUMNS} FROM calls WHERE number = ?", number)  # noqa: S608 - a constant
        return self._call(rows[0]) if rows else None

    def answered(self) -> Iterable[str]:
        return self._known_numbers().keys()

    def record(self, call: CallRecord) -> None:
        numbers = self._known_numbers()
        if call.key in numbers:
            return
        messages = _prompt(call)
        if messages is not None:
            messages = self._facts.fitting(f"{_PROMPTS}{call.key}", messages) or None
        text = self._facts.fitting(f"{_REPLIES}{call.key}", call.text)
        number = max(numbers.values(), default=0) + 1
        places = ", ".join("?" * (_CALL_COLUMNS.count(",") + 2))
        row = _call_row(call, messages, text)
        self._write(f"INSERT INTO calls (number, {_CALL_COLUMNS}) VALUES ({places})", number, *row)  # noqa: S608
        numbers[call.key] = number

    def _known_numbers(self) -> dict[str, int]:
        if self._numbers is None:
            self._numbers = {str(key): _int(number) for key, number in self._read("SELECT key, number FROM calls")}
        return self._numbers

    def book(self, attempt: FailedAttempt) -> None:
        usage = attempt.usage
        self._write(
            f"INSERT INTO attempts ({_ATTEMPT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - a constant
            *(attempt.call, attempt.role, attempt.model, usage.input_tokens, usage.output_tokens),
            *(int(usage.estimated), usage.cached_tokens, usage.reasoning_tokens),
            *(attempt.cost_usd, attempt.at_most_usd, attempt.reason),
        )

    def failed_attempts(self) -> list[FailedAttempt]:
        """Every attempt that was billed, or passed on to another model, and brought no answer; in their order."""
        rows = self._read(f"SELECT {_ATTEMPT_COLUMNS} FROM attempts ORDER BY number")  # noqa: S608 - a constant
        found: list[FailedAttempt] = []
        for call, role, model, tokens_in, tokens_out, estimated, cached, reasoning, cost, at_most, reason in rows:
            usage = _usage(tokens_in, tokens_out, estimated, cached, reasoning, cost)
            paid = (float(cost or 0), float(at_most or 0))
            found.append(FailedAttempt(str(call), _role(role), str(model), usage, *paid, str(reason)))
        return found

    def payments(self) -> Iterable[Payment]:
        """Every attempt that was billed, answered or not."""
        columns = f"role, model, at_most_usd, {_USAGE_COLUMNS}"
        rows = self._read(f"SELECT key, {columns} FROM calls")  # noqa: S608 - a constant
        billed = "input_tokens > 0 OR output_tokens > 0"  # others were refused, and another model has answered
        rows += self._read(f"SELECT call, {columns} FROM attempts WHERE {billed}")  # noqa: S608 - constants
        for row in rows:
            call, role, model, at_most, *used = row
            yield Payment(str(call), _role(role), str(model), _usage(*used), float(at_most or 0))

    def paid(self) -> Iterable[tuple[Role, str, CallUsage]]:
        """Role, model and usage of each call that was paid; of one that came to nothing, those of its last attempt."""
        by_call = {paid.call: (paid.role, paid.model, paid.usage) for paid in self.payments()}
        return by_call.values()

    def paid_usd(self) -> float:
        """What all attempts and sandboxes have cost together, in US dollars."""
        rows = self._read("SELECT (SELECT TOTAL(cost_usd) FROM calls) + (SELECT TOTAL(cost_usd) FROM attempts)")
        return (float(rows[0][0] or 0) if rows else 0.0) + sum(paid.cost_usd for paid in self.sandboxes())

    def sandboxes(self) -> list[SandboxPayment]:
        """Each day of each sandbox that was paid, in their order."""
        rows = self._read("SELECT path, opened_at, cost_usd FROM sandboxes ORDER BY opened_at, path, name")
        return [SandboxPayment(str(path), float(at or 0), float(cost or 0)) for path, at, cost in rows]

    def cut_off_usd(self) -> float:
        """What the first version has noted of calls that were given up under way, in US dollars."""
        return float(self.fact("cut_off_usd") or 0)

    def calls(self) -> Iterator[CallRecord]:
        """Every call, in the order in which they were finished; one at a time is held, whatever is added meanwhile."""
        after = 0
        query = f"SELECT number, {_CALL_COLUMNS} FROM calls WHERE number > ? ORDER BY number LIMIT 1"  # noqa: S608
        while rows := self._read(query, after):
            number, *row = rows[0]
            after = _int(number)
            yield self._call(tuple(row))

    def _call(self, row: tuple[Cell, ...]) -> CallRecord:
        """A call as it was recorded; a long prompt and a long reply lie elsewhere, the prompt of a chunk nowhere."""
        call = _call(row)
        if not call.text and (text := self.fact(f"{_REPLIES}{call.key}")):
            call = replace(call, text=text)
        if call.messages or call.span is not None:
            return call
        return replace(call, messages=_messages(self.fact(f"{_PROMPTS}{call.key}")))

    def spans(self) -> list[Span]:
        rows = self._read("SELECT number, start, stop, byte_start, byte_stop, overlap_bytes FROM spans ORDER BY number")
        return [Span(*(_int(value) for value in row)) for row in rows]

    def add_span(self, span: Span) -> None:
        self._write(
            "INSERT OR REPLACE INTO spans (number, start, stop, byte_start, byte_stop, overlap_bytes)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            *_span_row(span),
        )

    def forget_spans(self) -> None:
        """The context is to be cut anew."""
        self._write("DELETE FROM spans")

    def ranking(self) -> str:
        return self.fact(_RANKING) or ""

    def keep_ranking(self, ranking: str) -> None:
        self.set_fact(_RANKING, ranking)

    def task(self) -> str:
        return self.fact(_TASK) or ""

    def keep_task(self, task: str) -> None:
        self.set_fact(_TASK, task)

    def question(self) -> PartsQuestion | None:
        known = self.fact(_QUESTION)
        return PartsQuestion(*json.loads(known)) if known else None

    def keep_question(self, question: PartsQuestion) -> None:
        self.set_fact(_QUESTION, json.dumps([question.text, question.warning]))

    def earlier_questions(self) -> list[str]:
        """What runs that were forgotten have asked of parts, for which notes may be cached still; the newest first."""
        return [str(text) for text in json.loads(self.fact(_EARLIER_QUESTIONS) or "[]")]

    def cells(self, now: Callable[[], float]) -> repl_journal.CellTable:
        """The cells of the session's REPLs."""
        return repl_journal.CellTable(self._read, self._write, self._facts, now)

    def rows(self) -> table_journal.RowTable:
        """The rows and queries of the session's tables."""
        return table_journal.RowTable(self._read_rows, self._write_rows, self._facts)

    # Events: the `EventSink` port, and reading them back.

    def emit(self, kind: EventKind, data: Mapping[str, object]) -> None:
        """Appends an event; what a resumed run says again about the same thing is not repeated."""
        if self._is_new(kind, data):
            self._append(kind, data)
        self._wake()

    def events_after(self, number: int) -> Iterator[tuple[int, str, str]]:
        """Events with a greater id: id, kind, JSON; one at a time is held, whatever is added meanwhile."""
        while rows := self._read("SELECT id, kind, data FROM events WHERE id > ? ORDER BY id LIMIT 1", number):
            number, kind, data = _int(rows[0][0]), str(rows[0][1]), str(rows[0][2])
            yield number, kind, data or self.fact(f"{_EVENTS}{number}") or "{}"

    def last_event(self, kind: EventKind) -> dict[str, object]:
        """What the newest event of a kind says; empty where there is none."""
        rows = self._read("SELECT id, data FROM events WHERE kind = ? ORDER BY id DESC LIMIT 1", kind)
        return dict(json.loads(str(rows[0][1]) or self.fact(f"{_EVENTS}{rows[0][0]}") or "{}")) if rows else {}

    def chunk_statuses(self) -> dict[int, str]:
        """How the run's own reading of each chunk went, by the chunk's number."""
        rows = self._read("SELECT data FROM events WHERE kind = 'subcall' ORDER BY id")
        said = (json.loads(str(data)) for (data,) in rows if data)
        return {_int(one.get("chunk")): str(one.get("status")) for one in said if not one.get("parent")}

    def begin_events(self, kind: EventKind, data: Mapping[str, object]) -> None:
        """Begins a new run's events: those of the last one go, and numbers count on, so that none is met twice."""
        number = self._newest_event() + 1
        self._write("DELETE FROM events")
        self._facts.forget(_EVENTS)
        self._identities = None
        self._generation += 1
        if self._is_new(kind, data):
            self._append(kind, data, number)
        self._wake()

    @property
    def generation(self) -> int:
        """Changes when the events of a run go: what has a greater id then is another run's."""
        return self._generation

    def _is_new(self, kind: EventKind, data: Mapping[str, object]) -> bool:
        """Whether nothing was said about the same thing before; notes that it is now."""
        if self._identities is None:
            rows = self._read("SELECT identity FROM events WHERE identity IS NOT NULL")
            self._identities = {str(identity) for (identity,) in rows}
        identity = _identity(kind, data)
        if identity is None or identity not in self._identities:
            self._identities |= set() if identity is None else {identity}
            return True
        return False

    def _append(self, kind: EventKind, data: Mapping[str, object], number: int | None = None) -> None:
        text = json.dumps(data, ensure_ascii=False)
        if len(text) > MAX_TEXT_CHARACTERS:
            number = number or self._newest_event() + 1
            text = self._facts.fitting(f"{_EVENTS}{number}", text)
        values = (number, kind, text, _identity(kind, data))
        self._write("INSERT INTO events (id, kind, data, identity) VALUES (?, ?, ?, ?)", *values)

    def _newest_event(self) -> int:
        rows = self._read("SELECT MAX(id) FROM events")
        return _int(rows[0][0]) if rows else 0

    def _wake(self) -> None:
        for wake in tuple(self._watchers):
            wake()

    @contextmanager
    def watching(self, wake: Callable[[], None]) -> Iterator[None]:
        """Calls `wake` after each event."""
        self._watchers.add(wake)
        try:
            yield
        finally:
            self._watchers.discard(wake)

    def progress(self) -> int:
        """A number that grows with every call that was paid and every cell that was begun or has ended."""
        begun = "(SELECT TOTAL(starts) FROM cells)"
        begun += " + (SELECT TOTAL(starts) FROM queries)" if self._has_rows else ""
        rows = self._read(f"SELECT (SELECT COUNT(*) FROM calls), {begun}")  # noqa: S608 - a constant
        return sum(_int(count) for count in rows[0]) if rows else 0

    def forget_run(self) -> None:
        """Empties everything but facts and events, for a run from the beginning."""
        if (question := self.question()) is not None:
            texts = dict.fromkeys([question.text, *self.earlier_questions()])
            self.set_fact(_EARLIER_QUESTIONS, json.dumps([*texts][:_MAX_EARLIER_QUESTIONS]))
        rows = table_journal.TABLES if self._has_rows else ()
        for table in ("calls", "attempts", "spans", *repl_journal.TABLES, *rows):
            self._write(f"DELETE FROM {table}")  # noqa: S608 - the names stand right above
        learned = (f"{_RANKING}.", f"{_TASK}.", f"{_QUESTION}.")
        for names in (_PROMPTS, _REPLIES, *learned, *repl_journal.TEXTS, *table_journal.TEXTS):
            self._facts.forget(names)
        self._numbers = None

    def forget_all(self) -> None:
        """To be called when the storage underneath was emptied."""
        self._created, self._numbers, self._identities = False, None, None
        self._has_rows = False
        self._generation += 1

    # A session that is only asked about leaves nothing behind: the tables come with the first thing to keep.

    def _read(self, statement: str, *values: Cell) -> list[tuple[Cell, ...]]:
        return self._database.execute(statement, *values) if self._created else []

    # Those of a table come with its first row: each is a row that is billed, and few runs have any.

    def _read_rows(self, statement: str, *values: Cell) -> list[tuple[Cell, ...]]:
        return self._read(statement, *values) if self._has_rows else []

    def _write_rows(self, statement: str, *values: Cell) -> None:
        if not self._has_rows:
            for creation in table_journal.SCHEMA:
                self._write(creation)
            self._has_rows = True
        self._write(statement, *values)

    def _write(self, statement: str, *values: Cell) -> None:
        if not self._created:
            self._create()
        self._database.execute(statement, *values)

    def _extend(self, tables: Mapping[str, str]) -> None:
        """Adds to an earlier version's tables what they lack."""
        for table, column, kind in _ADDED_COLUMNS:
            if table in tables and column not in tables[table]:
                self._database.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
        self._create()

    def _create(self) -> None:
        for creation in _SCHEMA:
            self._database.execute(creation)
        self._created = True


def _prompt(call: CallRecord) -> str | None:
    """The prompt as JSON; None for a chunk's, which can be built again from its span: nothing is kept twice."""
    return None if call.span else json.dumps([[message.role, message.content] for message in call.messages])


def _messages(prompt: str | None) -> tuple[Message, ...]:
    return tuple(Message(*pair) for pair in json.loads(prompt)) if prompt else ()


def _call_row(call: CallRecord, messages: str | None, text: str) -> tuple[Cell, ...]:
    span = None
    if call.span is not None:
        row = _span_row(call.span)
        span = json.dumps(row if call.span.overlap_bytes else row[:-1])  # as the first version has it
    usage = call.usage
    return (
        *(call.key, call.role, call.kind, call.model, messages, text),
        *(usage.input_tokens, usage.output_tokens, int(usage.estimated), call.cost_usd),
        *(call.started_at, call.duration_ms, span, call.parent, call.finish_reason, call.at_most_usd),
        *(usage.cached_tokens, usage.reasoning_tokens),
    )


def _call(row: tuple[Cell, ...]) -> CallRecord:
    key, role, kind, model, messages, text, tokens_in, tokens_out, estimated, cost, *more = row
    started, duration, span, parent, finish_reason, at_most, cached, reasoning = more
    return CallRecord(
        key=str(key),
        role=_role(role),
        kind=str(kind),  # type: ignore[arg-type] # written by _call_row
        model=str(model),
        messages=_messages(str(messages) if messages else None),
        text=str(text),
        usage=_usage(tokens_in, tokens_out, estimated, cached, reasoning, cost),
        cost_usd=float(cost or 0),
        started_at=float(started or 0),
        duration_ms=_int(duration),
        span=Span(*json.loads(str(span))) if span else None,
        parent=str(parent),
        finish_reason=str(finish_reason),
        at_most_usd=float(at_most or 0),
    )


def _usage(*columns: Cell) -> CallUsage:
    """As it was booked: a price that has changed since does not change what was paid. Columns as `_USAGE_COLUMNS`."""
    tokens_in, tokens_out, estimated, cached, reasoning, cost = columns
    return CallUsage(
        _int(tokens_in),
        _int(tokens_out),
        bool(estimated),
        cached_tokens=_int(cached),
        reasoning_tokens=_int(reasoning),
        billed_usd=float(cost or 0),
    )


def _span_row(span: Span) -> tuple[int, ...]:
    return (span.index, span.start, span.end, span.byte_start, span.byte_end, span.overlap_bytes)


def _identity(kind: EventKind, data: Mapping[str, object]) -> str | None:
    if kind == "subcall":
        return f"subcall {data.get('chunk')} {data.get('parent', '')}"
    if kind == "iteration":
        return f"iteration {data.get('iteration')} {data.get('parent', '')}"
    if kind in ("rows", "query"):
        return f"{kind} {data.get('reading', data.get('attempt'))}"
    return f"{kind} {data.get('parent', '')}" if kind in ("session", "judge", "plan", "schema", "result") else None


def _role(value: Cell) -> Role:
    return "root" if value == "root" else "judge" if value == "judge" else "sub"


def _int(value: Cell) -> int:
    return int(value or 0)

"""What a session writes down: as few rows as can be, nothing that a row cannot hold, and one run's events at a time."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

from rlm_worker.journal.cells import CellOutcome
from rlm_worker.journal.session import SessionJournal
from rlm_worker.messages import CallUsage, Message, ModelReply, ModelRequest, Span
from rlm_worker.ports import CallRecord, Cell
from rlm_worker.runs.answer import AnswerEvents
from rlm_worker.runs.run import start_run
from rlm_worker.testing import FunctionModel, MemoryEvents, SqliteDatabase, memory_ports
from rlm_worker.text.context import InlineReader, gather_documents
from tests.unit.test_session import RowLimit, Storage, a_job, answering, open_session

LONG = "\U0001f600 long " * 300_000


def a_call(key: str = "k", text: str = "an answer") -> CallRecord:
    usage = CallUsage(10, 2)
    return CallRecord(key, "sub", "map", "a-model", (), text, usage, 0.5, 1.0, 5, span=Span(0, 0, 9, 0, 9))


class Counting(SqliteDatabase):
    """Counts rows as a Durable Object bills them: those of tables, and one more for each index of theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0

    def execute(self, statement: str, *values: Cell) -> list[tuple[Cell, ...]]:
        before = self.connection.total_changes
        found = super().execute(statement, *values)
        words = statement.split()
        if (changed := self.connection.total_changes - before) and words[0] in ("INSERT", "DELETE"):
            table = words[words.index("INTO" if words[0] == "INSERT" else "FROM") + 1]
            changed *= 1 + len(self.connection.execute(f"PRAGMA index_list({table})").fetchall())
        self.rows += changed
        return found


async def test_sub_call_takes_three_rows() -> None:
    """Its span, its answer, and the event that tells of it."""
    few, many = Counting(), Counting()
    results = []
    for database, size in ((few, 8_000), (many, 4_000)):
        session = open_session(Storage(database), FunctionModel(answering))
        await session.start(await a_job(chunkSize=size), context_stored=True)
        results.append(await session.wait())
    assert (many.rows - few.rows) / (results[1].sub_calls - results[0].sub_calls) == 3


def test_same_fact_takes_no_row() -> None:
    database = Counting()
    journal = SessionJournal(database)
    journal.set_fact("status", "running")
    before = database.rows
    journal.set_fact("status", "running")
    assert database.rows == before


def test_long_fact_shrinks() -> None:
    journal = SessionJournal(RowLimit())
    journal.set_fact("job", LONG)
    journal.set_fact("job", "short")
    assert journal.fact("job") == "short"
    assert journal.fact("jo") is None


def test_long_reply_is_kept() -> None:
    journal = SessionJournal(RowLimit())
    journal.record(a_call(text=LONG))
    (call,) = journal.calls()
    assert call.text == LONG
    assert journal.recall("k") == call


def test_long_event_is_kept() -> None:
    journal = SessionJournal(RowLimit())
    journal.emit("iteration", {"iteration": 1, "output": LONG})
    journal.emit("answer", {"delta": "x"})
    told = [(number, kind, json.loads(data)) for number, kind, data in journal.events_after(0)]
    assert told == [(1, "iteration", {"iteration": 1, "output": LONG}), (2, "answer", {"delta": "x"})]
    assert journal.last_event("iteration")["output"] == LONG


def test_long_cell_is_kept() -> None:
    cells = SessionJournal(RowLimit()).cells(lambda: 0.0)
    cells.start("3.1", 4, LONG)
    cells.start("3", 1, "short")
    cells.finish("3.1", 4, CellOutcome(output=LONG))
    cells.keep_answer("3.1", 4, "digest 1", LONG)
    known = cells.cell("3.1", 4)
    assert known is not None
    assert (known.code, known.outcome) == (LONG, CellOutcome(output=LONG))
    assert cells.answer("3.1", 4, "digest 1") == LONG
    (other,) = cells.cells("3")
    assert (other.code, other.outcome) == ("short", None)


def test_two_texts_share_a_row() -> None:
    """Characters of four bytes each, in both texts that a row may hold."""
    text = "\U0001f600" * 390_000
    journal = SessionJournal(SqliteDatabase())
    journal.record(replace(a_call(text=text), messages=(Message("user", text),), span=None))
    cells = journal.cells(lambda: 0.0)
    cells.start("3", 1, text)
    cells.finish("3", 1, CellOutcome(output=text))
    (call,), known = journal.calls(), cells.cell("3", 1)
    assert (call.messages[0].content, call.text) == (text, text)
    assert known is not None
    assert (known.code, known.outcome) == (text, CellOutcome(output=text))


def test_new_run_forgets_long_texts() -> None:
    database = RowLimit()
    journal = SessionJournal(database)
    journal.record(a_call(text=LONG))
    journal.emit("iteration", {"iteration": 1, "output": LONG})
    journal.cells(lambda: 0.0).start("", 1, LONG)
    journal.keep_ranking("[]")
    journal.keep_task("none")
    journal.forget_run()
    journal.begin_events("session", {})
    assert not database.execute("SELECT name FROM facts")


def test_known_call_is_recorded_once() -> None:
    database = SqliteDatabase()
    SessionJournal(database).record(a_call())
    again = SessionJournal(database)
    again.record(replace(a_call(), text="another"))
    assert [call.text for call in again.calls()] == ["an answer"]


def test_resumed_run_repeats_no_event() -> None:
    database = SqliteDatabase()
    SessionJournal(database).emit("subcall", {"chunk": 1})
    again = SessionJournal(database)
    again.emit("subcall", {"chunk": 1})
    again.emit("subcall", {"chunk": 2})
    assert len(list(again.events_after(0))) == 2


async def test_deltas_are_joined() -> None:
    """A hundred pieces within a beat are two events, the first of them at once; none is lost, and their order holds."""
    events, deltas = await _answer_events(beat=0.05)
    for number in range(100):
        deltas.write(f"{number} ")
    assert [data["delta"] for data in events.of_kind("answer")] == ["0 "]
    await asyncio.sleep(0.2)
    assert len(events.of_kind("answer")) == 2
    deltas.write("last")
    deltas.close()
    said = [str(data["delta"]) for data in events.of_kind("answer")]
    assert "".join(said) == "".join(f"{number} " for number in range(100)) + "last"


async def test_restart_voids_held_deltas() -> None:
    events, deltas = await _answer_events(beat=60.0)
    for delta in ("a", "b"):
        deltas.write(delta)
    deltas.restart()
    deltas.write("c")
    deltas.close()
    assert [(data["delta"], data.get("restart", False)) for data in events.of_kind("answer")] == [
        ("a", False),
        ("", True),
        ("c", False),
    ]


async def test_slow_follower_sees_one_run() -> None:
    """Who still reads the events of a run when another one is begun in its place is not told of that one."""
    failing = True

    def answer(request: ModelRequest) -> ModelReply:
        if failing and request.role == "root":
            raise RuntimeError("a defect")
        return answering(request)

    session = open_session(Storage(SqliteDatabase()), FunctionModel(answer))
    await session.start(await a_job(), context_stored=True)
    following = session.follow(0)
    seen = [await anext(following)]
    await session.wait()
    failing = False
    await session.start(await a_job(), context_stored=True)
    await session.wait()
    seen += [event async for event in following]
    assert [kind for _, kind, _ in seen] == ["session"]
    afterwards = [kind async for _, kind, _ in session.follow(seen[-1][0])]
    assert (afterwards[0], afterwards[-1]) == ("session", "result")


async def test_lines_tell_what_json_tells() -> None:
    session = open_session(Storage(SqliteDatabase()), FunctionModel(answering))
    await session.start(await a_job(), context_stored=True)
    result = await session.wait()
    whole = json.loads("".join([text async for text in session.trajectory("json")]))
    lines = [json.loads(line) async for line in session.trajectory("lines")]
    assert [line.pop("type") for line in lines] == ["call"] * len(lines)
    assert (whole["calls"], whole["failedAttempts"]) == (lines, [])
    assert len(lines) == result.sub_calls + result.iterations


async def _answer_events(beat: float) -> tuple[MemoryEvents, AnswerEvents]:
    ports = memory_ports(FunctionModel(answering))
    manifest, content = gather_documents([(None, "text")])
    run = start_run(await a_job(), InlineReader(manifest, content[0]), ports)
    assert isinstance(ports.events, MemoryEvents)
    return ports.events, AnswerEvents(run, beat_seconds=beat)

"""Chunks that repeat what stands before them: the same prompts after a crash, when ranked, and when shown."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from rlm_worker.errors import InputTooLarge
from rlm_worker.journal.session import SessionJournal
from rlm_worker.messages import ModelReply, ModelRequest, Span
from rlm_worker.runs.job import Job
from rlm_worker.strategies.prompts import map_messages
from rlm_worker.testing import FunctionModel, SqliteDatabase, memory_ports
from rlm_worker.text.chunks import Chunk, ChunkBudget, Piece, further_head
from rlm_worker.text.context import ChunkStream, InlineReader, gather_documents, read_chunk
from rlm_worker.wire.results import RunResult
from tests.unit.test_map_reduce import finder, haystack
from tests.unit.test_session import Storage, a_job, answering, open_session, trajectory_calls

RunOn = Callable[..., Awaitable[RunResult]]
# The first version's tables, as sessions hold them that it has written.
OLD_TABLES = (
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TABLE calls (
        number INTEGER PRIMARY KEY, key TEXT UNIQUE NOT NULL, role TEXT NOT NULL, kind TEXT NOT NULL,
        model TEXT NOT NULL, messages TEXT, text TEXT NOT NULL, input_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL, estimated INTEGER NOT NULL, cost_usd REAL NOT NULL, started_at REAL NOT NULL,
        duration_ms INTEGER NOT NULL, span TEXT, parent TEXT NOT NULL)""",
    """CREATE TABLE spans (
        number INTEGER PRIMARY KEY, start INTEGER, stop INTEGER, byte_start INTEGER, byte_stop INTEGER)""",
    "CREATE TABLE events (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, data TEXT NOT NULL, identity TEXT UNIQUE)",
    "INSERT INTO facts VALUES ('cut_off_usd.000000', '0.25')",
    "INSERT INTO spans VALUES (0, 0, 100, 0, 104)",
    """INSERT INTO calls VALUES (1, 'k', 'sub', 'map', '@cf/meta/llama-3.1-8b-instruct-fp8-fast', NULL, 'NONE', 1000000,
        0, 0, 0.045, 1.0, 5, '[0, 0, 100, 0, 104]', '')""",
)


async def test_overlap_survives_crash() -> None:
    """Every chunk that was paid for is known again: the resumed run asks the same prompts."""
    storage = Storage(SqliteDatabase())
    asked: list[str] = []

    async def dying(request: ModelRequest) -> ModelReply:
        if len(asked) == 9:
            await asyncio.sleep(3_600)
        asked.append(request.key())
        return answering(request)

    job = await a_job(chunkOverlap=300)
    first = open_session(storage, FunctionModel(dying))
    await first.start(job, context_stored=True)
    while len(asked) < 9:  # noqa: ASYNC110 - the model counts, it signals nothing
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)
    left = Storage(storage.database.copy())
    await first.delete()
    model = FunctionModel(answering)
    second = open_session(left, model)
    await second.on_alarm()
    result = await second.wait()
    again = {request.key() for request in model.requests}
    assert not again & set(asked)
    assert result.sub_calls == result.chunks == len(asked) + len(model.asked("map"))
    undisturbed = FunctionModel(answering)
    whole = open_session(Storage(SqliteDatabase()), undisturbed)
    await whole.start(job, context_stored=True)
    await whole.wait()
    assert {request.key() for request in undisturbed.asked("map")} == set(asked) | {
        request.key() for request in model.asked("map")
    }


async def test_trajectory_shows_overlap() -> None:
    model = FunctionModel(answering)
    session = open_session(Storage(SqliteDatabase()), model)
    await session.start(await a_job(chunkOverlap=300), context_stored=True)
    await session.wait()
    sent = {request.messages[-1].content for request in model.requests}
    assert {row["prompt"][-1]["content"] for row in await trajectory_calls(session)} == sent


async def test_trajectory_shows_halves() -> None:
    """A chunk that was too large for its model is shown as it was sent: in two parts."""
    sent: set[str] = set()

    def narrow(request: ModelRequest) -> ModelReply:
        if request.role == "sub" and request.characters() > 4_000:
            raise InputTooLarge("prompt too long", 3006)
        sent.add(request.messages[-1].content)
        return answering(request)

    session = open_session(Storage(SqliteDatabase()), FunctionModel(narrow))
    await session.start(await a_job(chunkOverlap=300), context_stored=True)
    await session.wait()
    assert {row["prompt"][-1]["content"] for row in await trajectory_calls(session)} == sent


async def test_ranked_chunks_overlap(run_on: RunOn) -> None:
    """The most relevant chunks hold the overlap that was asked for, as all chunks do."""
    text = haystack(3_000_000, at=0.7)
    model = FunctionModel(finder)
    result = await run_on(memory_ports(model), text, "number for amber-fox?", maxSubCalls=3, chunkOverlap=500)
    assert result.chunk_order is not None
    for request in model.asked("map"):
        assert request.span is not None
        if request.span.start:
            assert text[request.span.start - 200 : request.span.start + 200] in request.messages[-1].content


@pytest.mark.parametrize("alphabet", ["word ", "слово ", "🙂👍🏽 ", "ไทย "])
async def test_chunks_are_read_again_alike(alphabet: str) -> None:
    texts: list[tuple[str | None, str]] = [(f"{n}.txt", f"{n}. " + alphabet * (40 + 90 * n)) for n in range(6)]
    manifest, parts = gather_documents(texts)
    reader = InlineReader(manifest, b"".join(parts))
    stream = ChunkStream(reader, ChunkBudget(700), overlap=120)
    cut = [placed async for placed in stream.chunks()]
    assert any(span.overlap_bytes for span, _ in cut)
    for span, chunk in cut:
        again = await read_chunk(reader, span)
        assert map_messages("?", again) == map_messages("?", chunk)
        rest = [placed async for placed in ChunkStream(reader, ChunkBudget(700), overlap=120, after=span).chunks()]
        assert rest == cut[span.index + 1 :]


def test_old_tables_are_read() -> None:
    """A session that the first version has written goes on: its rows are read, and new ones find their columns."""
    database = SqliteDatabase()
    for statement in OLD_TABLES:
        database.execute(statement)
    journal = SessionJournal(database)
    assert journal.spans() == [Span(0, 0, 100, 0, 104)]
    (call,) = journal.calls()
    assert (call.span, call.finish_reason, call.at_most_usd) == (Span(0, 0, 100, 0, 104), "", 0.0)
    assert journal.paid_usd() + journal.cut_off_usd() == pytest.approx(0.295)
    journal.add_span(Span(1, 100, 200, 104, 204, 12))
    again = SessionJournal(database)
    assert again.spans()[1].overlap_bytes == 12
    assert [paid.call for paid in again.payments()] == ["k"]


async def test_old_job_is_read() -> None:
    """One that an earlier version has written, fields included that are gone."""
    job = await a_job()
    old = json.loads(job.model_dump_json(by_alias=True, exclude_none=True)) | {"labels": {}}
    assert Job.model_validate_json(json.dumps(old)) == job


@pytest.mark.parametrize("name", ["a.txt", 'quo"ted.txt', "عرض\u202e.txt", "üñ.md", "", None])
def test_head_is_charged_as_written(name: str | None) -> None:
    """What a further document costs a chunk beside its text is what the prompt writes for it."""
    both = Chunk(0, 0, 2, (Piece(0, "first", 0, "a"), Piece(1, name, 1, "b")))
    alone = Chunk(0, 0, 1, (Piece(0, "first", 0, "a"),))
    written = len(map_messages("?", both)[-1].content) - len(map_messages("?", alone)[-1].content) - len("b")
    assert len(further_head(name)) == written

"""An invocation may make so many subrequests: a run that has made them goes on in the next one."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from rlm_worker.errors import InvocationSpent
from rlm_worker.messages import ModelReply, ModelRequest, Span
from rlm_worker.repl.cite import cite_explored
from rlm_worker.repl.passages import ContextText
from rlm_worker.runs.run import start_run
from rlm_worker.strategies.cite_notes import cite_notes
from rlm_worker.strategies.execute import execute
from rlm_worker.testing import FunctionModel, SqliteDatabase, reply_of
from rlm_worker.text.context import ContextManifest, InlineReader, gather_documents
from tests.unit.conftest import job_for
from tests.unit.test_repl import Played, RunOn, cell
from tests.unit.test_session import TEXT, Storage, a_job, answering, open_session

EVENT_CALLS = 9


class Invocations:
    """A model behind a platform that grants each event a few calls."""

    def __init__(self) -> None:
        self.left = EVENT_CALLS
        self.answered: Counter[str] = Counter()

    def ask(self, request: ModelRequest) -> ModelReply:
        if self.left <= 0:
            raise InvocationSpent("no more subrequests")
        self.left -= 1
        self.answered[request.key()] += 1
        return answering(request)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(SqliteDatabase(str(tmp_path / "session.db")))


async def test_spent_run_goes_on(storage: Storage) -> None:
    platform = Invocations()
    session = open_session(storage, FunctionModel(platform.ask))
    await session.start(await a_job(), context_stored=True)
    waiting = asyncio.create_task(session.wait())
    events = 1
    while not waiting.done():
        set_before = len(storage.alarms)
        await asyncio.wait({waiting}, timeout=0.05)
        if not waiting.done():
            platform.left, events = EVENT_CALLS, events + 1
            await asyncio.wait_for(session.on_alarm(), 5)
            assert len(storage.alarms) > set_before
    result = waiting.result()
    assert (result.answer, result.coverage) == ("blue", 1.0)
    assert events > 2
    assert set(platform.answered.values()) == {1}
    assert result.cost_usd == pytest.approx(session._journal.paid_usd())
    assert not session._journal.failed_attempts()


async def test_spent_alarm_ends(storage: Storage) -> None:
    """What is set while an alarm is still at work comes only when that has ended: it must not wait for the run."""
    platform = Invocations()
    platform.left = 0
    session = open_session(storage, FunctionModel(platform.ask))
    await session.start(await a_job(), context_stored=True)
    await asyncio.sleep(0.01)
    await asyncio.wait_for(session.on_alarm(), 5)
    assert session.running


@dataclass
class SpentReader:
    """A context that cannot be read any more once the root model has said its last word."""

    whole: InlineReader
    spent: bool = False

    @property
    def manifest(self) -> ContextManifest:
        return self.whole.manifest

    async def read(self, start: int, end: int) -> bytes:
        if self.spent:
            raise InvocationSpent("no more subrequests")
        return await self.whole.read(start, end)


async def test_spent_reading_loses_no_cell() -> None:
    """A cell that is told to end while its REPL is made ready is run again in the next invocation."""
    job = await job_for([(None, TEXT)], "what colour?", {"strategy": "repl"}, 0.0)
    reader = SpentReader(InlineReader(*inline(TEXT)))

    def turn(request: ModelRequest) -> ModelReply:
        reader.spent = True
        return reply_of(request, cell("FINAL('blue')"))

    played = Played()
    played.model = FunctionModel(turn)
    ports = played.ports()
    with pytest.raises(InvocationSpent):
        await execute(job, reader, ports)
    assert ports.cells is not None
    assert [known.outcome for known in ports.cells.cells("")] == [None]


async def test_spent_citing_goes_on() -> None:
    """A run that has its answer cites it in the next invocation: it is not kept without its citations."""
    job = await job_for([(None, TEXT)], "what colour?", {}, 0.0)
    reader = SpentReader(InlineReader(*inline(TEXT)), spent=True)
    run = start_run(job, reader, Played().ports())
    with pytest.raises(InvocationSpent):
        await cite_explored(run, "The sky is blue.", ContextText(reader), [(0, 100)])
    with pytest.raises(InvocationSpent):
        await cite_notes(run, 'It says: "the grass is green".', [(Span(0, 0, 100, 0, 100), TEXT[:44])])


async def test_spent_last_word_goes_on(run_on: RunOn) -> None:
    """A draft is no answer where the last word can be had in the next invocation."""

    def spent(request: ModelRequest) -> ModelReply:
        if request.kind == "extract":
            raise InvocationSpent("no more subrequests")
        return reply_of(request, cell("answer['content'] = 'a draft'"))

    played = Played()
    played.model = FunctionModel(spent)
    with pytest.raises(InvocationSpent):
        await run_on(played.ports(), TEXT, "q", strategy="repl", maxIterations=3)


def inline(text: str) -> tuple[ContextManifest, bytes]:
    manifest, parts = gather_documents([(None, text)])
    return manifest, b"".join(parts)

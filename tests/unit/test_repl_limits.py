"""Cells that only ask: their time runs on, their number is capped, and little is written down for them."""

from __future__ import annotations

import asyncio
import builtins
import json
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from rlm_worker.errors import TerminalError
from rlm_worker.messages import CallUsage, ModelReply, ModelRequest, UnusableReply
from rlm_worker.repl.explore import explore
from rlm_worker.repl.host import MAX_QUESTIONS, CellCalls
from rlm_worker.repl.passages import ContextText
from rlm_worker.repl.task import Task
from rlm_worker.runs.run import RunPorts, start_run
from rlm_worker.testing import FunctionModel, ManualClock, reply_of
from rlm_worker.text.context import InlineReader, gather_documents
from tests.unit.conftest import job_for
from tests.unit.test_repl import CONTEXT, Played, RunOn, cell

# More rows than a cell needs that asks sensibly, and far fewer than an endless loop writes.
FEW_ROWS = 120
LOOPS = {
    "budget": "while True: budget()",
    "refused": "while True:\n    try:\n        llm_query('once more')\n    except QueryError:\n        pass",
    "refused anew": "n = 0\nwhile True:\n    n += 1\n    llm_query_batched([f'q{n}', f'r{n}'])",
    "repeated": "first = llm_query('x')\nwhile True: llm_query('x')",
    "refused child": "while True:\n    try:\n        rlm_query('x')\n    except QueryError:\n        pass",
    "too long": "while True:\n    try:\n        llm_query('x' * 1_000_000)\n    except QueryError:\n        pass",
    "reads": "read = llm_query.__self__._origin.read_range\nwhile True: read(0, 50)",
}


def answers_kept(ports: RunPorts) -> int:
    """How many answers the cells of a run have been given for good."""
    ((count,),) = ports.journal._database.execute("SELECT COUNT(*) FROM asked")  # type: ignore[attr-defined]
    return int(count)


@pytest.mark.parametrize("name", LOOPS)
async def test_asking_takes_time(run_on: RunOn, name: str) -> None:
    played = Played(cell(LOOPS[name]), cell("FINAL('the run goes on')"))
    ports = played.ports()
    limits = {"maxSubCalls": 1, "maxIterations": 4, "cellTimeoutSeconds": 0.3, "maxDepth": 0}
    result = await run_on(ports, CONTEXT, "q", strategy="repl", **limits)
    assert result.answer == "the run goes on"
    assert "TimeLimit" in played.feedback(1)
    assert answers_kept(ports) <= FEW_ROWS


@pytest.mark.parametrize("name", ["budget", "refused"])
async def test_asking_is_counted(run_on: RunOn, name: str) -> None:
    played = Played(cell(f"kept = 1\n{LOOPS[name]}"), cell("FINAL(kept)"))
    ports = played.ports()
    limits = {"maxSubCalls": 1, "maxIterations": 4, "cellTimeoutSeconds": 600}
    result = await run_on(ports, CONTEXT, "q", strategy="repl", **limits)
    assert result.answer == "1"
    assert f"CallLimit: a cell may ask {MAX_QUESTIONS:,} questions" in played.feedback(1)
    assert answers_kept(ports) <= FEW_ROWS


async def test_prompts_are_counted(run_on: RunOn) -> None:
    many = "for n in range(20): llm_query_batched([f'{n} {m}' for m in range(1_000)])"
    played = Played(cell(many), cell("FINAL('the run goes on')"))
    result = await run_on(played.ports(), CONTEXT, "q", strategy="repl", maxSubCalls=2, cellTimeoutSeconds=600)
    assert "CallLimit" in played.feedback(1)
    assert result.sub_calls == 2


def broken(prompt: str) -> str:
    raise TerminalError("no such model", 5007)


async def test_failing_model_is_counted(run_on: RunOn) -> None:
    """Each failure is a real call; a loop of them ends all the same."""
    played = Played(cell(LOOPS["refused anew"]), cell("FINAL('the run goes on')"), sub=broken)
    ports = played.ports()
    result = await run_on(ports, CONTEXT, "q", strategy="repl", cellTimeoutSeconds=0.3)
    assert result.answer == "the run goes on"
    assert "Limit" in played.feedback(1)


async def _slow(request: ModelRequest, clock: ManualClock, text: str) -> ModelReply:
    await asyncio.sleep(0.8)
    clock.time += 0.8
    return reply_of(request, text)


async def test_models_are_waited_for(run_on: RunOn) -> None:
    """What a model takes is not the cell's time, and neither is what a child run takes."""
    played = Played("")
    ports = played.ports()
    assert isinstance(ports.clock, ManualClock)
    clock = ports.clock

    async def answer(request: ModelRequest) -> ModelReply:
        if request.role == "sub":
            return await _slow(request, clock, "slow")
        if "Question: child" in request.messages[1].content:
            return await _slow(request, clock, cell("FINAL('child')"))
        return reply_of(request, cell("a = llm_query('x')\nb = rlm_query('child')\nFINAL(a + b)"))

    assert isinstance(played.model, FunctionModel)
    played.model.answer = answer
    result = await run_on(ports, CONTEXT, "top", strategy="repl", cellTimeoutSeconds=0.5, maxDepth=1)
    assert result.answer == "slowchild"


ASKED = """
import json
call = llm_query.__self__._ask.__self__._call
def asked(op, **more):
    return json.loads(call(json.dumps({"op": op, "cell": 1, **more})))["waited"]
items = [{"prompt": "x"}]
FINAL([asked("query", items=items), asked("query", items=items), asked("budget"), asked("read", start=0, end=5)])
"""


async def test_only_models_are_free(run_on: RunOn) -> None:
    """The same question again, the budget and reads are answered, but at the cell's own cost of time."""
    played = Played("")
    ports = played.ports()
    assert isinstance(ports.clock, ManualClock)
    clock = ports.clock

    async def answer(request: ModelRequest) -> ModelReply:
        return await _slow(request, clock, "slow") if request.role == "sub" else reply_of(request, cell(ASKED))

    played.model.answer = answer
    result = await run_on(ports, CONTEXT, "q", strategy="repl")
    assert json.loads(result.answer or "") == pytest.approx([0.8, 0, 0, 0], abs=1e-6)


async def test_batch_ends_its_waiting(run_on: RunOn) -> None:
    """What the journal says of a cell while it computes again: that it waits for nobody."""
    seen: list[bool] = []
    code = "llm_query_batched(['a', 'b', 'c'])\nimport builtins\nbuiltins.look()"
    played = Played(cell(code), cell("FINAL('done')"))
    ports = played.ports()
    cells, play = ports.cells, played.answer
    assert cells is not None

    async def answer(request: ModelRequest) -> ModelReply:
        await asyncio.sleep(0.01 if request.role == "sub" else 0)
        return play(request)

    played.model.answer = answer

    def look() -> None:
        record = cells.cell("", 1)
        assert record is not None
        seen.append(record.waiting)

    loop = asyncio.get_running_loop()
    builtins.look = lambda: asyncio.run_coroutine_threadsafe(_called(look), loop).result()  # type: ignore[attr-defined]
    await run_on(ports, CONTEXT, "q", strategy="repl")
    assert seen == [False]


async def _called(work: Callable[[], None]) -> None:
    work()


async def test_clock_cannot_be_lost(run_on: RunOn) -> None:
    """A question asked while another is under way does not stop the clock for good."""
    code = """
guard = llm_query.__self__._ask.__self__._guard
guard.pause(); guard.pause(); guard.resume(); guard.resume()
while True: budget()
"""
    played = Played(cell(code), cell("FINAL('the run goes on')"))
    await run_on(played.ports(), CONTEXT, "q", strategy="repl", cellTimeoutSeconds=0.3)
    assert "TimeLimit" in played.feedback(1)


async def test_others_are_served(run_on: RunOn) -> None:
    """The loop turns while a cell asks without end."""
    played = Played(cell(LOOPS["budget"]), cell("FINAL('the run goes on')"))
    turns: list[float] = []

    async def other() -> None:
        while True:
            turns.append(time.monotonic())
            await asyncio.sleep(0)

    watching = asyncio.ensure_future(other())
    await run_on(played.ports(), CONTEXT, "q", strategy="repl", cellTimeoutSeconds=0.3)
    watching.cancel()
    assert len(turns) > 100


def nothing_said(prompt: str) -> str:
    raise UnusableReply("it answered with nothing", usage=CallUsage(10, 10))


async def test_vain_question_is_counted(run_on: RunOn) -> None:
    """The same question for ever, paid and answered with nothing, is as many calls as the run may make."""
    played = Played(cell(LOOPS["refused"]), cell("FINAL('the run goes on')"), sub=nothing_said)
    ports = played.ports()
    ports = replace(ports, deployment=replace(ports.deployment, attempts=2))
    limits = {"maxSubCalls": 3, "maxIterations": 4, "cellTimeoutSeconds": 0.5}
    result = await run_on(ports, CONTEXT, "q", strategy="repl", **limits)
    assert result.answer == "the run goes on"
    assert result.sub_calls == 3
    assert len(played.model.asked("llm_query")) == 6


class HeldClock(ManualClock):
    """Whoever sleeps by it sleeps until `go_on`."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self.go_on.wait()


async def test_closed_cell_asks_nothing() -> None:
    """A question that took breath while its cell ended is not asked: nobody would book it."""
    played, clock = Played(cell("FINAL(1)")), HeldClock()
    ports = replace(played.ports(), clock=clock)
    job = await job_for([(None, CONTEXT)], "q", {"strategy": "repl"}, clock.now())
    manifest, parts = gather_documents([(None, CONTEXT)])
    run = start_run(job, InlineReader(manifest, b"".join(parts)), ports)
    task = Task(run, "q", ContextText(run.reader), run.model, explore)
    assert ports.cells is not None
    calls = CellCalls(task, ports.cells, 1)
    question = json.dumps({"op": "query", "cell": 1, "items": [{"prompt": "x"}]})
    asking = asyncio.create_task(calls.answer(question))
    while not clock.slept:
        await asking
        asking = asyncio.create_task(calls.answer(question))
        await asyncio.sleep(0)
    asked = len(played.model.requests)
    await calls.close()
    clock.go_on.set()
    assert "no cell is running" in await asking
    assert len(played.model.requests) == asked

"""Each sandbox of a REPL is booked once a day, before it is opened, wherever money is counted."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest

from rlm_worker.budget.account import AccountLimits
from rlm_worker.errors import InvocationSpent, SandboxForgot, StorageUnavailable, TerminalError
from rlm_worker.journal.session import SessionJournal
from rlm_worker.messages import ModelReply, ModelRequest
from rlm_worker.ports import SandboxRepl
from rlm_worker.repl.cells import SANDBOX_USD
from rlm_worker.runs.run import RunPorts
from rlm_worker.sessions.results import as_cache_hit, metrics_point
from rlm_worker.testing import ManualClock, MemoryAccounts, SqliteDatabase, ThreadSandbox, reply_of
from rlm_worker.wire.results import RunResult
from tests.unit.conftest import job_for
from tests.unit.test_repl import CONTEXT, Played, RunOn, cell, events_of
from tests.unit.test_session import Storage, a_job, open_session

Call = Callable[[str], Awaitable[str]]
EXIT = "import os\nos._exit(1)"


def journal_of(ports: RunPorts) -> SessionJournal:
    assert isinstance(ports.journal, SessionJournal)
    return ports.journal


def models_usd(result: RunResult) -> float:
    return sum(usage.cost_usd for usage in result.models)


def assert_books_agree(ports: RunPorts, result: RunResult, sandboxes: int) -> None:
    assert result.sandboxes == sandboxes
    assert result.sandbox_cost_usd == pytest.approx(sandboxes * SANDBOX_USD)
    assert result.cost_usd == pytest.approx(models_usd(result) + sandboxes * SANDBOX_USD)
    assert journal_of(ports).paid_usd() == pytest.approx(result.cost_usd)
    assert len(journal_of(ports).sandboxes()) == sandboxes


async def test_sandbox_is_in_the_cost(run_on: RunOn) -> None:
    played = Played(cell("a = llm_query('one')"), cell("FINAL(a)"))
    ports = played.ports()
    result = await run_on(ports, CONTEXT, "q", strategy="repl")
    assert_books_agree(ports, result, 1)
    turns = events_of(ports, "iteration")
    assert sum(float(str(turn["costUsd"])) for turn in turns) == pytest.approx(result.cost_usd)


async def test_cost_reaches_ops(run_on: RunOn) -> None:
    result = await run_on(Played(cell("FINAL(1)")).ports(), CONTEXT, "q", strategy="repl")
    job = await job_for([(None, CONTEXT)], "q", {}, 0.0)
    assert result.cost_usd in metrics_point(job, result).values
    assert (as_cache_hit(result).sandboxes, as_cache_hit(result).sandbox_cost_usd) == (0, 0.0)


async def test_no_repl_no_sandbox(run_on: RunOn) -> None:
    result = await run_on(Played("blue").ports(), "The sky is blue.", "q", strategy="direct")
    assert (result.sandboxes, result.sandbox_cost_usd) == (0, 0.0)


async def test_too_little_for_a_sandbox(run_on: RunOn) -> None:
    """Nothing is asked where the REPL cannot be paid: not even a model."""
    played = Played(cell("FINAL(1)"))
    result = await run_on(played.ports(), CONTEXT, "q", strategy="repl", maxCostUsd=0.0015)
    assert result.error is not None
    assert result.error.type == "usage_limit_exceeded"
    assert result.error.message == (
        "maxCostUsd: allows 0.0015; 0 used or reserved, and a sandbox for the REPL costs 0.002"
    )
    assert not played.model.requests
    assert not played.sandbox.opened
    assert result.cost_usd == 0


async def test_limit_holds_with_sandbox(run_on: RunOn) -> None:
    played = Played(cell("n = globals().get('n', 0) + 1\nllm_query(f'question {n}')"))
    result = await run_on(played.ports(), CONTEXT, "q", strategy="repl", maxCostUsd=0.012)
    assert result.sandboxes == 1
    assert result.cost_usd <= 0.012
    assert "maxCostUsd" in str(result.warnings)


async def test_broken_repl_takes_a_new_name(run_on: RunOn) -> None:
    played = Played(cell("a = 1"), cell(EXIT), cell("FINAL(a)"))
    ports = played.ports()
    result = await run_on(ports, CONTEXT, "q", strategy="repl")
    assert result.answer == "1"
    assert_books_agree(ports, result, 2)
    assert len(set(played.sandbox.names)) == 2


@dataclass(slots=True)
class ForgetfulSandbox(ThreadSandbox):
    """The runs with these numbers, counted through, meet an empty isolate; `crowded` is raised when it is opened."""

    forgets: frozenset[int] = frozenset()
    crowded: Exception | None = None
    runs: list[str] = field(default_factory=list)

    async def open(self, name: str, session_id: str, setup: str, seconds: float, call: Call) -> SandboxRepl:
        known = name in self.names
        repl = await ThreadSandbox.open(self, name, session_id, setup, seconds, call)
        if known and self.crowded:
            raise self.crowded
        return ForgetfulRepl(self, repl)


@dataclass(slots=True)
class ForgetfulRepl:
    sandbox: ForgetfulSandbox
    repl: SandboxRepl

    async def run(self, request: str) -> str:
        self.sandbox.runs.append(request)
        if len(self.sandbox.runs) in self.sandbox.forgets:
            raise SandboxForgot("the platform restarted it")
        return await self.repl.run(request)

    async def close(self) -> None:
        await self.repl.close()


def forgetful(*forgets: int, crowded: Exception | None = None) -> Played:
    played = Played(cell("a = llm_query('one')"), cell("a += '!'"), cell("FINAL(a)"))
    played.sandbox = ForgetfulSandbox(forgets=frozenset(forgets), crowded=crowded)
    return played


# Each cell is followed by a look whether its REPL still answers: 1 cell, 2 look, 3 cell, 4 look, 5 cell.
@pytest.mark.parametrize("met", [1, 2, 3, 4, 5])
async def test_forgotten_repl_keeps_its_name(run_on: RunOn, met: int) -> None:
    """The platform bills a name once a day, however many isolates it makes for it."""
    played = forgetful(met)
    ports = played.ports()
    result = await run_on(ports, CONTEXT, "q", strategy="repl")
    assert result.answer == "sub saw 3!"
    assert result.sub_calls == 1
    assert_books_agree(ports, result, 1)
    assert len(played.sandbox.names) == 2
    assert len(set(played.sandbox.names)) == 1


@pytest.mark.parametrize("crowded", [SandboxForgot("it has a REPL already"), StorageUnavailable("it is in disorder")])
async def test_used_isolate_is_left(run_on: RunOn, crowded: Exception) -> None:
    played = forgetful(3, crowded=crowded)
    ports = played.ports()
    result = await run_on(ports, CONTEXT, "q", strategy="repl")
    assert result.answer == "sub saw 3!"
    assert_books_agree(ports, result, 2)


async def test_spent_opening_pays_nothing(run_on: RunOn) -> None:
    """Where the invocation is spent no other sandbox is booked: it could not be opened either."""
    played = forgetful(3, crowded=InvocationSpent("no more subrequests"))
    ports = played.ports()
    with pytest.raises(InvocationSpent):
        await run_on(ports, CONTEXT, "q", strategy="repl")
    assert len(journal_of(ports).sandboxes()) == 1


async def test_endless_forgetting_ends(run_on: RunOn) -> None:
    played = forgetful(*range(2, 999))
    result = await run_on(played.ports(), CONTEXT, "q", strategy="repl", maxIterations=3)
    assert result.success
    assert "it broke the REPL that it ran in" in played.feedback(1)
    assert isinstance(played.sandbox, ForgetfulSandbox)
    assert len(played.sandbox.runs) < 20


async def test_children_have_their_own(run_on: RunOn) -> None:
    def root(request: ModelRequest) -> ModelReply:
        inner = "Question: inner" in request.messages[1].content
        return reply_of(request, cell("FINAL(1)" if inner else "FINAL(rlm_query('inner', context[0:500]))"))

    played = Played("")
    played.model.answer = root
    ports = played.ports()
    assert_books_agree(ports, await run_on(ports, CONTEXT, "outer", strategy="repl"), 2)
    assert [paid.path for paid in journal_of(ports).sandboxes()] == ["", "1.1"]


async def test_sandboxes_survive_crash(run_on: RunOn) -> None:
    """What an earlier life has opened is counted, and the new one's too."""
    played = Played(cell("a = 1"), cell("FINAL(a)"))
    ports = played.ports()
    play = played.answer

    def dies(request: ModelRequest) -> ModelReply:
        if len(played.turns()) == 2:
            raise TerminalError("crash", 1)
        return play(request)

    played.model.answer = dies
    assert (await run_on(ports, CONTEXT, "q", strategy="repl")).sandboxes == 1
    again = Played(*played.lines)
    result = await run_on(replace(ports, model=again.model, sandbox=again.sandbox), CONTEXT, "q", strategy="repl")
    assert result.answer == "1"
    assert_books_agree(ports, result, 2)


async def test_next_day_is_booked(run_on: RunOn) -> None:
    played = Played(cell("a = 1"), cell("a += 1"), cell("FINAL(a)"))
    ports = played.ports()
    clock, play = ports.clock, played.answer
    assert isinstance(clock, ManualClock)

    def at_midnight(request: ModelRequest) -> ModelReply:
        clock.time += 86_400 if len(played.turns()) == 2 else 0
        return play(request)

    played.model.answer = at_midnight
    result = await run_on(ports, CONTEXT, "q", strategy="repl")
    assert result.answer == "2"
    assert_books_agree(ports, result, 2)
    assert len(played.sandbox.names) == 1


async def test_key_pays_for_sandbox() -> None:
    played = Played(cell("FINAL(1)"))
    purse = MemoryAccounts(AccountLimits(daily_usd=1.0), ManualClock())
    storage = Storage(SqliteDatabase())
    session = open_session(storage, played.model, accounts=purse, sandbox=played.sandbox)
    job = await a_job(strategy="repl")
    await session.start(job, context_stored=True)
    result = await session.wait()
    assert result.sandboxes == 1
    assert (await purse.state(job.owner))["spentTodayUsd"] == pytest.approx(result.cost_usd)
    told = json.loads("".join([text async for text in session.trajectory("json")]))
    rows = [row for part in ("calls", "failedAttempts", "sandboxes") for row in told[part]]
    assert sum(row["costUsd"] for row in rows) == pytest.approx(result.cost_usd)
    assert [row["parent"] for row in told["sandboxes"]] == [None]
    assert json.dumps(told).find(played.sandbox.names[0]) == -1, "the name lets in who knows it"


async def test_poor_key_gets_no_sandbox() -> None:
    played = Played(cell("FINAL(1)"))
    purse = MemoryAccounts(AccountLimits(daily_usd=0.001), ManualClock())
    session = open_session(Storage(SqliteDatabase()), played.model, accounts=purse, sandbox=played.sandbox)
    await session.start(await a_job(strategy="repl"), context_stored=True)
    result = await session.wait()
    assert result.error is not None
    assert result.error.type == "rate_limited"
    assert not played.sandbox.opened


async def test_earlier_session_goes_on(run_on: RunOn) -> None:
    """A session that was written before sandboxes were booked."""
    database = SqliteDatabase()
    SessionJournal(database).set_fact("status", "running")
    database.execute("DROP TABLE sandboxes")
    journal = SessionJournal(database)
    assert (journal.sandboxes(), journal.paid_usd()) == ([], 0.0)
    ports = Played(cell("FINAL(1)")).ports()
    ports = replace(ports, journal=journal, cells=journal.cells(ports.clock.now))
    assert_books_agree(ports, await run_on(ports, CONTEXT, "q", strategy="repl"), 1)

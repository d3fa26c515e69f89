"""A REPL that outlives its isolate.

Cells are written down before and after they run. Where the isolate is gone, a new one is made and the cells that ended
well run again in it, answered from the journal; one that took its isolate with it never does.

An isolate has a name, and is billed by names and days. It is booked before it is opened; what the first one costs is
held from the beginning, so that what the root model spends until then does not leave the REPL without one.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field, replace

from rlm_worker.errors import BindingMissing, InvocationSpent, SandboxForgot, SandboxLost, StorageUnavailable
from rlm_worker.journal.cells import CellOutcome, CellRecord, CellTable
from rlm_worker.ports import Interval, Sandbox, SandboxRepl

from .cite import newly_cited
from .host import TURNED_AWAY_SECONDS, CellCalls, placed
from .inherited import Inherited, seed_of
from .protocol import Report, parse_report
from .task import Task

# A REPL stops a cell by itself; only one that it cannot stop is still there after this much more.
_GRACE_FACTOR, _GRACE_SECONDS = 1.5, 5.0
_MAX_STARTS = 3
# What a Dynamic Worker costs for each day on which it is used. Source: Cloudflare's pricing page, November 2026; the
# thousand that are free each month are the account's, and not counted here.
SANDBOX_USD = 0.002
_WANTED = f"a sandbox for the REPL costs {SANDBOX_USD:g}"
_HEALTH_SECONDS = 5.0
_TOOLS = ["llm_query", "llm_query_batched", "rlm_query", "budget"]


@dataclass(slots=True)
class DurableRepl:
    """Runs the cells of one task, each once for good; so many of them an earlier session has written."""

    task: Task
    sandbox: Sandbox
    cells: CellTable
    seconds: float
    inherited: int = 0
    _isolate: SandboxRepl | None = None
    _calls: CellCalls | None = field(default=None, init=False)
    _name: str = field(default="", init=False)
    _holds: bool = field(default=False, init=False)
    _paid_usd: float = field(default=0.0, init=False)
    # What the cells have cited, by their numbers; all that came before a cell is there when it runs.
    _cited: dict[int, tuple[Interval, ...]] = field(default_factory=dict, init=False)

    def begin_with(self, cited: Mapping[int, tuple[Interval, ...]]) -> None:
        """Takes over what inherited cells have cited, so that the numbers go on behind theirs."""
        self._cited.update(cited)

    async def hold(self) -> None:
        """Holds what an isolate costs until it is opened; raises `UsageLimitExceeded`, or `RateLimited`, else.

        A REPL that an earlier life of the run has begun may need none any more.
        """
        begun = any(cell.number > self.inherited for cell in self.cells.cells(self.task.path))
        if not self._holds and not begun:
            await self._hold()

    async def _hold(self) -> None:
        run = self.task.run
        await run.ledger.hold("sub" if self.task.depth else "root", SANDBOX_USD, _WANTED)
        try:
            await run.funds.hold(SANDBOX_USD)
        except BaseException:
            run.ledger.let_go(SANDBOX_USD)
            raise
        self._holds = True

    def _let_go(self) -> None:
        if self._holds:
            self._holds = False
            self.task.run.ledger.let_go(SANDBOX_USD)
            self.task.run.funds.let_go(SANDBOX_USD)

    async def _pay(self) -> None:
        """Books today's use of the isolate, if it is not booked yet."""
        if self.cells.is_paid(self._name):
            return
        if not self._holds:
            await self._hold()
        # From here to the end nothing is waited for: what is written down is counted, and no longer held.
        self.cells.pay(self._name, self.task.path, SANDBOX_USD)
        self._let_go()
        self.task.run.ledger.pay_sandbox(SANDBOX_USD)
        self._paid_usd += SANDBOX_USD

    async def run(self, number: int, code: str) -> CellOutcome:
        """What came of a cell: as it was written down, or by running it."""
        outcome = await self._outcome(number, code)
        self._cited[number] = outcome.cited
        return outcome

    async def _outcome(self, number: int, code: str) -> CellOutcome:
        known = self.cells.cell(self.task.path, number)
        if known is not None and known.outcome is not None:
            return known.outcome
        if known is not None and self._was_fatal(known):
            return self._finish(number, _lost("the runtime had to be restarted while it computed"))
        try:
            outcome = await self._run_somewhere(number, code)
        except SandboxLost as loss:
            outcome = _lost(str(loss), self._calls)
            await self._leave()
        cost, self._paid_usd = outcome.cost_usd + self._paid_usd, 0.0
        return self._finish(number, replace(outcome, cost_usd=cost))

    async def _run_somewhere(self, number: int, code: str) -> CellOutcome:
        """Runs a cell after all that came before it: anew, where its isolate turns out to have forgotten everything.

        One whose isolate has always forgotten when it had ended is to blame for that.
        """
        for _ in range(_MAX_STARTS):
            try:
                return await self._run_next(number, code)
            except SandboxForgot:
                await self._let_isolate_go()
        raise SandboxLost("it broke the REPL that it ran in")

    async def _run_next(self, number: int, code: str) -> CellOutcome:
        await self._catch_up(number)
        self.cells.start(self.task.path, number, code)
        return await self._execute(number, code)

    async def close(self) -> None:
        """Lets the isolate go, and what was held for it."""
        self._let_go()
        await self._let_isolate_go()

    async def _leave(self) -> None:
        """Lets an isolate go that is broken: the next one has another name."""
        self._name = ""
        await self._let_isolate_go()

    async def _let_isolate_go(self) -> None:
        isolate, self._isolate = self._isolate, None
        if self._calls is not None:
            await self._calls.close()
        if isolate is not None:
            await isolate.close()

    def _finish(self, number: int, outcome: CellOutcome) -> CellOutcome:
        self.cells.finish(self.task.path, number, outcome)
        return outcome

    def _was_fatal(self, cell: CellRecord) -> bool:
        """Whether a cell that was started and never ended is to blame for it.

        A crash while it waited for an answer is none of its doing, nor is one soon after it last did anything. A cell
        that computes and cannot be stopped shows no sign of life for longer than a cell may take.
        """
        if cell.starts >= _MAX_STARTS:
            return True
        silent = self.task.run.ports.clock.now() - cell.active_at
        return not cell.waiting and silent > self.seconds + _GRACE_SECONDS

    async def _catch_up(self, number: int) -> None:
        """Sees to it that the isolate has run all cells before this one."""
        while self._isolate is None:
            self._isolate = await self._open()
            for cell in self.cells.cells(self.task.path):
                if cell.number >= number or cell.state != "finished" or cell.outcome is None:
                    continue
                try:
                    await self._execute(cell.number, cell.code)
                except SandboxForgot:
                    raise
                except SandboxLost as loss:
                    self._finish(cell.number, replace(cell.outcome, lost=str(loss)))
                    await self._leave()
                    break

    async def _open(self) -> SandboxRepl:
        """A new REPL: under the name of one that was forgotten, if its isolate is met empty."""
        if self._name:
            try:
                return await self._open_named()
            except InvocationSpent:  # nor could another one be opened
                raise
            except (SandboxForgot, StorageUnavailable):  # it is not empty, or was left in disorder
                pass
        self._name = uuid.uuid4().hex
        return await self._open_named()

    async def _open_named(self) -> SandboxRepl:
        await self._pay()
        config = self.task.run.job.config
        setup = {
            "documents": self.task.passage.documents(),
            "query": self.task.query,
            "tools": [*_TOOLS, "cite"] if self.task.may_cite else _TOOLS,
            "output_limit": config.max_output_characters,
            "seed": seed_of(self.task.run.job.session_id, self.task.path),
        }
        session_id = self.task.run.job.session_id
        return await self.sandbox.open(self._name, session_id, json.dumps(setup), self.seconds, self._answer)

    async def _answer(self, request: str) -> str:
        if self._calls is None:
            await self.task.run.ports.clock.sleep(TURNED_AWAY_SECONDS)
            return json.dumps({"error": "no cell is running"})
        return await self._calls.answer(request)

    async def _execute(self, number: int, code: str) -> CellOutcome:
        assert self._isolate is not None
        await self._pay()  # the day may have changed
        calls = self._calls = CellCalls(self.task, self.cells, number)
        clock, limit = self.task.run.ports.clock, self.task.run.job.config.max_output_characters
        started = clock.now()
        cited = [place for before, places in self._cited.items() if before < number for place in places]
        try:
            text = await self._within_limit(self._isolate.run(self._request(number, code, cited)), calls)
        except SandboxLost:
            if calls.spent is not None:  # it was told to end, and did so where nothing holds it
                raise calls.spent from None
            raise
        finally:
            await calls.close()
        if calls.spent is not None:
            raise calls.spent
        report = parse_report(text, number, limit)
        if not report.finished:
            await self._check_health(number)
        outcome = _outcome(self.task, report, calls, round((clock.now() - started) * 1000))
        new = newly_cited(self.task.passage, cited, report.cited)
        return replace(outcome, cited=new, left=left(self.task), turns_left=turns_left(self.task))

    def _request(self, number: int, code: str, cited: list[Interval]) -> str:
        """What the isolate is told to run; a cell of an earlier session runs with what that one began with."""
        request: dict[str, object] = {"cell": number, "code": code, "seconds": self.seconds, "cited": cited}
        if number <= self.inherited and (origin := self.cells.origin(number)) is not None:
            request |= {"seed": origin.seed, "query": origin.query}
        return json.dumps(request)

    async def _check_health(self, number: int) -> None:
        """Runs nothing at all: a cell that leaves its REPL broken is to blame for it, not the one that comes next."""
        assert self._isolate is not None
        calls = CellCalls(self.task, self.cells, number)
        nothing = json.dumps({"cell": number, "code": "", "seconds": _HEALTH_SECONDS})
        text = await self._within_limit(self._isolate.run(nothing), calls)
        if parse_report(text, number, self.task.run.job.config.max_output_characters).failed:
            raise SandboxLost("it broke the REPL that it ran in")

    async def _within_limit(self, work: Awaitable[str], calls: CellCalls) -> str:
        """Waits for a cell; gives up when it has computed for much longer than it may."""
        clock, allowed = self.task.run.ports.clock, self.seconds * _GRACE_FACTOR + _GRACE_SECONDS
        started, running = clock.now(), asyncio.ensure_future(work)
        try:
            while True:
                left = allowed - (clock.now() - started - calls.waited_seconds)
                if left <= 0 and not calls.is_waiting:
                    raise SandboxLost(f"it took longer than {self.seconds:g} s and could not be stopped")
                done, _ = await asyncio.wait({running}, timeout=max(0.5, left))
                if done:
                    return running.result()
        finally:
            running.cancel()


def open_repl(task: Task, seconds: float, inherited: Inherited) -> DurableRepl:
    """The REPL of a task, behind the cells that it inherits; raises `BindingMissing` where there is no sandbox."""
    ports = task.run.ports
    if ports.sandbox is None or ports.cells is None:
        raise BindingMissing("RLM_LOADER", "strategy repl")
    repl = DurableRepl(task, ports.sandbox, ports.cells, seconds, inherited.cells)
    repl.begin_with(inherited.cited)
    return repl


def _outcome(task: Task, report: Report, calls: CellCalls, duration_ms: int) -> CellOutcome:
    for start, end in placed(task.passage, report.shown):
        calls.read.add(start, end)
    return CellOutcome(
        output=report.output,
        failed=report.failed,
        finished=report.finished,
        final=report.final,
        draft=report.draft or "",
        variables=tuple(report.variables),
        read=tuple(calls.read.intervals()),
        limits=tuple(calls.limits),
        cost_usd=calls.cost_usd,
        duration_ms=duration_ms,
    )


def turns_left(task: Task) -> int:
    """How many turns a task has left, without what is kept for the last words of it and of those above."""
    ledger = task.run.ledger
    return max(0, ledger.remaining_iterations() - min(task.depth + 1, ledger.limits.max_iterations - 1))


def left(task: Task) -> str:
    """What a run's limits leave to its next cells."""
    ledger = task.run.ledger
    usd, seconds = ledger.remaining_usd(), ledger.remaining_seconds()
    told = [f"{max(0, ledger.remaining_sub_calls()):,} sub-calls"]
    told += [] if usd is None else [f"${max(0.0, usd):.4f}"]
    told += [] if seconds is None else [f"{max(0.0, seconds):.0f} s"]
    return ", ".join(told)


def _lost(reason: str, calls: CellCalls | None = None) -> CellOutcome:
    """What is left of a cell whose isolate is gone: what it asked was paid and read all the same."""
    if calls is None:
        return CellOutcome(output="", failed=True, lost=reason)
    return CellOutcome(
        output="",
        failed=True,
        read=tuple(calls.read.intervals()),
        limits=tuple(calls.limits),
        cost_usd=calls.cost_usd,
        lost=reason,
    )

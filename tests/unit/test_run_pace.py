"""A run asks for leave in bundles, loses none, and goes on where nobody gives it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from rlm_worker.budget.funding import UNLIMITED_USD, Funds, Grant, Unlimited
from rlm_worker.budget.ledger import Ledger, UsageLimits
from rlm_worker.errors import RetryableError, UsageLimitExceeded
from rlm_worker.journal.session import SessionJournal
from rlm_worker.messages import Message, ModelReply, ModelRequest, ModelSpec
from rlm_worker.models.catalog import Catalog
from rlm_worker.models.stack import ModelStack
from rlm_worker.pace.client import UNPACED_SECONDS, Party, RunPace, WatchedPace
from rlm_worker.pace.keeper import PaceKeeper
from rlm_worker.pace.rates import Rates
from rlm_worker.ports import Deployment, Model, PaceRequest, Rate
from rlm_worker.testing import FunctionModel, ManualClock, MemoryPace, SqliteDatabase, reply_of, unpaced
from tests.unit.test_map_reduce import RealClock

NOW = PaceRequest(waiting=1)


def sub() -> ModelSpec:
    model = Catalog.standard().find("llama-3.2-3b")  # one without a fallback
    assert model is not None
    return model


def run_pace(pace: MemoryPace, run: str = "run", calls: int = 300, seconds: float = 60.0) -> RunPace:
    return RunPace(Party(pace, Rates(calls, {}, seconds), pace.clock, "ada", run))


async def test_leave_comes_in_bundles() -> None:
    pace = MemoryPace(RealClock())
    run = run_pace(pace)
    await asyncio.gather(*(run.acquire(sub()) for _ in range(24)))
    assert len(pace.asked) == 1
    for _ in range(40):
        await run.acquire(sub())
    assert len(pace.asked) <= 5
    await run.close()


async def test_single_call_wastes_nothing() -> None:
    pace = MemoryPace(RealClock())
    run = run_pace(pace)
    await run.acquire(sub())
    await run.close()
    assert pace.left == []
    assert pace.asked == [PaceRequest(waiting=1)]


async def test_unused_leave_is_given_back() -> None:
    pace = MemoryPace(RealClock())
    run = run_pace(pace)
    for _ in range(2):
        await run.acquire(sub())
    await run.acquire(sub())
    await run.close()
    granted = sum(request.waiting + request.ahead for request in pace.asked)
    assert pace.left == ([("run", granted - 3)] if granted > 3 else [])


async def test_old_leave_is_none() -> None:
    """What was not used in time goes back with the next question."""
    clock = ManualClock()
    pace = MemoryPace(clock)
    run = run_pace(pace)
    await asyncio.gather(*(run.acquire(sub()) for _ in range(4)))
    await run.acquire(sub())
    clock.time += 5
    await run.acquire(sub())
    assert pace.asked[-1].unused == pace.asked[-2].ahead > 0
    await run.close()


async def test_cancelled_call_leaves_its_leave() -> None:
    pace = MemoryPace(RealClock())
    run = run_pace(pace, calls=2, seconds=1.0)
    await run.acquire(sub())
    first, second = (asyncio.create_task(run.acquire(sub())) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.wait_for(second, 10)
    await run.close()


async def test_cancelled_run_frees_the_pace() -> None:
    pace = MemoryPace(RealClock())
    greedy, small = run_pace(pace, "greedy", 2, 1.0), run_pace(pace, "small", 2, 1.0)
    waiting = [asyncio.create_task(greedy.acquire(sub())) for _ in range(50)]
    await asyncio.sleep(0.01)
    for call in waiting:
        call.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await greedy.close()
    assert pace.left == [("greedy", 0)]
    await asyncio.wait_for(small.acquire(sub()), 10)
    await small.close()


async def test_unreachable_pace_stops_nobody() -> None:
    clock = ManualClock()
    pace = MemoryPace(clock, failing=True)
    run = run_pace(pace)
    await asyncio.gather(*(run.acquire(sub()) for _ in range(30)))
    assert len(pace.asked) == 1
    pace.failing = False
    clock.time += UNPACED_SECONDS + 1
    await run.acquire(sub())
    assert len(pace.asked) == 2
    await run.close()


class OddPace(MemoryPace):
    """Answers with something else than it should."""

    async def take(self, model: str, rate: Rate, owner: str, run: str, request: PaceRequest) -> int:
        raise TypeError("not a function")


async def test_odd_answer_stops_nobody() -> None:
    run = run_pace(OddPace(RealClock()))
    await asyncio.wait_for(asyncio.gather(*(run.acquire(sub()) for _ in range(30))), 10)
    await run.close()


async def test_other_providers_are_not_asked() -> None:
    pace = MemoryPace(RealClock())
    run = run_pace(pace)
    await run.acquire(replace(sub(), id="openrouter:some/model"))
    assert pace.asked == []
    await run.close()


async def test_second_life_takes_over() -> None:
    """A run that asks again is another life of it: the question of the first one is answered with nothing."""
    keeper, rate = PaceKeeper(SqliteDatabase(), RealClock()), Rate(1, 1.0)
    assert await keeper.take(("ada", "run"), rate, NOW) == 1
    first = asyncio.create_task(keeper.take(("ada", "run"), rate, NOW))
    await asyncio.sleep(0.01)
    second = asyncio.create_task(keeper.take(("ada", "run"), rate, NOW))
    assert await first == 0
    assert await asyncio.wait_for(second, 10) == 1


async def test_lost_object_remembers_its_grants() -> None:
    """What a restart forgets is no more than a twentieth of the rate."""
    database, clock = SqliteDatabase(), ManualClock()
    keeper, rate = PaceKeeper(database, clock), Rate(300)
    for number in range(18):
        await keeper.take(("ada", f"run {number}"), rate, PaceRequest(waiting=10))
    again = PaceKeeper(database.copy(), clock)
    tasks = [asyncio.create_task(again.take(("ada", f"new {n}"), rate, PaceRequest(waiting=10))) for n in range(20)]
    await asyncio.sleep(0.01)
    assert sum(task.result() for task in tasks if task.done()) <= 15
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_counts_alone_are_kept() -> None:
    """Nothing of a key or a run lies in a pace's storage, which no deletion of theirs reaches."""
    database = SqliteDatabase()
    await PaceKeeper(database, ManualClock()).take(("ada", "run"), Rate(300), PaceRequest(waiting=24))
    tables = [str(name) for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    assert tables == ["granted"]
    assert [[type(cell) for cell in row] for row in database.execute("SELECT * FROM granted")] == [[int, int]]


async def test_changed_rate_holds_at_once() -> None:
    keeper = PaceKeeper(SqliteDatabase(), ManualClock())
    assert await keeper.take(("ada", "run"), Rate(300), PaceRequest(waiting=24)) == 24
    waiting = asyncio.create_task(keeper.take(("ada", "run"), Rate(20), NOW))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


class Minute:
    """A model that takes so many calls in any window, and refuses the rest."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self.clock = RealClock()
        self.taken: list[float] = []
        self.refused = 0

    async def answer(self, request: ModelRequest) -> ModelReply:
        now = self.clock.now()
        if sum(at > now - self.rate.seconds for at in self.taken) >= self.rate.calls:
            self.refused += 1
            raise RetryableError("too many", 3021, capacity=True)
        self.taken.append(now)
        await asyncio.sleep(0.01)
        return reply_of(request, "blue")


def stack_on(
    model: Model, clock: RealClock | ManualClock, pace: RunPace, limits: UsageLimits | None = None, **allowed: float
) -> Model:
    journal, ledger = SessionJournal(SqliteDatabase()), Ledger(limits or UsageLimits(1e9, 10_000), clock.now)
    deployment = replace(Deployment(), **allowed)  # type: ignore[arg-type]
    stack = ModelStack(model, journal, clock, Catalog.standard(), deployment, ledger, pace)
    return stack.build(Funds(ledger, Grant(Unlimited(), "ada", "run", UNLIMITED_USD)))


def question(number: int | str) -> ModelRequest:
    return ModelRequest(sub(), (Message("user", f"question {number}"),), 10)


async def test_many_runs_one_rate() -> None:
    """Ten runs, each with a limiter of its own, send no more than the account's rate together."""
    rate = Rate(60, 1.0)
    minute, pace = Minute(rate), MemoryPace(RealClock())
    paces = [run_pace(pace, f"run {number}", rate.calls, rate.seconds) for number in range(10)]
    runs = [stack_on(FunctionModel(minute.answer), RealClock(), each) for each in paces]
    calls = [run.complete(question(number)) for run in runs for number in range(20)]
    assert len(await asyncio.gather(*calls)) == 200
    assert minute.refused == 0
    await asyncio.gather(*(each.close() for each in paces))


def refusing(times: int, error: Callable[[], RetryableError]) -> FunctionModel:
    failed: list[int] = []

    def answer(request: ModelRequest) -> ModelReply:
        if len(failed) < times:
            failed.append(1)
            raise error()
        return reply_of(request, "blue")

    return FunctionModel(answer)


def busy(retry_after: float = 0.0) -> RetryableError:
    return RetryableError("too many", 3021, retry_after, capacity=True)


async def test_refusals_use_no_attempts() -> None:
    clock = ManualClock()
    model = stack_on(refusing(30, busy), clock, unpaced(clock), attempts=2)
    assert (await model.complete(question(1))).text == "blue"


async def test_patience_ends() -> None:
    clock = ManualClock()
    model = stack_on(refusing(10_000, busy), clock, unpaced(clock), attempts=3, patience_seconds=300.0)
    began = clock.now()
    with pytest.raises(RetryableError):
        await model.complete(question(1))
    assert 300 <= clock.now() - began <= 400


async def test_failures_use_attempts() -> None:
    clock = ManualClock()
    adapter = refusing(10_000, lambda: RetryableError("broken", 3043))
    with pytest.raises(RetryableError):
        await stack_on(adapter, clock, unpaced(clock), attempts=3).complete(question(1))
    assert len(adapter.requests) == 3


async def test_deadline_is_the_patience() -> None:
    """With a deadline a refused call is tried until then, whatever the deployment's patience."""
    clock = RealClock()
    limits = UsageLimits(deadline=clock.now() + 0.4)
    adapter = refusing(10_000, busy)
    model = stack_on(adapter, clock, unpaced(clock), limits, patience_seconds=0.0, backoff_seconds=0.01, attempts=2)
    with pytest.raises(UsageLimitExceeded):
        await model.complete(question(1))
    assert len(adapter.requests) > 3


async def test_retry_after_is_capped() -> None:
    clock = ManualClock()
    model = stack_on(refusing(1, lambda: busy(86_400.0)), clock, unpaced(clock))
    await model.complete(question(1))
    assert sum(clock.slept) <= 2 * 60 + 1


async def test_refusal_is_told_to_the_pace() -> None:
    pace = MemoryPace(RealClock())
    run = run_pace(pace, calls=300, seconds=1.0)
    model = stack_on(refusing(1, busy), RealClock(), run, backoff_seconds=0.01)
    await model.complete(question(1))
    assert [request.refused for request in pace.asked] == [False, True]
    await run.close()


async def test_retried_call_goes_first() -> None:
    """A call that failed has waited before: it does not queue behind those that were never sent."""
    order: list[str] = []

    async def answer(request: ModelRequest) -> ModelReply:
        text = request.messages[0].content
        order.append(text)
        await asyncio.sleep(0.01)
        if len(order) == 1:
            raise RetryableError("broken", 3043)
        return reply_of(request, "blue")

    model = stack_on(
        FunctionModel(answer),
        RealClock(),
        unpaced(RealClock()),
        max_concurrency=1,
        first_concurrency=1,
        backoff_seconds=0.001,
    )
    await asyncio.gather(*(model.complete(question(number)) for number in range(8)))
    assert order.index("question 0", 1) <= 3


async def test_waiting_is_told() -> None:
    """Whoever asks how a run is doing hears that it waits for the model's rate."""
    clock = RealClock()
    pace = WatchedPace(MemoryPace(clock), clock)
    await pace.take("model", Rate(1), "ada", "run", NOW)
    assert not pace.keeps_waiting()
    waiting = asyncio.create_task(pace.take("model", Rate(1), "ada", "run", NOW))
    await asyncio.sleep(1.1)
    assert pace.keeps_waiting()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert not pace.keeps_waiting()

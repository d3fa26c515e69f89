"""A session lives through crashes and pays for nothing twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from rlm_worker.budget.account import AccountLimits
from rlm_worker.errors import Conflict, NotFound, StorageUnavailable
from rlm_worker.journal.session import SessionJournal
from rlm_worker.messages import ModelReply, ModelRequest
from rlm_worker.models.catalog import Catalog
from rlm_worker.ports import Accounts, Cell, DeltaSink, Sandbox
from rlm_worker.runs.job import Job
from rlm_worker.runs.run import RunPorts
from rlm_worker.sessions.session import Session
from rlm_worker.testing import (
    FunctionModel,
    ManualClock,
    MemoryAccounts,
    MemoryCache,
    MemoryMetrics,
    MemoryStore,
    SqliteDatabase,
    memory_ports,
    reply_of,
)
from rlm_worker.wire.results import RunResult, Trajectory
from tests.unit.conftest import job_for

TEXT = "".join(f"{number}. The grass is green and the sky is blue. " for number in range(2_000))


@dataclass
class Storage:
    """What outlives a session's object, and what it sets and deletes."""

    database: SqliteDatabase
    alarms: list[float] = field(default_factory=list)
    erased: int = 0

    async def set(self, at: float) -> None:
        self.alarms.append(at)

    async def erase(self) -> None:
        self.erased += 1
        for (table,) in self.database.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
            self.database.execute(f"DROP TABLE {table}")


def open_session(
    storage: Storage,
    model: FunctionModel,
    cache: MemoryCache | None = None,
    accounts: Accounts | None = None,
    store: MemoryStore | None = None,
    *,
    sandbox: Sandbox | None = None,
) -> Session:
    def ports(journal: SessionJournal) -> RunPorts:
        usual = replace(memory_ports(model), journal=journal, events=journal, cache=cache or MemoryCache())
        usual = replace(usual, sandbox=sandbox, cells=journal.cells(usual.clock.now))
        return usual if accounts is None else replace(usual, accounts=accounts)

    journal = SessionJournal(storage.database)
    return Session(
        journal,
        ports,
        store or MemoryStore(),
        MemoryMetrics(),
        alarm=storage,
        eraser=storage,
        retention_seconds=600,
    )


async def a_job(query: str = "what colour is the sky?", **config: object) -> Job:
    return await job_for([(None, TEXT)], query, {"chunkSize": 4_000, **config}, 1_700_000_000.0)


async def trajectory_calls(session: Session) -> list[dict[str, Any]]:
    """The calls of a session as its owner reads them."""
    written = "".join([text async for text in session.trajectory("json")])
    found = Trajectory.model_validate_json(written)
    return [call.model_dump(by_alias=True) for call in found.calls]


def answering(request: ModelRequest) -> ModelReply:
    text = "blue" if request.role == "root" else f"evidence {request.span.index if request.span else ''}"
    return reply_of(request, text)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(SqliteDatabase(str(tmp_path / "session.db")))


async def test_crash_pays_nothing_twice(storage: Storage) -> None:
    undisturbed = open_session(Storage(SqliteDatabase()), FunctionModel(answering))
    await undisturbed.start(await a_job(), context_stored=True)
    expected = await undisturbed.wait()

    survived = 0
    asked: list[str] = []

    async def dying(request: ModelRequest) -> ModelReply:
        nonlocal survived
        if survived == 9:
            await asyncio.sleep(3600)
        survived += 1
        asked.append(request.key())
        return answering(request)

    first = open_session(storage, FunctionModel(dying))
    await first.start(await a_job(), context_stored=True)
    while survived < 9:  # noqa: ASYNC110 - the model counts, it signals nothing
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)
    storage = Storage(storage.database.copy())  # what a crash leaves: nobody is told of it
    await first.delete()

    journalled = {call.key for call in SessionJournal(storage.database).calls()}
    second_model = FunctionModel(answering)
    second = open_session(storage, second_model)
    await second.on_alarm()
    result = await second.wait()
    assert result.answer == expected.answer
    assert result.sub_calls == expected.sub_calls
    assert result.cost_usd == pytest.approx(expected.cost_usd)
    assert len(journalled) == 9
    assert not journalled & {request.key() for request in second_model.requests}


async def test_hundred_callers_one_run(storage: Storage) -> None:
    model = FunctionModel(answering)
    session = open_session(storage, model)
    job = await a_job()

    async def call() -> RunResult:
        started = await session.start(job, context_stored=True)
        return started if isinstance(started, RunResult) else await session.wait()

    results = await asyncio.gather(*(call() for _ in range(100)))
    assert {result.answer for result in results} == {"blue"}
    assert len(model.asked("synthesize")) == 1


async def test_other_body_is_conflict(storage: Storage) -> None:
    session = open_session(storage, FunctionModel(answering))
    await session.start(await a_job(), context_stored=True)
    with pytest.raises(Conflict):
        await session.start(await a_job("another question?"), context_stored=True)
    await session.wait()


async def test_fresh_result_is_hit(storage: Storage) -> None:
    model = FunctionModel(answering)
    session = open_session(storage, model)
    await session.start(await a_job(), context_stored=True)
    first = await session.wait()
    calls = len(model.requests)
    again = await session.start(await a_job(), context_stored=True)
    assert isinstance(again, RunResult)
    assert again.cache_hit
    assert again.answer == first.answer
    assert again.cost_usd == 0
    assert len(model.requests) == calls


async def test_bypass_runs_again(storage: Storage) -> None:
    model = FunctionModel(answering)
    session = open_session(storage, model)
    job = await a_job(useCache=False)
    await session.start(job, context_stored=True)
    await session.wait()
    calls = len(model.requests)
    assert await session.start(job, context_stored=True) == "running"
    result = await session.wait()
    assert len(model.requests) == 2 * calls
    assert not result.cache_hit


async def test_failed_run_resumes(storage: Storage) -> None:
    broken = True

    def once_broken(request: ModelRequest) -> ModelReply:
        if broken and request.role == "root":
            raise RuntimeError("no root today")
        return answering(request)

    model = FunctionModel(once_broken)
    session = open_session(storage, model)
    await session.start(await a_job(), context_stored=True)
    failed = await session.wait()
    assert not failed.success
    maps = len(model.asked("map"))
    broken = False
    await session.start(await a_job(), context_stored=True)
    assert (await session.wait()).answer == "blue"
    assert len(model.asked("map")) == maps


async def test_deletion_leaves_nothing(storage: Storage) -> None:
    cache = MemoryCache()
    session = open_session(storage, FunctionModel(answering), cache)
    await session.start(await a_job(), context_stored=True)
    await session.wait()
    assert cache.values
    await session.delete()
    assert not cache.values
    assert storage.erased == 1
    assert not storage.database.execute("SELECT name FROM sqlite_master")
    with pytest.raises(NotFound):
        session.state()


async def test_deletion_stops_run(storage: Storage) -> None:
    async def endless(request: ModelRequest) -> ModelReply:
        await asyncio.sleep(3600)
        return answering(request)

    session = open_session(storage, FunctionModel(endless))
    await session.start(await a_job(), context_stored=True)
    waiting = asyncio.create_task(session.wait())
    await asyncio.sleep(0.01)
    await session.delete()
    result = await waiting
    assert result.error is not None
    assert result.error.type == "cancelled"


async def test_last_asker_takes_session_along(storage: Storage) -> None:
    """Whoever else has asked keeps it, whether before the batch, after it, or in another one."""
    session = open_session(storage, FunctionModel(answering))
    for batch in ("one", "two", "one", ""):
        await session.start((await a_job()).model_copy(update={"batch_id": batch}), context_stored=True)
    await session.wait()
    for batch in ("two", "one", "one", "unknown"):
        await session.leave(batch)
        assert session.state().status == "completed"
    await session.delete()
    with pytest.raises(NotFound):
        await session.leave("one")


async def test_batch_takes_its_own_along(storage: Storage) -> None:
    session = open_session(storage, FunctionModel(answering))
    await session.start((await a_job()).model_copy(update={"batch_id": "one"}), context_stored=True)
    await session.start((await a_job()).model_copy(update={"batch_id": "two"}), context_stored=True)
    await session.leave("one")
    assert session.running
    await session.leave("two")
    assert not storage.database.execute("SELECT name FROM sqlite_master")


class SlowCache(MemoryCache):
    """A cache that takes a while to keep something, and keeps it whether or not its caller still waits."""

    async def put(self, key: str, value: str) -> None:
        await asyncio.shield(asyncio.create_task(self._late(key, value)))

    async def _late(self, key: str, value: str) -> None:
        await asyncio.sleep(0.05)
        self.values[key] = value


async def test_deletion_waits_for_last_write(storage: Storage) -> None:
    """Those who wait are answered before the result is cached; deleted right then, it must not come back."""
    cache = SlowCache()
    session = open_session(storage, FunctionModel(answering), cache)
    await session.start(await a_job(), context_stored=True)
    await session.wait()
    await session.delete()
    await asyncio.sleep(0.1)
    assert not cache.values
    assert not storage.database.execute("SELECT name FROM sqlite_master")


async def test_start_waits_for_deletion(storage: Storage) -> None:
    """A request that meets a deletion begins after it, on clean storage."""
    session = open_session(storage, FunctionModel(answering), SlowCache())
    await session.start(await a_job(), context_stored=True)
    await session.wait()
    deletion = asyncio.create_task(session.delete())
    await asyncio.sleep(0.01)
    assert await session.start(await a_job(), context_stored=True) == "running"
    await deletion
    assert storage.erased == 1
    result = await session.wait()
    assert result.answer == "blue"
    assert not result.cache_hit
    assert session.state().status == "completed"


async def test_slow_follower_sees_deletion(storage: Storage) -> None:
    """One that was not listening while the session went is let go all the same."""
    hanging = asyncio.Event()

    async def endless(request: ModelRequest) -> ModelReply:
        await hanging.wait()
        return answering(request)

    session = open_session(storage, FunctionModel(endless))
    await session.start(await a_job(), context_stored=True)
    events = session.follow(0)
    await anext(events)
    await session.delete()
    async with asyncio.timeout(5):
        assert [kind async for _, kind, _ in events] in ([], ["plan"])


async def test_replaced_context_is_deleted(storage: Storage) -> None:
    """The same request with its text and then with a context that was put: the text of the first run goes."""
    store = MemoryStore({"sessions/s/context": TEXT.encode(), "contexts/o/ctx": TEXT.encode()})
    session = open_session(storage, FunctionModel(answering), store=store)
    own = (await a_job(useCache=False)).model_copy(update={"context_text": None, "context_key": "sessions/s/context"})
    await session.start(own, context_stored=True)
    await session.wait()
    put = own.model_copy(update={"context_key": "contexts/o/ctx", "context_owned": False})
    await session.start(put, context_stored=True)
    assert (await session.wait()).answer == "blue"
    await session.delete()
    assert set(store.objects) == {"contexts/o/ctx"}


async def test_follower_misses_nothing(storage: Storage) -> None:
    session = open_session(storage, FunctionModel(answering))
    await session.start(await a_job(), context_stored=True)
    seen = [event async for event in session.follow(0)]
    assert [number for number, _, _ in seen] == list(range(1, len(seen) + 1))
    assert [kind for _, kind, _ in seen][:2] == ["session", "plan"]
    assert seen[-1][1] == "result"
    middle = seen[len(seen) // 2][0]
    assert [event async for event in session.follow(middle)] == seen[middle:]


async def test_asking_leaves_no_trace(storage: Storage) -> None:
    session = open_session(storage, FunctionModel(answering))
    with pytest.raises(NotFound):
        session.state()
    assert not storage.database.execute("SELECT name FROM sqlite_master")


async def test_old_session_goes(storage: Storage) -> None:
    session = open_session(storage, FunctionModel(answering))
    await session.start(await a_job(), context_stored=True)
    await session.wait()
    await asyncio.sleep(0)
    session._ports.clock.time += 601  # type: ignore[attr-defined]
    await session.on_alarm()
    assert storage.erased == 1


async def test_old_session_begun_anew_stays(storage: Storage) -> None:
    """Its alarm may meet a request that has just begun it again."""
    session = open_session(storage, FunctionModel(answering))
    await session.start(await a_job(), context_stored=True)
    await session.wait()
    await asyncio.sleep(0)
    session._ports.clock.time += 3_601  # type: ignore[attr-defined]
    async with session._starting:
        alarm = asyncio.create_task(session.on_alarm())
        await asyncio.sleep(0.01)
        assert await session._started(await a_job(), context_stored=True) == "running"
    await alarm
    assert storage.erased == 0
    assert (await session.wait()).answer == "blue"


async def test_trajectory_shows_prompts(storage: Storage) -> None:
    model = FunctionModel(answering)
    session = open_session(storage, model)
    await session.start(await a_job(), context_stored=True)
    result = await session.wait()
    found = json.loads("".join([text async for text in session.trajectory("json")]))
    rows = found["calls"]
    assert isinstance(rows, list)
    assert found["failedAttempts"] == []
    assert len(rows) == result.sub_calls + result.iterations
    sent = {request.messages[-1].content for request in model.requests}
    assert {row["prompt"][-1]["content"] for row in rows} == sent


async def test_earlier_versions_job_goes_on(storage: Storage) -> None:
    """A deploy does not lose the sessions that its predecessor has begun."""
    job = await a_job()
    session = open_session(storage, FunctionModel(answering))
    session._record.begin(job.model_copy(update={"run_id": "r"}))
    written = {**json.loads(session._journal.fact("job") or ""), "labels": {}}
    session._journal.set_fact("job", json.dumps(written))
    later = open_session(storage, FunctionModel(answering))
    await later.on_alarm()
    assert (await later.wait()).answer == "blue"


# Races between who asks, who reads, who leaves and what crashes.


def endless_until(go_on: asyncio.Event) -> FunctionModel:
    async def reply(request: ModelRequest) -> ModelReply:
        await go_on.wait()
        return answering(request)

    return FunctionModel(reply)


async def read_all(session: Session, after: int = 0) -> list[tuple[int, str, str]]:
    return [event async for event in session.follow(after)]


async def test_retry_hides_old_failure(storage: Storage) -> None:
    broken = True

    def once_broken(request: ModelRequest) -> ModelReply:
        if broken and request.role == "root":
            raise RuntimeError("no root today")
        return answering(request)

    session = open_session(storage, FunctionModel(once_broken))
    await session.start(await a_job(), context_stored=True)
    failed = await read_all(session)
    assert failed[-1][1] == "error"
    broken = False
    await session.start(await a_job(), context_stored=True)
    again = await read_all(session)
    assert [kind for _, kind, _ in again if kind in ("error", "result")] == ["result"]
    assert {kind for _, kind, _ in again} >= {"session", "plan", "subcall"}
    assert again[0][0] > failed[-1][0], "who reads on from the failure misses nothing"


async def test_cancelled_run_starts_clean(storage: Storage) -> None:
    go_on = asyncio.Event()
    session = open_session(storage, endless_until(go_on))
    leaving = (await a_job()).model_copy(update={"cancel_on_disconnect": True})
    await session.start(leaving, context_stored=True)
    await session.reader_left()
    assert session.state().status == "cancelled"
    go_on.set()
    assert await session.start(await a_job(), context_stored=True) == "running"
    assert [kind for _, kind, _ in await read_all(session) if kind in ("error", "result")] == ["result"]


async def test_reload_keeps_run(storage: Storage) -> None:
    """A page that is loaded anew joins its run before the platform has noticed that the old one left."""
    go_on = asyncio.Event()
    session = open_session(storage, endless_until(go_on))
    leaving = (await a_job()).model_copy(update={"cancel_on_disconnect": True})
    await session.start(leaving, context_stored=True)
    await session.start(leaving, context_stored=True)
    reading = asyncio.create_task(read_all(session))
    await asyncio.sleep(0.01)
    await session.reader_left()
    go_on.set()
    assert (await reading)[-1][1] == "result"


async def test_joining_caller_keeps_run(storage: Storage) -> None:
    """Somebody who never said that leaving means stopping wants the answer, whether or not he reads just now."""
    go_on = asyncio.Event()
    session = open_session(storage, endless_until(go_on))
    await session.start((await a_job()).model_copy(update={"cancel_on_disconnect": True}), context_stored=True)
    await session.start(await a_job(), context_stored=True)
    await session.reader_left()
    assert session.running
    go_on.set()
    assert (await session.wait()).answer == "blue"


async def test_leaving_waits_its_turn(storage: Storage) -> None:
    """Whoever joins a run holds the lock: a reader that leaves meanwhile finds out first who else is there."""
    go_on = asyncio.Event()
    session = open_session(storage, endless_until(go_on))
    leaving = (await a_job()).model_copy(update={"cancel_on_disconnect": True})
    await session.start(leaving, context_stored=True)
    async with session._starting:
        gone = asyncio.create_task(session.reader_left())
        await asyncio.sleep(0.01)
        await session._started(await a_job(), context_stored=True)
    await gone
    assert session.running
    await session.delete()


async def test_refresh_runs_after_last_write(storage: Storage) -> None:
    """A run that has ended may still be putting its result away when the next one begins."""
    model = FunctionModel(answering)
    session = open_session(storage, model, SlowCache())
    await session.start(await a_job(), context_stored=True)
    await session.wait()
    assert await session.start(await a_job(useCache=False), context_stored=True) == "running"
    async with asyncio.timeout(5):
        assert (await session.wait()).answer == "blue"
    assert len(model.asked("synthesize")) == 2
    assert storage.alarms[-1] > session._now()


class BrokenMetrics(MemoryMetrics):
    def record(self, point: object) -> None:
        raise OSError("no metrics today")


class BrokenCache(MemoryCache):
    async def put(self, key: str, value: str) -> None:
        if key.startswith("result:"):
            raise OSError("no cache today")


class BrokenAccounts(MemoryAccounts):
    async def close(self, owner: str, run: str, total: float) -> None:
        raise OSError("no account today")


@pytest.mark.parametrize("broken", ["metrics", "cache", "accounts"])
async def test_broken_ending_wakes_waiters(storage: Storage, broken: str) -> None:
    accounts = BrokenAccounts(AccountLimits(), ManualClock()) if broken == "accounts" else None
    cache = BrokenCache() if broken == "cache" else None
    session = open_session(storage, FunctionModel(answering), cache, accounts)
    if broken == "metrics":
        session._metrics = BrokenMetrics()
    await session.start(await a_job(), context_stored=True)
    async with asyncio.timeout(5):
        assert (await session.wait()).answer == "blue"
    assert session.state().status == "completed"


async def test_broken_account_stops_no_deletion(storage: Storage) -> None:
    accounts = BrokenAccounts(AccountLimits(), ManualClock())
    session = open_session(storage, endless_until(asyncio.Event()), accounts=accounts)
    await session.start(await a_job(), context_stored=True)
    await session.delete()
    assert storage.erased == 1


async def test_unreachable_account_is_asked_again(storage: Storage) -> None:
    accounts = MemoryAccounts(AccountLimits(daily_usd=1.0), ManualClock(), failing=True)
    session = open_session(storage, FunctionModel(answering), accounts=accounts)
    await session.start(await a_job(), context_stored=True)
    result = await session.wait()
    await asyncio.sleep(0)
    assert storage.alarms[-1] - session._now() <= 60
    await session.on_alarm()
    assert storage.alarms[-1] - session._now() <= 600
    accounts.failing = False
    await session.on_alarm()
    assert (await accounts.state("tester"))["spentTodayUsd"] == pytest.approx(result.cost_usd)
    assert storage.alarms[-1] == session._expires_at()


async def let_it_run() -> None:
    """Lets a run go on until it waits for something that will not come."""
    for _ in range(2_000):
        await asyncio.sleep(0)


async def lives_of(storage: Storage, model: FunctionModel, store: MemoryStore | None = None) -> tuple[int, RunResult]:
    """How often a run begins whose host dies whenever it waits, and how it ends."""
    session = open_session(storage, model, store=store)
    await session.start(await a_job(), context_stored=True)
    for lives in range(1, 50):
        await let_it_run()
        if (result := session.result()) is not None:
            return lives - 1, result
        assert session._task is not None
        session._task.cancel()
        await asyncio.gather(session._task, return_exceptions=True)
        session = open_session(storage, model, store=store)
        await session.revive()
    raise AssertionError("it goes on for ever")


async def test_poisoned_run_is_given_up(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose host dies at the same point each time, with no call under way, is not resumed for ever."""
    computed = 0

    async def deadly(*_: object, **__: object) -> None:
        nonlocal computed
        computed += 1
        await asyncio.sleep(3600)

    monkeypatch.setattr("rlm_worker.strategies.map_reduce.synthesize", deadly)
    model = FunctionModel(answering)
    lives, result = await lives_of(storage, model)
    assert (lives, computed) == (4, 4), "the first life got there from the beginning, three began there"
    assert result.error is not None
    assert result.error.type == "run_abandoned"
    assert result.cost_usd > 0, "what was paid is told all the same"
    assert len(model.requests) == result.sub_calls


async def test_waiting_run_outlives_more(storage: Storage) -> None:
    """Dying while a model is asked is hardly the run's doing, but each life pays for the call."""

    async def silent(request: ModelRequest) -> ModelReply:
        if request.role == "sub":
            return answering(request)
        await asyncio.sleep(3600)
        raise AssertionError

    lives, result = await lives_of(storage, FunctionModel(silent))
    assert 10 < lives <= 21
    assert result.error is not None
    assert result.error.type == "run_abandoned"


def never_answering(role: str) -> FunctionModel:
    """Whoever asks that role waits for ever."""

    async def answer(request: ModelRequest) -> ModelReply:
        if request.role == role:
            await asyncio.Event().wait()
        return answering(request)

    return FunctionModel(answer)


async def until_asked(model: FunctionModel, kind: str) -> None:
    while not model.asked(kind):  # noqa: ASYNC110 - the model counts, it signals nothing
        await asyncio.sleep(0.001)


async def test_cancelled_run_tells_cost(storage: Storage) -> None:
    model = never_answering("root")
    session = open_session(storage, model)
    await session.start((await a_job()).model_copy(update={"cancel_on_disconnect": True}), context_stored=True)
    await until_asked(model, "synthesize")
    await session.reader_left()
    result = session.result()
    assert result is not None
    assert result.error is not None
    assert result.error.type == "cancelled"
    assert result.cost_usd == pytest.approx(SessionJournal(storage.database).paid_usd())
    assert (await session.wait()).sub_calls == result.sub_calls > 0


async def test_withdrawn_model_tells_cost(storage: Storage) -> None:
    """A deploy may take a model away that a run has paid for."""
    model = never_answering("root")
    await open_session(storage, model).start(await a_job(), context_stored=True)
    await until_asked(model, "synthesize")
    storage = Storage(storage.database.copy())
    session = open_session(storage, model)
    session._ports = replace(session._ports, catalog=Catalog({}, {}))
    result = await asyncio.wait_for(session.wait(), 1)
    assert result.error is not None
    assert result.error.type == "not_configured"
    assert result.cost_usd == pytest.approx(SessionJournal(storage.database).paid_usd())


async def test_damaged_job_wakes_waiters(storage: Storage) -> None:
    session = open_session(storage, FunctionModel(answering))
    await session.start((await a_job()).model_copy(update={"manifest": "{"}), context_stored=True)
    result = await asyncio.wait_for(session.wait(), 1)
    assert result.error is not None
    assert result.error.type == "internal_error"


class BrokenStore(MemoryStore):
    """What it holds cannot be deleted."""

    async def delete(self, prefix: str) -> None:
        raise StorageUnavailable("R2 cannot be reached")


async def test_undeletable_session_keeps_result(storage: Storage) -> None:
    """It stays what it was, and is tried again soon."""
    job = (await a_job()).model_copy(update={"context_key": "sessions/x/y", "context_text": None})
    session = open_session(storage, FunctionModel(answering), store=BrokenStore({"sessions/x/y": TEXT.encode()}))
    await session.start(job, context_stored=True)
    await session.wait()
    await let_it_run()
    clock = session._ports.clock
    assert isinstance(clock, ManualClock)
    clock.time += 601
    with pytest.raises(StorageUnavailable):
        await session.on_alarm()
    result = session.result()
    assert result is not None
    assert result.answer == "blue"
    assert storage.alarms[-1] - clock.now() <= 300
    with pytest.raises(StorageUnavailable):
        await session.on_alarm()


class LateStore(MemoryStore):
    """Takes a while to write."""

    async def write(self, key: str, pieces: AsyncIterator[bytes]) -> None:
        await asyncio.sleep(0.05)
        self.objects[key] = b"".join([piece async for piece in pieces])


async def test_early_question_starts_no_second_run(storage: Storage) -> None:
    """Whoever asks while a stored context is being held meets no run that has no task yet."""
    where = {"context_key": "contexts/o/c", "context_text": None, "context_owned": False}
    job = (await a_job()).model_copy(update=where)
    store = LateStore({"contexts/o/c": TEXT.encode()})
    session = open_session(storage, FunctionModel(answering), store=store)
    metrics = session._metrics
    assert isinstance(metrics, MemoryMetrics)
    starting = asyncio.create_task(session.start(job, context_stored=True))
    while not starting.done():
        await session.revive()
        await asyncio.sleep(0.001)
    await session.wait()
    await let_it_run()
    assert len(metrics.points) == 1
    assert not await store.exists("contexts/o/c.read-by")


class RowLimit(SqliteDatabase):
    """SQLite as a Durable Object has it: nothing above 2 MB in one cell."""

    def execute(self, statement: str, *values: Cell) -> list[tuple[Cell, ...]]:
        if any(isinstance(value, str) and len(value.encode()) > 2_000_000 for value in values):
            raise RuntimeError("string or blob too big: SQLITE_TOOBIG")
        return super().execute(statement, *values)


async def test_long_prompt_is_booked() -> None:
    """A prompt for a model with a wide window has more bytes than a row takes; it was paid all the same."""
    storage = Storage(RowLimit())
    model = FunctionModel(answering)
    text = "трава зелёная, небо голубое; " * 14_000
    wide: dict[str, object] = {"strategy": "direct", "rootModel": "gemma-4-26b"}
    job = await job_for([(None, text)], "какого цвета небо?", wide, 1_700_000_000.0)
    job = job.model_copy(update={"context_key": "sessions/x/y", "context_text": None})
    session = open_session(storage, model, store=MemoryStore({"sessions/x/y": text.encode()}))
    await session.start(job, context_stored=True)
    result = await session.wait()
    assert result.answer == "blue"
    assert result.cost_usd == pytest.approx(SessionJournal(storage.database).paid_usd())
    (call,) = SessionJournal(storage.database).calls()
    assert call.messages == model.requests[0].messages
    SessionJournal(storage.database).forget_run()
    assert not storage.database.execute("SELECT * FROM facts WHERE name GLOB 'prompt*'")


async def test_deletion_books_late(storage: Storage) -> None:
    """The account could not be reached when the run ended; it can when its session is deleted."""
    clock = ManualClock()
    accounts = MemoryAccounts(AccountLimits(daily_usd=1.0), clock, failing=True)
    session = open_session(storage, FunctionModel(answering), accounts=accounts)
    await session.start(await a_job(), context_stored=True)
    result = await session.wait()
    accounts.failing = False
    await session.delete()
    state = await accounts.state("tester")
    assert state["spentTodayUsd"] == pytest.approx(result.cost_usd)
    assert state["grantedUsd"] == 0


class SpeakingModel(FunctionModel):
    """Says the beginning of an answer, and never its end."""

    def __init__(self) -> None:
        super().__init__(answering)
        self.speaking = asyncio.Event()

    async def complete(self, request: ModelRequest, deltas: DeltaSink | None = None) -> ModelReply:
        if deltas is None:
            return await FunctionModel.complete(self, request)
        deltas.write("the sky")
        deltas.write(" is blue")
        self.speaking.set()
        return await asyncio.Future()


class DistantCache(MemoryCache):
    """Is not there within the same turn of the loop."""

    async def delete(self, key: str) -> None:
        await asyncio.sleep(0.01)
        await MemoryCache.delete(self, key)


async def test_follower_hears_of_deletion(storage: Storage) -> None:
    """What a run still says in its last moment is not the end of its events."""
    model = SpeakingModel()
    session = open_session(storage, model, DistantCache())
    await session.start((await a_job()).model_copy(update={"stream": True}), context_stored=True)

    async def kinds() -> list[str]:
        return [kind async for _, kind, _ in session.follow(0)]

    following = asyncio.create_task(kinds())
    await asyncio.wait_for(model.speaking.wait(), 5)
    await session.delete()
    assert (await asyncio.wait_for(following, 5))[-2:] == ["answer", "error"]

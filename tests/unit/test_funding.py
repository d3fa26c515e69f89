"""A run spends nothing that its key's account has not granted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from rlm_worker.budget.account import FIRST_LEASE_SECONDS, AccountLimits
from rlm_worker.budget.funding import UNLIMITED_USD, Funded, Funds, Grant, Unlimited
from rlm_worker.budget.ledger import Ledger, UsageLimits
from rlm_worker.budget.shared import Exempt
from rlm_worker.errors import RateLimited, StorageUnavailable
from rlm_worker.messages import Message, ModelReply, ModelRequest
from rlm_worker.models.catalog import Catalog
from rlm_worker.sessions.session import Session
from rlm_worker.settings import LOCAL_OWNER
from rlm_worker.strategies.execute import execute
from rlm_worker.testing import FunctionModel, ManualClock, MemoryAccounts, MemoryStore, SqliteDatabase, memory_ports
from rlm_worker.text.context import InlineReader, gather_documents
from rlm_worker.wire.results import RunResult
from tests.unit.conftest import job_for
from tests.unit.test_session import Storage, a_job, answering, open_session

TEXT = "".join(f"{number}. The grass is green and the sky is blue. " for number in range(2_000))
NOW = 1_700_000_000.0


def accounts(daily: float | None, runs: int | None = None) -> MemoryAccounts:
    return MemoryAccounts(AccountLimits(daily, runs), ManualClock())


async def run_with(purse: MemoryAccounts, model: FunctionModel, text: str = TEXT, **config: object) -> RunResult:
    ports = replace(memory_ports(model), accounts=purse)
    job = await job_for([(None, text)], "what colour is the sky?", {"chunkSize": 4_000, **config}, NOW)
    granted = await purse.open(job.owner, "run", 0.0001)
    job = job.model_copy(update={"run_id": "run", "granted_usd": granted})
    manifest, parts = gather_documents([(None, text)])
    return await execute(job, InlineReader(manifest, b"".join(parts)), ports)


async def test_cap_is_never_passed() -> None:
    purse = accounts(0.003)
    result = await run_with(purse, FunctionModel(answering))
    assert 0 < result.cost_usd <= 0.003
    assert result.truncated
    assert any("KEY_DAILY_USD" in warning for warning in result.warnings)


async def test_ample_account_changes_nothing() -> None:
    funded = await run_with(accounts(5.0), FunctionModel(answering))
    free = await run_with(accounts(None), FunctionModel(answering))
    assert (funded.answer, funded.cost_usd, funded.sub_calls) == (free.answer, free.cost_usd, free.sub_calls)
    assert not funded.truncated


async def test_too_poor_for_one_call() -> None:
    model = FunctionModel(answering)
    result = await run_with(accounts(0.0002), model)
    assert result.error is not None
    assert result.error.type == "rate_limited"
    assert not model.requests


async def test_poor_key_reads_in_chunks() -> None:
    """Where the day's dollars do not surely cover one long call, several short ones bring the answer."""
    purse = accounts(0.006)
    model = FunctionModel(answering)
    result = await run_with(purse, model, TEXT[:45_000], chunkSize=50_000)
    assert (result.success, result.iterations) == (True, 1)
    assert not model.asked("direct")
    assert model.asked("map")
    assert 0 < result.cost_usd <= 0.006


async def test_session_books_its_cost() -> None:
    purse = accounts(5.0, runs=1)
    session = _session(FunctionModel(answering), purse)
    await session.start(await a_job(), context_stored=True)
    result = await session.wait()
    state = await purse.state("tester")
    assert state["spentTodayUsd"] == pytest.approx(result.cost_usd)
    assert state["runs"] == 0


async def test_joining_takes_no_slot() -> None:
    purse = accounts(5.0, runs=1)
    session = _session(FunctionModel(answering), purse)
    job = await a_job()
    assert await session.start(job, context_stored=True) == "running"
    assert await session.start(job, context_stored=True) == "running"
    await session.wait()
    assert isinstance(await session.start(job, context_stored=True), RunResult)


async def test_deletion_frees_slot_and_books() -> None:
    asked = asyncio.Event()

    async def endless(request: ModelRequest) -> ModelReply:
        asked.set()
        await asyncio.sleep(3600)
        return answering(request)

    purse = accounts(5.0, runs=1)
    session = _session(FunctionModel(endless), purse)
    await session.start(await a_job(), context_stored=True)
    await asked.wait()
    assert (await purse.state("tester"))["runs"] == 1
    await session.delete()
    state = await purse.state("tester")
    assert state["runs"] == 0
    assert float(str(state["spentTodayUsd"])) > 0  # what was under way may be billed all the same


async def test_failed_run_frees_slot() -> None:
    def broken(request: ModelRequest) -> ModelReply:
        raise RuntimeError("no")

    purse = accounts(5.0, runs=1)
    session = _session(FunctionModel(broken), purse)
    await session.start(await a_job(), context_stored=True)
    await session.wait()
    assert (await purse.state("tester"))["runs"] == 0


async def test_refusal_leaves_no_trace() -> None:
    purse = accounts(5.0, runs=1)
    await purse.open("tester", "another", 0.1)
    storage = Storage(SqliteDatabase())
    session = _session(FunctionModel(answering), purse, storage)
    with pytest.raises(Exception, match=r"concurrent run limit .*\(1\)"):
        await session.start(await a_job(), context_stored=True)
    assert not storage.database.execute("SELECT name FROM sqlite_master")


class FullStore(MemoryStore):
    """Takes nothing."""

    async def write(self, key: str, pieces: AsyncIterator[bytes]) -> None:
        raise StorageUnavailable("R2 write failed")


async def test_failed_beginning_frees_slot() -> None:
    """A run that could not begin holds nothing of its key's, and is presumed to have spent nothing."""
    purse = accounts(5.0, runs=1)
    session = open_session(Storage(SqliteDatabase()), FunctionModel(answering), None, purse, store=FullStore())
    put = {"context_text": None, "context_key": "contexts/o/ctx", "context_owned": False}
    with pytest.raises(StorageUnavailable):
        await session.start((await a_job()).model_copy(update=put), context_stored=True)
    assert (await purse.state("tester"))["runs"] == 0
    purse.clock.time += FIRST_LEASE_SECONDS + 1
    assert (await purse.state("tester"))["spentTodayUsd"] == 0


async def test_unreachable_account_books_later() -> None:
    purse = accounts(5.0, runs=1)
    session = _session(FunctionModel(answering), purse)
    await session.start(await a_job(), context_stored=True)
    purse.failing = True
    result = await session.wait()
    assert result.success
    assert (await purse.state("tester"))["runs"] == 1
    purse.failing = False
    await session.on_alarm()
    state = await purse.state("tester")
    assert (state["runs"], state["spentTodayUsd"]) == (0, pytest.approx(result.cost_usd))


async def funded_call(purse: MemoryAccounts, clock: ManualClock, granted: float, at: float) -> Funded:
    grant = Grant(purse, "tester", "run", granted, at=at)
    return Funded(FunctionModel(answering), Funds(Ledger(UsageLimits(), clock.now), grant, clock.now), Worst())


class Worst:
    """Every attempt may cost ten cents."""

    def worst_usd(self, request: ModelRequest) -> float:
        return 0.1


def a_request() -> ModelRequest:
    model = Catalog.standard().find("llama-3.1-8b")
    assert model is not None
    return ModelRequest(model, (Message("user", "why?"),), 10)


async def test_fresh_grant_asks_nobody() -> None:
    purse = accounts(0.05)
    await (await funded_call(purse, purse.clock, UNLIMITED_USD, purse.clock.now())).complete(a_request())
    assert (await purse.state("tester"))["runs"] == 0


async def test_cap_that_comes_later_holds() -> None:
    """A run that began while there was no limit asks within a minute, and is held to what is left."""
    purse = accounts(0.05)
    begun = purse.clock.now()
    purse.clock.time += 61
    with pytest.raises(RateLimited):
        await (await funded_call(purse, purse.clock, UNLIMITED_USD, begun)).complete(a_request())
    rich = accounts(5.0)
    rich.clock.time += 61
    await (await funded_call(rich, rich.clock, UNLIMITED_USD, begun)).complete(a_request())
    assert (await rich.state("tester"))["grantedUsd"] == pytest.approx(0.1)


async def test_lost_run_spends_todays_dollars() -> None:
    """One that was out of contact beyond its lease spends nothing that the new day has given to others."""
    purse = accounts(1.0)
    granted = await purse.open("tester", "run", 0.9)
    funded = await funded_call(purse, purse.clock, granted, purse.clock.now())
    purse.clock.time += 86_400
    await purse.open("tester", "another", 0.95)
    with pytest.raises(RateLimited):
        await funded.complete(a_request())


async def test_local_caller_is_exempt() -> None:
    """Who works on a local deployment without a key is held to nothing; a key that is made there is."""
    held = Exempt(accounts(0.05), Unlimited(), LOCAL_OWNER)
    assert await held.open(LOCAL_OWNER, "run", 1.0) == UNLIMITED_USD
    assert await held.open("ann", "run", 1.0) == 0.05
    assert not await held.state(LOCAL_OWNER)


async def test_short_silence_is_bridged() -> None:
    """Where the account cannot be reached a grant holds for as long as its lease surely does."""
    purse = accounts(1.0)
    granted = await purse.open("tester", "run", 0.9)
    funded = await funded_call(purse, purse.clock, granted, purse.clock.now())
    purse.failing = True
    purse.clock.time += 100
    await funded.complete(a_request())
    purse.clock.time += 20
    with pytest.raises(StorageUnavailable):
        await funded.complete(a_request())


def _session(model: FunctionModel, purse: MemoryAccounts, storage: Storage | None = None) -> Session:
    return open_session(storage or Storage(SqliteDatabase()), model, accounts=purse)

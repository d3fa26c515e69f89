"""A result that lost something for a passing reason says so, is kept nowhere, and asked again is completed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rlm_worker.budget.account import AccountLimits
from rlm_worker.errors import ModelError, RetryableError, TerminalError
from rlm_worker.messages import ModelReply, ModelRequest
from rlm_worker.testing import FunctionModel, ManualClock, MemoryAccounts, MemoryCache, SqliteDatabase
from tests.unit.test_session import Storage, a_job, answering, open_session


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(SqliteDatabase(str(tmp_path / "session.db")))


class Weather:
    """Fails on every third chunk while it is bad."""

    def __init__(self, error: Callable[[], ModelError]) -> None:
        self.error = error
        self.bad = True

    def __call__(self, request: ModelRequest) -> ModelReply:
        if self.bad and request.span is not None and request.span.index % 3 == 0:
            raise self.error()
        return answering(request)


async def test_passing_loss_is_marked(storage: Storage) -> None:
    cache = MemoryCache()
    session = open_session(storage, FunctionModel(Weather(lambda: RetryableError("broken", 3043))), cache)
    await session.start(await a_job(), context_stored=True)
    result = await session.wait()
    assert result.success
    assert result.incomplete
    assert result.coverage < 1
    assert any("passing reasons" in warning for warning in result.warnings)
    assert not [key for key in cache.values if key.startswith("result:")]


async def test_lasting_loss_is_kept(storage: Storage) -> None:
    cache = MemoryCache()
    session = open_session(storage, FunctionModel(Weather(lambda: TerminalError("no", 5004))), cache)
    await session.start(await a_job(), context_stored=True)
    result = await session.wait()
    assert not result.incomplete
    assert [key for key in cache.values if key.startswith("result:")]


async def test_same_request_reads_the_rest(storage: Storage) -> None:
    """What was read is not read again, nor paid again; what it has cost stays in the result."""
    weather = Weather(lambda: RetryableError("broken", 3043))
    model = FunctionModel(weather)
    session = open_session(storage, model)
    await session.start(await a_job(), context_stored=True)
    partial = await session.wait()
    weather.bad = False
    before = len(model.requests)
    assert await session.start(await a_job(), context_stored=True) == "running"
    whole = await session.wait()
    asked = [request.span.index for request in model.requests[before:] if request.span is not None]
    assert asked == [index for index in range(whole.chunks) if index % 3 == 0]
    assert (whole.coverage, whole.incomplete) == (1.0, False)
    assert whole.cost_usd > partial.cost_usd


async def test_both_attempts_are_booked(storage: Storage) -> None:
    """The key pays for what both have cost, once."""
    weather = Weather(lambda: RetryableError("broken", 3043))
    accounts = MemoryAccounts(AccountLimits(5.0, 2), ManualClock())
    session = open_session(storage, FunctionModel(weather), accounts=accounts)
    await session.start(await a_job(), context_stored=True)
    assert (await session.wait()).incomplete
    weather.bad = False
    await session.start(await a_job(), context_stored=True)
    result = await session.wait()
    await session.on_alarm()
    state = await accounts.state("tester")
    assert state["runs"] == 0
    assert state["spentTodayUsd"] == pytest.approx(result.cost_usd)

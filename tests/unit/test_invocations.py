"""An invocation may make so many subrequests: a run that has made them goes on in the next one."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from rlm_worker.errors import InvocationSpent
from rlm_worker.messages import ModelReply, ModelRequest
from rlm_worker.testing import FunctionModel, SqliteDatabase
from tests.unit.test_session import Storage, a_job, answering, open_session

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

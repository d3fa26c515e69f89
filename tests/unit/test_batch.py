"""A batch's books: nothing is lost, nothing is paid twice, nothing stays."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest

from rlm_worker.batches.batch import Batch
from rlm_worker.batches.input import BatchInput
from rlm_worker.batches.items import MAX_ATTEMPTS, BatchEntry
from rlm_worker.batches.keeper import BatchKeeper
from rlm_worker.errors import Conflict, MalformedBody, NotFound, StorageUnavailable
from rlm_worker.http import HttpRequest
from rlm_worker.testing import ManualClock, SqliteDatabase
from tests.unit.conftest import settings

GOOD = json.dumps({"success": True, "answer": "blue"})


@dataclass
class Queue:
    sent: list[int] = field(default_factory=list)
    broken: bool = False

    async def send(self, messages: Sequence[str]) -> None:
        assert len(messages) <= 100
        if self.broken:
            raise StorageUnavailable("no queue today")
        self.sent += [json.loads(message)["item"] for message in messages]

    async def send_later(self, message: str, delay_seconds: int) -> None:
        raise AssertionError("a batch sends what waits at once")


@dataclass
class Platform:
    database: SqliteDatabase
    alarms: list[float] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    calls: list[tuple[object, ...]] = field(default_factory=list)

    async def set(self, at: float) -> None:
        self.alarms.append(at)

    async def erase(self) -> None:
        for table in ("facts", "items", "texts"):
            self.database.execute(f"DROP TABLE IF EXISTS {table}")

    async def stream(self, session_id: str, method: str, *arguments: object) -> object:
        raise AssertionError("a batch streams nothing of a session")

    async def call(self, session_id: str, method: str, *arguments: object) -> object:
        if session_id == "gone":
            raise NotFound("there is no such session")
        if session_id == "broken":
            raise StorageUnavailable("no session today")
        await asyncio.sleep(0)
        self.removed.append(session_id)
        self.calls.append((method, *arguments))
        return None


@dataclass
class World:
    clock: ManualClock = field(default_factory=ManualClock)
    queue: Queue = field(default_factory=Queue)
    platform: Platform = field(default_factory=lambda: Platform(SqliteDatabase()))

    def keeper(self) -> BatchKeeper:
        """A new object on the same storage, as after a crash."""
        batch, platform = Batch(self.platform.database), self.platform
        return BatchKeeper(
            batch,
            self.queue,
            platform,
            alarm=platform,
            eraser=platform,
            clock=self.clock,
            stall_seconds=60,
            retention_seconds=1_000,
        )


async def sealed(world: World, count: int) -> BatchKeeper:
    keeper = world.keeper()
    await keeper.open("b", "ada", "token")
    await keeper.add("token", 0, [BatchEntry(body=f"body {number}") for number in range(count)])
    await keeper.seal("token", "digest")
    return keeper


async def test_every_item_is_sent() -> None:
    world = World()
    await (await sealed(world, 250)).on_alarm()
    assert world.queue.sent == list(range(250))
    await world.keeper().on_alarm()
    assert len(world.queue.sent) == 250


async def test_broken_queue_loses_nothing() -> None:
    world = World()
    keeper = await sealed(world, 3)
    world.queue.broken = True
    with pytest.raises(StorageUnavailable):
        await keeper.on_alarm()
    world.queue.broken = False
    await world.keeper().on_alarm()
    assert world.queue.sent == [0, 1, 2]


async def test_silence_sends_again() -> None:
    world = World()
    keeper = await sealed(world, 3)
    await keeper.on_alarm()
    keeper.batch.take(0, world.clock.now())
    keeper.batch.finished(0, 0.5, GOOD, success=True, now=world.clock.now())
    keeper.batch.take(1, world.clock.now())
    world.clock.time += 61
    await world.keeper().on_alarm()
    assert world.queue.sent == [0, 1, 2, 1, 2]


async def test_second_delivery_is_nothing() -> None:
    world = World()
    keeper = await sealed(world, 1)
    taken = keeper.batch.take(0, world.clock.now())
    assert taken is not None
    assert (taken.owner, taken.body, taken.attempt) == ("ada", "body 0", 1)
    keeper.batch.finished(0, 0.5, GOOD, success=True, now=world.clock.now())
    assert keeper.batch.take(0, world.clock.now()) is None
    keeper.batch.give_up(0, world.clock.now())
    assert keeper.batch.state().completed == 1


async def test_shared_session_counts_once() -> None:
    world = World()
    keeper = await sealed(world, 3)
    for number, session in enumerate(("one", "one", "two")):
        keeper.batch.take(number, world.clock.now())
        keeper.batch.started(number, session)
        keeper.batch.finished(number, 0.5, GOOD, success=True, now=world.clock.now())
    assert keeper.batch.state().cost_usd == pytest.approx(1.0)


async def test_endless_item_ends() -> None:
    world = World()
    keeper = await sealed(world, 1)
    for _ in range(MAX_ATTEMPTS):
        assert keeper.batch.take(0, world.clock.now()) is not None
    assert keeper.batch.take(0, world.clock.now()) is None
    state = keeper.batch.state()
    assert (state.status, state.failed) == ("completed", 1)


async def test_last_failure_is_told() -> None:
    world = World()
    keeper = await sealed(world, 1)
    keeper.batch.take(0, world.clock.now())
    failure = {"success": False, "error": {"type": "model_unavailable", "message": "busy"}}
    keeper.batch.deferred(0, 0.1, json.dumps(failure), counted=True, now=world.clock.now())
    keeper.batch.give_up(0, world.clock.now())
    line = json.loads("".join(keeper.batch.lines()))
    assert (line["index"], line["status"], line["error"]["type"]) == (0, "failed", "model_unavailable")


async def test_deletion_goes_on_after_crash() -> None:
    world = World()
    keeper = await sealed(world, 3)
    for number, session in enumerate(("one", "gone", "two")):
        keeper.batch.take(number, world.clock.now())
        keeper.batch.started(number, session)
    keeper.batch.leave()
    assert not keeper.batch.started(2, "late")
    await world.keeper().on_alarm()
    assert sorted(world.platform.removed) == ["one", "two"]
    assert world.platform.calls == [("leave", "ada", "b")] * 2
    assert not world.platform.database.execute("SELECT name FROM sqlite_master WHERE name = 'items'")


async def test_failed_deletion_comes_again() -> None:
    """The platform drops an alarm whose handler has failed six times: the next one is set before anything can fail."""
    world = World()
    keeper, platform = await sealed(world, 1), world.platform
    keeper.batch.take(0, world.clock.now())
    keeper.batch.started(0, "broken")
    keeper.batch.leave()
    before = len(platform.alarms)
    with pytest.raises(StorageUnavailable):
        await keeper.on_alarm()
    assert len(platform.alarms) > before
    assert keeper.batch.status == "deleting"


async def test_deletion_spares_what_comes_after() -> None:
    """A key may be used again while the batch before is on its way out."""
    world = World()
    keeper = await sealed(world, 40)
    for number in range(40):
        keeper.batch.take(number, world.clock.now())
        keeper.batch.started(number, f"session {number}")
    deletion = asyncio.create_task(keeper.remove("ada"))
    await asyncio.sleep(0)
    assert await keeper.open("b", "ada", "new") is None
    await deletion
    await keeper.add("new", 0, [BatchEntry(body="x")])
    assert (await keeper.seal("new", "digest"))["total"] == 1
    assert len(world.platform.removed) == 40


async def test_gone_batch_takes_no_word() -> None:
    world = World()
    keeper = await sealed(world, 1)
    keeper.batch.take(0, world.clock.now())
    await keeper.remove("ada")
    assert not keeper.batch.finished(0, 0.5, GOOD, success=True, now=world.clock.now())
    assert not world.platform.database.execute("SELECT name FROM sqlite_master WHERE name = 'items'")


async def test_other_owner_finds_nothing() -> None:
    keeper = await sealed(World(), 1)
    with pytest.raises(NotFound):
        keeper.batch.check_owner("eve")
    with pytest.raises(NotFound):
        await keeper.remove("eve")


async def test_two_senders_conflict() -> None:
    keeper = World().keeper()
    await keeper.open("b", "ada", "first")
    await keeper.open("b", "ada", "second")
    with pytest.raises(Conflict):
        await keeper.add("first", 0, [BatchEntry(body="x")])


async def test_old_batch_goes() -> None:
    world = World()
    keeper = await sealed(world, 1)
    keeper.batch.take(0, world.clock.now())
    keeper.batch.started(0, "one")
    keeper.batch.finished(0, 0.5, GOOD, success=True, now=world.clock.now())
    await keeper.on_alarm()
    assert world.platform.alarms[-1] == world.clock.now() + 1_000
    world.clock.time += 1_001
    await world.keeper().on_alarm()
    assert world.platform.removed == ["one"]


async def pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def entries(body: bytes, size: int) -> list[BatchEntry]:
    request = HttpRequest("POST", "/rlm/batch", {}, {}, pieces(body, size))
    return [entry async for group in BatchInput(request, settings()).groups() for entry in group]


@pytest.mark.parametrize("size", [1, 2, 7, 1_000])
async def test_pieces_do_not_matter(size: int) -> None:
    items = [{"context": 'a, "b" ]\n', "query": "q"}, {"context": "é", "query": "q"}]
    array = b" \n" + json.dumps(items, ensure_ascii=False).encode() + b"\n"
    lines = "\r\n\n".join(json.dumps(item, ensure_ascii=False) for item in items).encode()
    for body in (array, lines):
        found = await entries(body, size)
        assert [json.loads(entry.body) for entry in found] == items


async def test_broken_array_is_no_batch() -> None:
    with pytest.raises(MalformedBody):
        await entries(b'[{"query": "q"}', 100)


async def test_own_limits_bury_nothing() -> None:
    """A key that has run out of dollars or slots is refused for as long as it takes; its items wait."""
    world = World()
    keeper = await sealed(world, 1)
    refused = json.dumps({"success": False, "error": {"type": "rate_limited", "message": "later"}})
    for _ in range(5 * MAX_ATTEMPTS):
        taken = keeper.batch.take(0, world.clock.now())
        assert taken is not None
        assert taken.attempt == 1
        keeper.batch.deferred(0, 0.0, refused, counted=False, now=world.clock.now())
    assert keeper.batch.unfinished

"""A queue's delivery starts no more than the pace carries, and a result that lacks something is tried again."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

from rlm_worker.batches.admission import WAIT_SECONDS, Admission
from rlm_worker.batches.batch import Batch
from rlm_worker.batches.consumer import MAX_INCOMPLETE_ATTEMPTS, Again, BatchConsumer, ItemMessage
from rlm_worker.batches.items import BatchEntry
from rlm_worker.memory import MIB, MemoryBudget
from rlm_worker.models.catalog import Catalog
from rlm_worker.pace.client import Unpaced
from rlm_worker.pace.rates import Rates
from rlm_worker.ports import Clock, Pace
from rlm_worker.sessions.runner import Runner
from rlm_worker.testing import ManualClock, MemoryCache, MemoryMetrics, MemoryPace, MemoryStore, SqliteDatabase
from rlm_worker.wire.results import RunResult
from tests.unit.conftest import settings
from tests.unit.test_map_reduce import RealClock

BODY = json.dumps({"context": "The sky is blue.", "query": "What colour is the sky?"})


@dataclass
class Sessions:
    """Answer with what they are given, when they may; keep the most runs that went on at once."""

    answer: RunResult
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    running: int = 0
    most: int = 0

    async def call(self, name: str, method: str, *arguments: object) -> object:
        if method == "result":
            return self.answer.to_wire()
        if method == "start":
            return "running"
        self.running += 1
        self.most = max(self.most, self.running)
        await self.gate.wait()
        self.running -= 1
        return self.answer.model_copy(update={"session_id": name}).to_wire()

    async def stream(self, name: str, method: str, *arguments: object) -> object:
        raise AssertionError(method)


@dataclass
class Books:
    """The one batch, called as its object would be."""

    batch: Batch
    clock: Clock

    async def call(self, name: str, method: str, *arguments: object) -> object:
        now = self.clock.now()
        match method, arguments:
            case "characters", (int(number),):
                return self.batch.characters(number)
            case "take", (int(number),):
                item = self.batch.take(number, now)
                return {"owner": item.owner, "body": item.body, "attempt": item.attempt} if item else None
            case "started", (int(number), str(session)):
                return self.batch.started(number, session)
            case "deferred", (int(number), float(cost), str(result), bool(counted)):
                return self.batch.deferred(number, cost, result, counted=counted, now=now)
            case "finished", (int(number), float(cost), str(result), bool(success)):
                return self.batch.finished(number, cost, result, success=success, now=now)
        raise AssertionError(method)

    async def stream(self, name: str, method: str, *arguments: object) -> object:
        raise AssertionError(method)


@dataclass
class World:
    """A batch of so many items, whose delivery one consumer works through."""

    answer: RunResult
    items: int = 1
    rates: Rates = field(default_factory=lambda: Rates(60))
    clock: Clock = field(default_factory=ManualClock)
    pace: Pace = field(default_factory=Unpaced)
    body: str = BODY
    room: MemoryBudget = field(default_factory=MemoryBudget)

    def __post_init__(self) -> None:
        self.batch = Batch(SqliteDatabase())
        self.batch.open("b", "ada", "token", self.clock.now())
        bodies = [self.body.replace("blue", f"blue {number}") for number in range(self.items)]
        self.batch.add(0, [BatchEntry(body=body) for body in bodies], self.clock.now())
        self.batch.seal("digest", self.clock.now())
        self.sessions = Sessions(self.answer)
        runner = Runner(settings(), self.sessions, MemoryStore(), MemoryCache(), MemoryMetrics(), self.clock, self.room)
        admission = Admission(self.pace, self.rates, Catalog.standard(), self.clock)
        self.consumer = BatchConsumer(runner, Books(self.batch, self.clock), lambda _: None, admission)

    async def attempt(self, number: int = 0) -> Again | None:
        self.sessions.gate.set()
        return await self.consumer.process(ItemMessage("b", number))


WHOLE = RunResult(success=True, answer="blue", coverage=1.0)
PARTIAL = WHOLE.model_copy(update={"incomplete": True, "coverage": 0.5})


async def test_incomplete_item_waits() -> None:
    world = World(PARTIAL)
    again = await world.attempt()
    assert again is not None
    assert (again.counted, again.after_seconds) == (True, 10)
    assert world.batch.state().completed == 0


async def test_incomplete_item_ends() -> None:
    """After some attempts what there is will do."""
    world = World(PARTIAL)
    outcomes = [await world.attempt() for _ in range(MAX_INCOMPLETE_ATTEMPTS)]
    assert outcomes[-1] is None
    assert all(outcomes[:-1])
    assert world.batch.state().completed == 1
    assert json.loads("".join(world.batch.lines()))["incomplete"]


async def test_whole_item_ends_at_once() -> None:
    world = World(WHOLE)
    assert await world.attempt() is None
    assert world.batch.state().completed == 1


async def test_given_up_answer_is_kept() -> None:
    """What the queue gives up has its last result: an answer that lacks something is still one."""
    world = World(PARTIAL)
    await world.attempt()
    world.batch.give_up(0, world.clock.now())
    assert (world.batch.state().completed, world.batch.state().failed) == (1, 0)


async def test_delivery_starts_what_is_carried() -> None:
    """Sixty calls a minute carry three runs; the other items of the delivery wait for their end."""
    clock = RealClock()
    world = World(WHOLE, 10, clock=clock, pace=MemoryPace(clock))
    items = [asyncio.create_task(world.consumer.process(ItemMessage("b", number))) for number in range(10)]
    await asyncio.sleep(0.05)
    assert world.sessions.most == 3
    world.sessions.gate.set()
    assert await asyncio.gather(*items) == [None] * 10
    assert world.batch.state().completed == 10


async def test_full_pace_puts_items_off() -> None:
    clock = ManualClock()
    pace = MemoryPace(clock)
    world = World(WHOLE, clock=clock, pace=pace, rates=Rates(20, {}, 100 * WAIT_SECONDS))
    model = Catalog.standard().find("llama-3.1-70b")
    assert model is not None
    rate = world.rates.of(model)
    assert rate is not None
    assert await pace.enter(model.id, rate, "bea", "other")
    again = await world.attempt()
    assert again is not None
    assert not again.counted
    assert world.batch.state().queued == 1
    assert world.sessions.most == 0


async def test_waiting_item_gives_room_back() -> None:
    """What waits for the pace leaves the isolate's memory to others, and takes it again when it is let in."""
    clock, room = RealClock(), MemoryBudget(10 * MIB)
    body = BODY.replace("blue", "blue " + "long " * 80_000)
    world = World(WHOLE, 2, clock=clock, pace=MemoryPace(clock), rates=Rates(20), body=body, room=room)
    items = [asyncio.create_task(world.consumer.process(ItemMessage("b", number))) for number in range(2)]
    await asyncio.sleep(0.2)
    assert world.sessions.most == 1
    assert room.used < MIB
    held = await room.take(9 * MIB, 0)
    world.sessions.gate.set()
    await asyncio.wait(items, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(0.6)
    assert world.batch.state().completed == 1
    held.close()
    assert await asyncio.gather(*items) == [None] * 2
    assert room.used == 0


async def test_unreachable_pace_lets_items_in() -> None:
    clock = ManualClock()
    world = World(WHOLE, clock=clock, pace=MemoryPace(clock, failing=True))
    assert await world.attempt() is None

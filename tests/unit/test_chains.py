"""A rule's chain ends at the first model that answers; what a run has learned of a model holds for the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from rlm_worker.errors import InputTooLarge, ModelError, RetryableError, SchemaRefused, TerminalError
from rlm_worker.journal.session import SessionJournal
from rlm_worker.messages import Declined, Message, ModelReply, ModelRequest, ModelSpec, OutputExhausted, UnusableReply
from rlm_worker.models.calls import FallingBack
from rlm_worker.models.catalog import Catalog
from rlm_worker.models.chains import Chains
from rlm_worker.models.pricing import Pricing
from rlm_worker.testing import FunctionModel, ManualClock, SqliteDatabase, reply_of

FIRST, SECOND = ModelSpec("one:first", 8_000, 1.0, 1.0), ModelSpec("two:second", 8_000, 1.0, 1.0)
THIRD, STAND_IN = ModelSpec("third", 8_000, 1.0, 1.0, fallback="stand-in"), ModelSpec("stand-in", 8_000, 1.0, 1.0)
SMALL = ModelSpec("small", 12, 1.0, 1.0)
THINKER = ModelSpec("thinker", 8_000, 1.0, 1.0, reasoning="mandatory", output_floor=2_048)
CATALOG = Catalog({model.id: model for model in (THIRD, STAND_IN, SMALL, THINKER)}, {})
NO_CREDITS = TerminalError("two: 402 no credits", unavailable=True)
OVERLOADED = RetryableError("one: 529 overloaded", capacity=True, fallback=True, work="none")
ASKED = ModelRequest(FIRST, (Message("user", "hello"),), 10, call="call")


@dataclass
class World:
    """A chain over models of which some fail."""

    failing: Mapping[str, ModelError]
    chain: tuple[ModelSpec, ...] = (SECOND, THIRD)
    clock: ManualClock = field(default_factory=ManualClock)
    journal: SessionJournal = field(default_factory=lambda: SessionJournal(SqliteDatabase()))

    def __post_init__(self) -> None:
        self.model = FunctionModel(self._answer)
        self.chains = Chains(CATALOG, self.clock, Pricing(), {FIRST.id: self.chain})

    def _answer(self, request: ModelRequest) -> ModelReply:
        if error := self.failing.get(request.model.id):
            raise error
        return reply_of(request, "blue")

    async def ask(self) -> ModelReply:
        return await FallingBack(self.model, self.chains, self.journal).complete(ASKED)

    @property
    def path(self) -> list[str]:
        return [request.model.id for request in self.model.requests]


async def test_first_to_answer_ends_chain() -> None:
    world = World({FIRST.id: OVERLOADED, SECOND.id: NO_CREDITS})
    reply = await world.ask()
    assert (reply.model, reply.passed_over) == ("third", (FIRST.id, SECOND.id))
    assert [request.reject_if_busy for request in world.model.requests] == [True, True, True]


@pytest.mark.parametrize(
    "error",
    [
        RetryableError("3040", 3040, capacity=True, fallback=True),
        RetryableError("429", capacity=True),
        RetryableError("500"),
        RetryableError("no answer in time", fallback=True, work="unfinished"),
        TerminalError("402 no credits", unavailable=True),
    ],
)
async def test_provider_failure_moves_on(error: ModelError) -> None:
    assert (await World({FIRST.id: error}).ask()).model == SECOND.id


@pytest.mark.parametrize(
    "error",
    [
        TerminalError("400 bad input"),
        InputTooLarge("too long"),
        Declined("it would rather not"),
        SchemaRefused("no JSON"),
        OutputExhausted("all thought"),
        UnusableReply("empty"),
    ],
)
async def test_prompts_own_failure_stays(error: ModelError) -> None:
    world = World({FIRST.id: error})
    with pytest.raises(type(error), match=str(error)):
        await world.ask()
    assert world.path == [FIRST.id]


async def test_gone_is_not_asked_again() -> None:
    world = World({FIRST.id: NO_CREDITS})
    for _ in range(3):
        assert (await world.ask()).passed_over == (FIRST.id,)
    assert world.path == [FIRST.id, SECOND.id, SECOND.id, SECOND.id]
    assert world.chains.acting(FIRST) == SECOND


async def test_nobody_behind_is_passed_over() -> None:
    """The first answers again: that the one behind it is gone concerns nobody."""
    failing: dict[str, ModelError] = {FIRST.id: RetryableError("500"), SECOND.id: NO_CREDITS}
    world = World(failing)
    await world.ask()
    failing.clear()
    assert (await world.ask()).passed_over == ()


async def test_refused_rests() -> None:
    """One that names a time is left alone for that long, and asked again after it."""
    world = World({FIRST.id: RetryableError("429", retry_after=30.0, capacity=True)})
    for _ in range(3):
        await world.ask()
    assert world.path.count(FIRST.id) == 1
    await world.clock.sleep(31)
    await world.ask()
    assert world.path.count(FIRST.id) == 2


async def test_error_names_each() -> None:
    world = World({FIRST.id: OVERLOADED, SECOND.id: NO_CREDITS, "third": OVERLOADED, "stand-in": OVERLOADED})
    with pytest.raises(RetryableError) as raised:
        await world.ask()
    assert world.path == [FIRST.id, SECOND.id, "third", "stand-in"]
    places = [str(raised.value).index(f"{name}: ") for name in world.path]
    assert places == sorted(places)
    assert "402 no credits" in str(raised.value)
    assert raised.value.capacity


async def test_all_gone_is_final() -> None:
    gone = dict.fromkeys((FIRST.id, SECOND.id, "third", "stand-in"), NO_CREDITS)
    world = World(gone)
    for _ in range(2):
        with pytest.raises(TerminalError, match="no model of the chain") as raised:
            await world.ask()
        assert raised.value.unavailable
    assert world.path == [FIRST.id, SECOND.id, "third", "stand-in"]


async def test_small_window_is_skipped() -> None:
    world = World({FIRST.id: OVERLOADED}, chain=(SMALL, SECOND))
    assert (await world.ask()).passed_over == (FIRST.id, "small")
    assert world.path == [FIRST.id, SECOND.id]


async def test_too_small_alone_is_size() -> None:
    """Where all others are gone the prompt is made smaller instead."""
    with pytest.raises(InputTooLarge):
        await World({FIRST.id: NO_CREDITS}, chain=(SMALL,)).ask()


async def test_thinker_gets_room() -> None:
    world = World({FIRST.id: OVERLOADED}, chain=(THINKER,))
    await world.ask()
    assert world.model.requests[-1].max_output_tokens == 2_048


async def test_hops_are_written_down() -> None:
    world = World({FIRST.id: OVERLOADED, SECOND.id: NO_CREDITS})
    await world.ask()
    hops = world.journal.failed_attempts()
    assert [(hop.model, hop.cost_usd, hop.reason) for hop in hops] == [
        (FIRST.id, 0.0, str(OVERLOADED)),
        (SECOND.id, 0.0, str(NO_CREDITS)),
    ]
    assert not list(world.journal.payments())

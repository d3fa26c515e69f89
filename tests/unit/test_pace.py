"""Never more than the rate in any window, fair between keys and runs, and nobody waits for one who is gone."""

from __future__ import annotations

import pytest

from rlm_worker.errors import NotConfigured
from rlm_worker.models.catalog import Catalog
from rlm_worker.models.overrides import with_overrides
from rlm_worker.pace.rates import Rates
from rlm_worker.pace.schedule import Schedule
from rlm_worker.ports import Rate
from tests.unit.pace_world import World

MINUTE = Rate(300)
ADA, BEA = ("ada", "run"), ("bea", "run")


@pytest.mark.parametrize(("runs", "chunks"), [(10, 100), (30, 50), (3, 400)])
def test_long_queue_near_ideal(runs: int, chunks: int) -> None:
    world = World(MINUTE)
    for number in range(runs):
        world.begins(("ada", f"run {number}"), chunks)
    assert world.play() <= 1.15 * runs * chunks / 5
    assert world.most_in_window() <= 300
    assert {len(times) for times in world.sent.values()} == {chunks}


def test_idle_pace_delays_nobody() -> None:
    world = World(MINUTE)
    world.begins(ADA, 100)
    assert world.play() == pytest.approx(5.0, abs=0.5)  # 24 at once, a second each


@pytest.mark.parametrize("key", ["ada", "bea"])
@pytest.mark.parametrize("after", [5, 20, 50, 61, 65, 90, 100, 130])
def test_small_question_passes(key: str, after: int) -> None:
    world = World(MINUTE)
    for number in range(10):
        world.begins(("ada", f"run {number}"), 100)
    world.begins((key, "small"), 1, after)
    world.play()
    assert world.waited((key, "small"), after) <= 1.0


def test_keys_share_evenly() -> None:
    """A key with one run gets as much as a key with ten, as long as it wants it."""
    world = World(MINUTE)
    for number in range(10):
        world.begins(("ada", f"run {number}"), 200)
    world.begins(BEA, 200, 20)
    world.play()
    end = world.sent[BEA][-1]
    meanwhile = sum(1_020 < at <= end for caller, times in world.sent.items() for at in times if caller[0] == "ada")
    assert meanwhile <= 1.25 * len(world.sent[BEA])


def test_runs_of_a_key_share_evenly() -> None:
    world = World(MINUTE)
    for number in range(6):
        world.begins(("ada", f"run {number}"), 150)
    world.play()
    ends = [times[-1] - 1_000 for times in world.sent.values()]
    assert max(ends) - min(ends) < 10


def test_few_calls_are_shared_too() -> None:
    world = World(Rate(20))
    for number in range(3):
        world.begins(("ada", f"run {number}"), 20)
    world.begins(BEA, 1, 30)
    world.play()
    assert world.most_in_window() <= 20
    assert world.waited(BEA, 30) <= 6


def test_unused_grants_come_back() -> None:
    schedule = Schedule(Rate(10))
    schedule.ask(ADA, 4, 8, 0.0)
    assert schedule.serve(0.0) == [(ADA, 4)]  # no plenty to give ahead from
    schedule = Schedule(MINUTE)
    schedule.ask(ADA, 4, 8, 0.0)
    assert schedule.serve(0.0) == [(ADA, 12)]
    schedule.give_back(ADA, 8)
    assert sum(count for _, count in schedule.recent()) == 4


def test_refusal_slows_everyone() -> None:
    schedule = Schedule(MINUTE)
    schedule.refused(100.0, retry_after=5.0)
    schedule.ask(BEA, 1, 0, 100.0)
    assert schedule.serve(100.0) == []
    assert schedule.next_at(100.0) == 105.0
    assert schedule.serve(105.0) == [(BEA, 1)]


def test_pause_is_bounded() -> None:
    schedule = Schedule(MINUTE)
    schedule.refused(100.0, retry_after=86_400.0)
    schedule.ask(BEA, 1, 0, 100.0)
    assert schedule.next_at(100.0) == 160.0


def test_rate_comes_back() -> None:
    """A burst of refusals takes a share away, once; some minutes later all of it is there again."""
    schedule = Schedule(MINUTE)
    for second in range(3):
        schedule.refused(100.0 + second, 0.0)
    schedule.ask(ADA, 1_000, 0, 110.0)
    assert 0 < sum(count for _, count in schedule.serve(110.0)) < 180
    schedule = Schedule(MINUTE)
    schedule.refused(100.0, 0.0)
    schedule.ask(ADA, 1_000, 0, 300.0)
    assert sum(count for _, count in schedule.serve(300.0)) >= 180


def test_restart_remembers_grants() -> None:
    schedule = Schedule(MINUTE)
    schedule.ask(ADA, 180, 0, 1_000.0)
    schedule.serve(1_000.0)
    other = Schedule(MINUTE)
    other.restore(schedule.recent(), 1_002.0)
    other.ask(BEA, 300, 0, 1_002.0)
    given = sum(count for _, count in other.serve(1_002.0))
    assert given <= 1


def test_put_off_while_many_go_on() -> None:
    schedule = Schedule(Rate(60))
    entered = [schedule.enter(("ada", f"run {number}"), 0.0) for number in range(5)]
    assert entered == [True, True, True, False, False]
    assert schedule.enter(("ada", "run 0"), 1.0)
    schedule.leave(("ada", "run 0"))
    assert schedule.enter(("ada", "run 4"), 2.0)
    assert schedule.enter(("bea", "later"), 100.0)  # of those before nothing was heard since


def of(text: str, name: str) -> Rate | None:
    catalog = with_overrides(
        Catalog.standard(),
        '{"@cf/zai-org/glm-5.2": {"window": 1000, "input_price": 1, "output_price": 1, "input_neurons": 0,'
        ' "output_neurons": 0, "paid_only": true}, "openrouter:some/model": {"window": 1000, "input_price": 1,'
        ' "output_price": 1, "input_neurons": 0, "output_neurons": 0}}',
    )
    model = catalog.find(name)
    assert model is not None
    return Rates.parse(text, 60.0, catalog.id_of).of(model)


@pytest.mark.parametrize(
    ("text", "model", "calls"),
    [
        ("", "llama-3.1-8b", 300),
        ("", "@cf/zai-org/glm-5.2", 20),
        ("", "openrouter:some/model", None),
        ("1500", "llama-3.1-8b", 1500),
        ("1500", "openrouter:some/model", None),
        ("0", "llama-3.1-8b", None),
        ('{"llama-3.1-8b": 60, "openrouter:some/model": 30}', "llama-3.1-8b", 60),
        ('{"llama-3.1-8b": 60, "openrouter:some/model": 30}', "openrouter:some/model", 30),
        ('{"llama-3.1-8b": 60}', "llama-3.1-70b", 300),
        ('{"llama-3.1-8b": 0}', "llama-3.1-8b", None),
    ],
)
def test_rate_of_a_model(text: str, model: str, calls: int | None) -> None:
    rate = of(text, model)
    assert (rate and rate.calls) == calls


@pytest.mark.parametrize("text", ["many", "-1", "1.5", "[300]", '{"llama-3.1-8b": "many"}', "true", "null"])
def test_broken_rate_is_named(text: str) -> None:
    with pytest.raises(NotConfigured, match="MODEL_CALLS_PER_MINUTE"):
        of(text, "llama-3.1-8b")

"""The ledger holds a run to its limits, calls in flight included."""

from __future__ import annotations

import asyncio

import pytest

from rlm_worker.budget.ledger import Ledger, UsageLimits
from rlm_worker.errors import UsageLimitExceeded
from rlm_worker.messages import CallUsage, ModelSpec
from rlm_worker.models.catalog import Catalog
from rlm_worker.testing import ManualClock


def model() -> ModelSpec:
    found = Catalog.standard().find("llama-3.1-8b")
    assert found is not None
    return found


async def test_reservations_add_up() -> None:
    ledger = Ledger(UsageLimits(max_cost_usd=1.0), ManualClock().now)
    first = await ledger.reserve("a", "sub", 0.6)
    second = asyncio.create_task(ledger.reserve("b", "sub", 0.6))
    await asyncio.sleep(0)
    assert not second.done()
    ledger.settle(first, model(), CallUsage(10, 10))
    assert (await second).cost_usd == 0.6


async def test_refusal_names_limit() -> None:
    ledger = Ledger(UsageLimits(max_cost_usd=0.001), ManualClock().now)
    with pytest.raises(UsageLimitExceeded) as caught:
        await ledger.reserve("a", "root", 0.002)
    assert (caught.value.limit, caught.value.allowed) == ("maxCostUsd", 0.001)


async def test_set_aside_is_for_root() -> None:
    ledger = Ledger(UsageLimits(max_cost_usd=1.0), ManualClock().now)
    ledger.set_aside(0.5)
    with pytest.raises(UsageLimitExceeded):
        await ledger.reserve("a", "sub", 0.6)
    assert (await ledger.reserve("b", "root", 0.6)).role == "root"


async def test_released_money_returns() -> None:
    ledger = Ledger(UsageLimits(max_cost_usd=1.0), ManualClock().now)
    ledger.release(await ledger.reserve("a", "sub", 0.9))
    assert ledger.remaining_usd() == 1.0
    assert ledger.usage.sub_calls == 0


async def test_estimates_keep_their_margin() -> None:
    """Where the model reported nothing, what it may have cost in truth is not spent again."""
    ledger = Ledger(UsageLimits(max_cost_usd=1.0), ManualClock().now)
    reservation = await ledger.reserve("a", "sub", 0.6)
    ledger.settle(reservation, model(), CallUsage(1_000_000, 0, estimated=True), 0.6)
    assert ledger.usage.cost_usd == pytest.approx(0.045)
    assert ledger.remaining_usd() == pytest.approx(0.4)


async def test_sub_calls_are_counted_in_flight() -> None:
    ledger = Ledger(UsageLimits(max_sub_calls=1), ManualClock().now)
    await ledger.begin("a", "sub")
    waiting = asyncio.create_task(ledger.begin("b", "sub"))
    await asyncio.sleep(0)
    assert not waiting.done()
    reservation = await ledger.reserve("a", "sub", 0)
    ledger.settle(reservation, model(), CallUsage(1, 1))
    ledger.end("a")
    with pytest.raises(UsageLimitExceeded):
        await asyncio.wait_for(waiting, 1)


async def test_unpaid_call_gives_place_back() -> None:
    ledger = Ledger(UsageLimits(max_sub_calls=1), ManualClock().now)
    await ledger.begin("a", "sub")
    waiting = asyncio.create_task(ledger.begin("b", "sub"))
    await asyncio.sleep(0)
    ledger.end("a")
    await asyncio.wait_for(waiting, 1)
    assert ledger.remaining_sub_calls() == 0


async def test_attempts_are_one_call() -> None:
    ledger = Ledger(UsageLimits(max_sub_calls=1), ManualClock().now)
    await ledger.begin("a", "sub")
    for _ in range(3):
        ledger.settle(await ledger.reserve("a", "sub", 0), model(), CallUsage(1_000_000, 0))
    assert ledger.usage.sub_calls == 1
    assert ledger.usage.cost_usd == pytest.approx(3 * 0.045)


async def test_vain_call_counts_anew() -> None:
    """A cell that asks the same question for ever, and is answered nothing, comes to the end of its calls."""
    ledger = Ledger(UsageLimits(max_sub_calls=2), ManualClock().now)
    for _ in range(2):
        await ledger.begin("a", "sub")
        ledger.settle(await ledger.reserve("a", "sub", 0), model(), CallUsage(1, 1))
        ledger.end("a")
    assert ledger.usage.sub_calls == 2
    with pytest.raises(UsageLimitExceeded):
        await asyncio.wait_for(ledger.begin("a", "sub"), 1)


async def test_deadline_refuses_at_once() -> None:
    clock = ManualClock()
    ledger = Ledger(UsageLimits(deadline=clock.now() + 5), clock.now)
    await ledger.reserve("a", "sub", 0)
    await clock.sleep(6)
    with pytest.raises(UsageLimitExceeded) as caught:
        await ledger.reserve("b", "sub", 0)
    assert caught.value.limit == "timeoutSeconds"


def test_restored_calls_count() -> None:
    ledger = Ledger(UsageLimits(), ManualClock().now)
    ledger.restore("a", "sub", model(), CallUsage(1_000_000, 0))
    ledger.restore("a", "sub", model(), CallUsage(0, 0))
    assert ledger.usage.cost_usd == pytest.approx(0.045)
    assert ledger.usage.sub_calls == 1
    assert ledger.usage.neurons == pytest.approx(4119)

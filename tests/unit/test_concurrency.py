"""As many calls at once as the platform takes, results in order, nothing left running."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from rlm_worker.models.concurrency import BackoffSignal, CapacityLimiter, fan_out
from rlm_worker.testing import ManualClock


async def numbers(count: int, drawn: list[int] | None = None) -> AsyncIterator[int]:
    for number in range(count):
        if drawn is not None:
            drawn.append(number)
        yield number


async def test_results_keep_order() -> None:
    async def work(number: int) -> int:
        await asyncio.sleep(0.001 * (number % 3))
        return number * 10

    assert await fan_out(numbers(20), work, width=7) == [number * 10 for number in range(20)]


async def test_items_are_drawn_lazily() -> None:
    drawn: list[int] = []
    gate = asyncio.Event()

    async def work(number: int) -> None:
        await gate.wait()

    task = asyncio.create_task(fan_out(numbers(100, drawn), work, width=4))
    await asyncio.sleep(0.01)
    assert len(drawn) == 4
    gate.set()
    await task
    assert len(drawn) == 100


async def test_waiting_workers_are_relieved() -> None:
    backoff, started = BackoffSignal(), []
    gate = asyncio.Event()

    async def work(number: int) -> int:
        started.append(number)
        backoff.notify()
        await gate.wait()
        return number

    task = asyncio.create_task(fan_out(numbers(10), work, width=2, backoff=backoff))
    await asyncio.sleep(0.01)
    assert started == [0, 1, 2, 3]
    gate.set()
    assert await task == list(range(10))
    backoff.notify()


async def test_failure_cancels_rest() -> None:
    cancelled: list[int] = []

    async def work(number: int) -> None:
        if number == 1:
            raise ValueError("broken")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(number)
            raise

    with pytest.raises(ValueError, match="broken"):
        await fan_out(numbers(3), work, width=3)
    assert sorted(cancelled) == [0, 2]


async def test_width_grows_with_success() -> None:
    limiter = CapacityLimiter(ManualClock(), first=2, most=8)
    for _ in range(20):
        await limiter.acquire()
        limiter.succeeded()
        limiter.release()
    assert limiter.width == 8


async def test_burst_halves_once() -> None:
    limiter = CapacityLimiter(ManualClock(), first=8, most=8)
    burst = [await limiter.acquire() for _ in range(8)]
    for slot in burst:
        limiter.refused(slot)
        limiter.release()
    assert limiter.width == 4
    limiter.refused(await limiter.acquire())
    assert limiter.width == 2


async def test_retry_after_is_waited_out() -> None:
    clock = ManualClock()
    limiter = CapacityLimiter(clock, first=2, most=2)
    limiter.refused(await limiter.acquire(), retry_after=7.0)
    limiter.release()
    await limiter.acquire()
    assert clock.slept == [7.0]


class StandingClock(ManualClock):
    """Whoever sleeps by it sleeps on."""

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.Event().wait()


async def cancelled(task: asyncio.Task[object]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_cancelled_pause_frees_slot() -> None:
    """Reading that is cut off while it honours `Retry-After` leaves the root model's last word a slot."""
    clock = StandingClock()
    limiter = CapacityLimiter(clock, first=1, most=1)
    limiter.refused(await limiter.acquire(), retry_after=7.0)
    limiter.release()
    pausing = asyncio.create_task(limiter.acquire())
    await asyncio.sleep(0)
    assert clock.slept
    await cancelled(pausing)
    clock.time += 8
    await asyncio.wait_for(limiter.acquire(), 1)


@pytest.mark.parametrize("after_release", [True, False])
async def test_cancelled_waiter_passes_turn_on(after_release: bool) -> None:
    limiter = CapacityLimiter(ManualClock(), first=1, most=1)
    await limiter.acquire()
    first, second = (asyncio.create_task(limiter.acquire()) for _ in range(2))
    await asyncio.sleep(0)
    if after_release:
        limiter.release()
        await cancelled(first)
    else:
        first.cancel()
        limiter.release()
    await asyncio.wait_for(second, 1)

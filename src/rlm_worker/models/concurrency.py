"""Many calls at once, as many as the platform takes.

The limiter is TCP's idea applied to model calls: it starts small, grows by one with every success, and halves once per
burst of refusals (refusals of calls that began before the last halving say nothing new).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from rlm_worker.ports import Clock

# Seconds: whoever asks for a longer pause is asked again after this one.
MAX_RETRY_AFTER = 60.0

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Slot:
    """Leave to make one call; `epoch` counts the halvings before it began."""

    epoch: int


class CapacityLimiter:
    """Lets between one and `most` calls run at once, following what the platform accepts."""

    def __init__(self, clock: Clock, *, first: int, most: int) -> None:
        self._clock = clock
        self._most = most
        self._width = min(first, most)
        self._busy = 0
        self._epoch = 0
        self._not_before = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def width(self) -> int:
        """How many calls may run at once now."""
        return self._width

    async def acquire(self, *, first: bool = False) -> Slot:
        """Waits for a free slot, with `first` before all others, and for the end of any pause that was asked for."""
        while self._busy >= self._width:
            await self._turn(first=first)
        self._busy += 1
        try:
            await self._pause()
        except BaseException:  # cancelled: nobody else would ever give this slot back
            self.release()
            raise
        return Slot(self._epoch)

    def release(self) -> None:
        """Gives a slot back; waits for nothing, so that no cancellation comes between."""
        self._busy -= 1
        self._call_up()

    async def _turn(self, *, first: bool) -> None:
        """Waits to be called up; one who was and is cancelled leaves the turn to another."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if first:
            self._waiting.appendleft(turn)
        else:
            self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._call_up()
            raise

    def _call_up(self) -> None:
        """Wakes no more than can run: to see most of them wait again would cost more than the calls themselves."""
        free = self._width - self._busy
        while free > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # whoever waited was cancelled
                turn.set_result(None)
                free -= 1

    def succeeded(self) -> None:
        self._width = min(self._most, self._width + 1)

    def refused(self, slot: Slot, retry_after: float = 0.0) -> None:
        """Takes note of a refusal for want of capacity; `retry_after` in seconds, a minute at most."""
        self._not_before = max(self._not_before, self._clock.now() + min(retry_after, MAX_RETRY_AFTER))
        if slot.epoch == self._epoch:
            self._epoch += 1
            self._width = max(1, self._width // 2)

    async def _pause(self) -> None:
        pause = self._not_before - self._clock.now()
        if pause > 0:
            await self._clock.sleep(pause)


class BackoffSignal:
    """Whoever backs off before asking again says so here; each fan-out under way then takes on another worker."""

    def __init__(self) -> None:
        self._calls: set[Callable[[], None]] = set()

    def notify(self) -> None:
        for call in tuple(self._calls):
            call()

    @contextmanager
    def subscribed(self, call: Callable[[], None]) -> Iterator[None]:
        """Calls that function for each one who backs off."""
        self._calls.add(call)
        try:
            yield
        finally:
            self._calls.discard(call)


async def fan_out(
    items: AsyncIterator[Item] | Iterable[Item],
    work: Callable[[Item], Awaitable[Result]],
    *,
    width: int,
    backoff: BackoffSignal | None = None,
) -> list[Result]:
    """Applies `work` to each item, `width` at a time, and gives the results in the items' order.

    `backoff` adds workers, up to twice as many, for those that only wait. Items are drawn only when a worker is free,
    so that a long input is never held whole. The first exception cancels the rest and is raised as it is; nothing is
    left running.
    """
    results: dict[int, Result] = {}
    source = _Source(items)
    workers, failed = 0, False

    async def worker() -> None:
        nonlocal failed
        try:
            while (next_item := await source.draw()) is not None:
                index, item = next_item
                results[index] = await work(item)
        except BaseException:
            failed = True
            raise

    def take_on() -> None:
        nonlocal workers
        if workers < 2 * width and not failed:
            workers += 1
            group.create_task(worker())

    try:
        with (backoff or BackoffSignal()).subscribed(take_on):
            async with asyncio.TaskGroup() as group:
                for _ in range(width):
                    take_on()
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None  # the first; the others followed from it or say the same
    return [results[index] for index in sorted(results)]


class _Source(Generic[Item]):
    """Gives items to many workers, one at a time, each with its number."""

    def __init__(self, items: AsyncIterator[Item] | Iterable[Item]) -> None:
        self._items = items if isinstance(items, AsyncIterator) else _each(items)
        self._drawing = asyncio.Lock()
        self._drawn = 0

    async def draw(self) -> tuple[int, Item] | None:
        """The next item and its number; None where there are no more."""
        async with self._drawing:
            try:
                item = await anext(self._items)
            except StopAsyncIteration:
                return None
            self._drawn += 1
            return self._drawn - 1, item


async def _each(items: Iterable[Item]) -> AsyncIterator[Item]:
    for item in items:
        yield item

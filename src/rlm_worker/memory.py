"""What the requests in one isolate may hold together.

An isolate has 128 MB for all that goes on in it, and WebAssembly gives nothing back: the highest point counts. So what
is large is announced here before it is read, and waits until there is room.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from .errors import Overloaded

MIB = 1 << 20
# Of 128 MB the Worker itself takes about 55, and runs need room to work in.
SHARED_BYTES = 32 * MIB
WAIT_SECONDS = 20.0
_RETRY_AFTER_SECONDS = 5
# Who waits looks again so often, by itself: a request of the platform cannot be woken by another one.
_LOOK_SECONDS = 0.02
# A request that the platform has ended says no word. Who waits shows that it is alive; who holds may take so long.
_WAITER_SECONDS, _HOLDER_SECONDS = 2.0, 300.0


class Held:
    """A part of the room, until it is closed."""

    def __init__(self, size: int, clock: Callable[[], float]) -> None:
        self.size = size
        self.seen = clock()
        self._clock = clock

    async def kept(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The pieces of a body as they come; each shows that whoever holds this is still there."""
        async for piece in pieces:
            self.seen = self._clock()
            yield piece

    def shrink(self, size: int) -> None:
        """Gives back all but that much."""
        self.size = min(self.size, size)

    def close(self) -> None:
        """Gives the room back; may be repeated."""
        self.size = 0


class MemoryBudget:
    """Bytes that requests share: first come, first served; one that alone would need more than there is gets all."""

    def __init__(self, size: int = SHARED_BYTES, clock: Callable[[], float] = time.monotonic) -> None:
        self._size = size
        self._clock = clock
        self._held: list[Held] = []
        self._queue: list[Held] = []

    @property
    def used(self) -> int:
        """Bytes that are held now."""
        now = self._clock()
        self._held = [held for held in self._held if held.size and now - held.seen < _HOLDER_SECONDS]
        return sum(held.size for held in self._held)

    async def take(self, size: int, wait_seconds: float = WAIT_SECONDS) -> Held:
        """Waits for so much room; raises `Overloaded` where there is none in time. Who takes it must close it."""
        waiter = Held(min(size, self._size), self._clock)
        self._queue.append(waiter)
        end = self._clock() + wait_seconds
        try:
            while not self._is_first(waiter) or self.used + waiter.size > self._size:
                if self._clock() >= end:
                    raise Overloaded("this Worker holds as much as it can at the moment", _RETRY_AFTER_SECONDS)
                await asyncio.sleep(_LOOK_SECONDS)
            self._held.append(waiter)
        finally:
            self._queue = [other for other in self._queue if other is not waiter]
        return waiter

    def _is_first(self, waiter: Held) -> bool:
        """Whether nobody who is still there came before."""
        now = waiter.seen = self._clock()
        self._queue = [other for other in self._queue if now - other.seen < _WAITER_SECONDS]
        if waiter not in self._queue:  # everybody stood still for a while
            self._queue.append(waiter)
        return self._queue[0] is waiter


# One isolate, one room: whatever entrypoints and objects are in it.
SHARED = MemoryBudget()

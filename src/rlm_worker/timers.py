"""Time limits for many waits, kept by one timer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class SharedTimer:
    """Lets each of many `asyncio.timeout(None)` expire so many seconds after it was started.

    Inside a Worker a timer that is cancelled still waits for its time, each costs a callback from JavaScript, and a
    request may have 10,000 of them at most: seen in workerd, which refuses the next one.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends: dict[asyncio.Timeout, float] = {}  # in order, because all may take equally long
        self._watching = False

    @contextmanager
    def over(self, timeout: asyncio.Timeout) -> Iterator[None]:
        """Watches over a timeout that the caller has entered."""
        loop = asyncio.get_running_loop()
        self._ends[timeout] = loop.time() + self.seconds
        if not self._watching:
            self._watching = True
            loop.call_later(self.seconds, self._look)
        try:
            yield
        finally:
            del self._ends[timeout]

    def _look(self) -> None:
        """Ends the waits whose time is over, and looks again when that of the next one is."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for timeout, end in self._ends.items():
            if end > now:
                loop.call_later(end - now, self._look)
                return
            if timeout.when() is None:
                timeout.reschedule(now)
        self._watching = False

"""What counts for one invocation: its subrequests, the connections that wait, the Dynamic Workers that are asked.

An object's invocations share its connections and Dynamic Workers, because they share one context of the platform's. Of
subrequests each has its own count, which what it began takes along: the strictest reading of what is documented.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

from .errors import throw
from .switches import Limits

_TOO_MANY = "Too many subrequests by single Worker invocation."
_TOO_MANY_SANDBOXES = "Too many concurrent dynamic workers"


class Shared:
    """What the invocations of an object share; a request has its own."""

    def __init__(self, limits: Limits, sandboxes: float) -> None:
        self.connections: AbstractAsyncContextManager[object] = (
            asyncio.Semaphore(limits.connections) if limits.connections else nullcontext()
        )
        self._most = sandboxes
        self._asked: Counter[object] = Counter()

    @contextmanager
    def asking(self, sandbox: object) -> Iterator[None]:
        """Holds a place for a Dynamic Worker while it is asked."""
        if sandbox not in self._asked and len(self._asked) >= self._most:
            throw(_TOO_MANY_SANDBOXES)
        self._asked[sandbox] += 1
        try:
            yield
        finally:
            self._asked[sandbox] -= 1
            if not self._asked[sandbox]:
                del self._asked[sandbox]


class Invocation:
    """One event of a Worker or of an object."""

    def __init__(self, limits: Limits, shared: Shared) -> None:
        self.limits = limits
        self.shared = shared
        self._subrequests = 0
        self._points = 0

    async def ask(self, call: Callable[[], Awaitable[Any]], *, connected: bool) -> Any:
        """Makes a subrequest; where it holds a connection, it waits for one."""
        self._subrequests += 1
        if self._subrequests > self.limits.subrequests:
            throw(_TOO_MANY)
        if not connected:
            return await call()
        async with self.shared.connections:
            return await call()

    def point(self) -> None:
        """Counts a data point."""
        self._points += 1
        if self._points > self.limits.points:
            throw(f"writeDataPoint(): at most {self.limits.points:g} data points in an invocation")


CURRENT: ContextVar[Invocation | None] = ContextVar("CURRENT", default=None)

"""Waiting for a change that others make; telling costs nothing while nobody waits."""

from __future__ import annotations

import asyncio


class Change:
    """Lets many wait until something has changed, as a condition does without its lock."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event: asyncio.Event | None = None

    async def wait(self) -> None:
        """Returns after the next `notify`."""
        self._event = self._event or asyncio.Event()
        await self._event.wait()

    def notify(self) -> None:
        if self._event is not None:
            self._event.set()
            self._event = None

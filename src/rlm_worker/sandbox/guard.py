"""The limit on a cell's computing, as far as Python can keep it: loops and calls of Python code.

A hook runs at every jump and every call and raises once the cell's time is up; from then on it raises each time, so
that code which swallows the exception gets nowhere. Work inside C cannot be interrupted from here: the platform's
CPU limit, or locally the watchdog of scripts/dev, ends that. The clock of a deployed Worker stands still while it
computes, so events are counted too.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from functools import partial

# As many jumps and calls as a fast machine gets through in a second.
EVENTS_PER_SECOND = 4_000_000
_LOOK_EVERY = 1_024
_TOOL = 4


class CellTimeout(BaseException):
    """The cell has used up its time."""


class Guard:
    """Interrupts Python code that computes for too long; waiting for models does not count."""

    def __init__(self) -> None:
        self._monitoring = getattr(sys, "monitoring", None)
        self._now = time.monotonic
        self._deadline = math.inf
        self._left = 0.0
        self._paused_at = 0.0
        self._pauses = 0
        self._events_left = 0
        self.disarm: Callable[[], object] = lambda: None
        if self._monitoring is not None:
            self._monitoring.use_tool_id(_TOOL, "cell")
            # Once time is up the hook raises at every Python call, so that ending it must not be one.
            self.disarm = partial(self._monitoring.set_events, _TOOL, 0)

    def arm(self, seconds: float) -> None:
        """Holds what runs from now on to that many seconds, until `disarm`."""
        self._deadline, self._pauses = self._now() + seconds, 0
        self._events_left = int(seconds * EVENTS_PER_SECOND)
        self._watch(self._hook())

    def pause(self) -> None:
        """Stops the clock: the host is at work."""
        self._pauses += 1
        if self._pauses == 1:
            self._paused_at = self._now()
            self._left, self._deadline = self._deadline - self._paused_at, math.inf

    def resume(self, free_seconds: float = 0.0) -> None:
        """Lets the clock go on; of the time since `pause` only so much was free."""
        self._pauses -= 1
        if self._pauses == 0:
            now = self._now()
            self._deadline = now + self._left - max(0.0, now - self._paused_at - free_seconds)

    def rest(self) -> None:
        """Nobody is held to a time any more; comes after `disarm`, which may be no call of Python code."""
        self._deadline, self._pauses = math.inf, 0

    def expire(self) -> None:
        """Takes what is left of the time."""
        self._left = self._deadline = -math.inf

    def insist(self) -> None:
        """From now on every event raises: a hook that looks now and then may look each time while the host works."""
        self._watch(_raise)

    @property
    def is_over(self) -> bool:
        return self._now() > self._deadline

    def _watch(self, hook: Callable[..., None]) -> None:
        monitoring = self._monitoring
        if monitoring is None:
            return
        self.disarm()
        events = monitoring.events
        for event in (events.JUMP, events.PY_START):
            monitoring.register_callback(_TOOL, event, hook)
        monitoring.set_events(_TOOL, events.JUMP | events.PY_START)

    def _hook(self) -> Callable[..., None]:
        countdown = _LOOK_EVERY

        def hook(*_: object) -> None:
            nonlocal countdown
            countdown -= 1
            if countdown:
                return
            self._events_left -= _LOOK_EVERY
            if self._events_left <= 0 or self._now() > self._deadline:
                countdown = 1
                raise CellTimeout
            countdown = _LOOK_EVERY

        return hook


def _raise(*_: object) -> None:
    raise CellTimeout

"""Runs that send to a model by a schedule, in a time of their own."""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass, field

from rlm_worker.pace.schedule import Caller, Schedule
from rlm_worker.ports import Rate

WIDTH = 24


@dataclass
class World:
    """Plays what callers want of a schedule; each has `WIDTH` calls at once under way, each of them takes `latency`."""

    rate: Rate
    latency: float = 1.0
    now: float = 1_000.0
    sent: dict[Caller, list[float]] = field(default_factory=lambda: defaultdict(list))
    _left: dict[Caller, int] = field(default_factory=dict)
    _busy: dict[Caller, int] = field(default_factory=lambda: defaultdict(int))
    _events: list[tuple[float, int, str, Caller, int]] = field(default_factory=list)
    _numbers: int = 0

    def __post_init__(self) -> None:
        self.schedule = Schedule(self.rate)

    def begins(self, caller: Caller, calls: int, after: float = 0.0) -> None:
        """A run that wants so many calls, from `after` seconds on."""
        self._at(self.now + after, "begin", caller, calls)

    def play(self) -> float:
        """Plays until every call was sent; gives the seconds that it took until the last one was answered."""
        began, looks = self.now, 0
        while self._events or any(self._left.values()):
            due = self.schedule.next_at(self.now)
            at = min([due or float("inf"), *(self._events[0][:1] if self._events else ())])
            self.now = max(self.now, at)
            while self._events and self._events[0][0] <= self.now:
                self._take(*heapq.heappop(self._events)[2:])
            for caller, count in self.schedule.serve(self.now):
                self._send(caller, count)
            looks += 1
            assert looks < 100_000, "nothing moves"
        return self.now - began

    def waited(self, caller: Caller, began_after: float) -> float:
        """Seconds that a run's first call waited."""
        return self.sent[caller][0] - 1_000.0 - began_after

    def most_in_window(self) -> int:
        """The most calls in any window of the rate's seconds."""
        times = sorted(at for times in self.sent.values() for at in times)
        first, most = 0, 0
        for last, at in enumerate(times):
            while times[first] <= at - self.rate.seconds:
                first += 1
            most = max(most, last - first + 1)
        return most

    def _at(self, at: float, what: str, caller: Caller, count: int) -> None:
        self._numbers += 1
        heapq.heappush(self._events, (at, self._numbers, what, caller, count))

    def _take(self, what: str, caller: Caller, count: int) -> None:
        if what == "begin":
            self._left[caller] = count
        else:
            self._busy[caller] -= count
        self._ask(caller)

    def _send(self, caller: Caller, count: int) -> None:
        self.sent[caller] += [self.now] * count
        self._left[caller] -= count
        self._busy[caller] += count
        self._at(self.now + self.latency, "answered", caller, count)
        self._ask(caller)

    def _ask(self, caller: Caller) -> None:
        wanted = min(self._left[caller], WIDTH - self._busy[caller])
        if wanted > 0:
            self.schedule.ask(caller, wanted, 0, self.now)
        else:
            self.schedule.park(caller)

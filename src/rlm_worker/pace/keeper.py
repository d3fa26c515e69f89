"""The pace of one model where it is kept: runs wait here for their grants, and a restart remembers what it has given.

What waits and whom the grants went to is in memory only: a lost object costs fairness for a window. How many there
were, second by second, is written down, so that no restart opens the rate anew.
"""

from __future__ import annotations

import asyncio

from rlm_worker.ports import Clock, Database, PaceRequest, Rate
from rlm_worker.timers import SharedTimer

from .schedule import Caller, Schedule

# A run that waits longer is sent away to ask again: one that is gone does not.
POLL_SECONDS = 15.0
# Grants are written down once in this share of the window, and at once where more than this share of the rate is open.
_SAVE_EVERY, _SAVE_SHARE = 1 / 60, 0.05
_LEAST_WAIT = 0.01


class PaceKeeper:
    """Answers runs in the order of a schedule."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._schedule: Schedule | None = None
        self._polls: dict[Caller, asyncio.Future[int]] = {}
        self._timer = SharedTimer(POLL_SECONDS)
        self._wakes_at = float("inf")
        self._saved_at, self._unsaved = 0.0, 0
        self._saved: dict[int, int] = {}
        database.execute("CREATE TABLE IF NOT EXISTS granted (second INTEGER PRIMARY KEY, calls INTEGER)")

    async def take(self, caller: Caller, rate: Rate, request: PaceRequest) -> int:
        """How many calls a run may send now; waits for the first one, 0 where it is to ask again."""
        schedule, now = self._held_to(rate), self._clock.now()
        schedule.give_back(caller, request.unused)
        if request.refused:
            schedule.refused(now, request.retry_after)
        self._end(caller, 0)  # a run asks once at a time: an earlier question is one of a life that is over
        schedule.ask(caller, request.waiting, request.ahead, now)
        poll = self._polls[caller] = asyncio.get_running_loop().create_future()
        self._serve()
        return await self._answer(caller, poll)

    def leave(self, caller: Caller, rate: Rate, unused: int) -> None:
        """Forgets a run and takes back what it has not used."""
        schedule = self._held_to(rate)
        schedule.give_back(caller, unused)
        schedule.leave(caller)
        self._end(caller, 0)
        self._serve()

    def enter(self, caller: Caller, rate: Rate) -> bool:
        """Whether a run that can be put off may begin."""
        return self._held_to(rate).enter(caller, self._clock.now())

    async def _answer(self, caller: Caller, poll: asyncio.Future[int]) -> int:
        try:
            async with asyncio.timeout(None) as timeout:
                with self._timer.over(timeout):
                    return await poll
        except TimeoutError:
            if self._schedule is not None:
                self._schedule.park(caller)
            return 0
        finally:
            if self._polls.get(caller) is poll:
                del self._polls[caller]

    def _held_to(self, rate: Rate) -> Schedule:
        """The schedule for that rate: ops may change it while the object lives."""
        if self._schedule is None or self._schedule.rate != rate:
            known = self._recent() if self._schedule is None else list(self._schedule.recent())
            self._schedule = Schedule(rate)
            self._schedule.restore(known, self._clock.now())
            for poll in tuple(self._polls.values()):
                _resolve(poll, 0)
        return self._schedule

    def _serve(self) -> None:
        if self._schedule is None:
            return
        now = self._clock.now()
        for caller, count in self._schedule.serve(now):
            self._unsaved += count
            self._schedule.park(caller)  # one answer to one question; what it still wants it asks for again
            self._end(caller, count)
        self._save(self._schedule, now)
        self._wake_at(self._schedule.next_at(now), now)

    def _end(self, caller: Caller, count: int) -> None:
        if (poll := self._polls.get(caller)) is not None:
            _resolve(poll, count)

    def _wake_at(self, due: float | None, now: float) -> None:
        """Serves again at that time: one timer counts, and those that were set for later come to nothing."""
        if due is None or due >= self._wakes_at > now:
            return
        self._wakes_at = due
        asyncio.get_running_loop().call_later(max(_LEAST_WAIT, due - now), self._wake, due)

    def _wake(self, due: float) -> None:
        if due == self._wakes_at:
            self._wakes_at = float("inf")
            self._serve()

    def _save(self, schedule: Schedule, now: float) -> None:
        due = self._saved_at + schedule.rate.seconds * _SAVE_EVERY <= now
        if self._unsaved and (due or self._unsaved >= schedule.rate.calls * _SAVE_SHARE):
            self._saved_at, self._unsaved = now, 0
            self._write({int(second): calls for second, calls in schedule.recent()})

    def _write(self, recent: dict[int, int]) -> None:
        """Writes what has changed since it was last written."""
        for second in self._saved.keys() - recent.keys():
            self._database.execute("DELETE FROM granted WHERE second = ?", second)
        for second, calls in recent.items():
            if self._saved.get(second) != calls:
                self._database.execute("INSERT OR REPLACE INTO granted VALUES (?, ?)", second, calls)
        self._saved = recent

    def _recent(self) -> list[tuple[float, int]]:
        rows = self._database.execute("SELECT second, calls FROM granted")
        self._saved = {int(second or 0): int(calls or 0) for second, calls in rows}
        return [(float(second), calls) for second, calls in self._saved.items()]


def _resolve(poll: asyncio.Future[int], count: int) -> None:
    if not poll.done():
        poll.set_result(count)

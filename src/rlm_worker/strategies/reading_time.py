"""How long a run may read: what is left of its time belongs to the root model's last word."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from rlm_worker.errors import UsageLimitExceeded
from rlm_worker.messages import Span
from rlm_worker.runs.run import Run
from rlm_worker.text.chunks import Chunk

# Shares of the run's time: kept for the last word at least (while the root model's pace is a guess, more) and at most.
_MIN_SHARE, _GUESSED_SHARE, _MAX_SHARE = 0.05, 0.2, 0.5
_MARGIN = 1.25
# Timers are not free, so small corrections are left alone.
_CORRECTION = 0.05
# The share of the time that is left after which reading ends although nothing was read yet.
_MAX_READING_SHARE = 0.95

Placed = tuple[Span, Chunk]


@dataclass(slots=True)
class ReadingTime:
    """The time for reading, corrected with every call whose duration is known; all in seconds."""

    run: Run
    whole: float
    timeout: asyncio.Timeout

    def allows_another(self) -> bool:
        """Whether a chunk that is begun now can be read to its end."""
        return self._left() >= self.run.latency.expected("sub")

    def correct(self) -> None:
        """Ends reading earlier or later, as the calls so far suggest; what is under way gets a moment."""
        left = max(self._left(), _MIN_SHARE * self.whole)
        end = asyncio.get_running_loop().time() + left
        planned = self.timeout.when()
        if not self.timeout.expired() and planned is not None and abs(end - planned) > _CORRECTION * self.whole:
            self.timeout.reschedule(end)

    def _left(self) -> float:
        return self._remaining() - self._kept()

    def _remaining(self) -> float:
        return self.run.ledger.remaining_seconds() or 0.0

    def _kept(self) -> float:
        """For the last word; hardly anything where there is no time for it, so that more is read instead."""
        least = _MIN_SHARE * self.whole
        expected = self.run.latency.expected("root")
        if not expected or not self.run.has_time_for("root"):
            return least
        least = least if self.run.ledger.usage.iterations else _GUESSED_SHARE * self.whole
        return min(max(least, expected * _MARGIN), _MAX_SHARE * self.whole)


@dataclass(slots=True)
class Pace:
    """The limit that has ended reading, if one has, and the time for it."""

    stopped: UsageLimitExceeded | None = field(default=None, init=False)
    time: ReadingTime | None = field(default=None, init=False)

    def stop(self, limit: UsageLimitExceeded) -> None:
        """No further chunk is begun; the first limit that was met is the one that is told."""
        self.stopped = self.stopped or limit

    def one_read(self) -> None:
        """One more chunk was read: how long that took tells how long the others may take."""
        if self.time is not None:
            self.time.correct()


async def read_within_time(
    run: Run, chunks: AsyncIterator[Placed], read: Callable[[Placed], Awaitable[None]], pace: Pace
) -> None:
    """Reads chunks, many at once, until all are read, a limit is met, or the rest of the time is the root model's."""
    whole = run.ledger.remaining_seconds()
    if whole is None:
        await run.fan_out(_until_stopped(run, chunks, pace), read)
        return
    try:
        async with asyncio.timeout(max(0.0, whole * _MAX_READING_SHARE)) as timeout:
            pace.time = ReadingTime(run, whole, timeout)
            await run.fan_out(_until_stopped(run, chunks, pace), read)
    except TimeoutError:
        pace.stop(run.out_of_time())


async def _until_stopped(run: Run, chunks: AsyncIterator[Placed], pace: Pace) -> AsyncIterator[Placed]:
    async for placed in chunks:
        if pace.time is not None and not pace.time.allows_another():
            pace.stop(run.out_of_time())
        if pace.stopped is not None:
            return
        yield placed

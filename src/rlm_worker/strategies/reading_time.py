"""How long a run may read: what is left of its time belongs to the root model's last word."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from rlm_worker.runs.run import Run

# Shares of the run's time: kept for the last word at least (while the root model's pace is a guess, more) and at most.
_MIN_SHARE, _GUESSED_SHARE, _MAX_SHARE = 0.05, 0.2, 0.5
_MARGIN = 1.25
# Timers are not free, so small corrections are left alone.
_CORRECTION = 0.05


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

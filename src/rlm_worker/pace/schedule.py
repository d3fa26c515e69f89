"""Who may send to a model next, and when: never more than its rate in any window, fair between keys and runs.

Grants are kept for as long as the model's window lasts, and for as long as a grant may take until it is used. Whoever
has had the least of them goes next: the key first, then the run of that key, then who has waited longest. So a small
question passes runs that have had much, and whoever was passed has had little a window later.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rlm_worker.ports import Rate

# How long a grant may take until its call has reached the model: a share of the window, and seconds at least and most.
_SLACK_SHARE, _MIN_SLACK, _MAX_SLACK = 1 / 30, 0.5, 2.0
# A burst leaves room for so many calls a second behind it, where that is less than half of the rate.
_KEPT_PER_SECOND = 2.0
# What a refusal takes away from the rate, the least that is left of it, and the windows until all of it is back.
_CUT, _MIN_SHARE, _RECOVERY_WINDOWS = 0.7, 0.05, 2.0
MAX_PAUSE_SECONDS = 60.0
# A run that gets fewer calls in a window is better begun later.
_CALLS_EACH = 20
# Calls ahead of need are given while so much of a burst is left.
_PLENTY = 0.5

Caller = tuple[str, str]


def slack_of(rate: Rate) -> float:
    """Seconds between a grant and its call at the model, at most."""
    return min(_MAX_SLACK, max(_MIN_SLACK, rate.seconds * _SLACK_SHARE))


@dataclass(slots=True)
class _Waiting:
    """What a run wants: calls now, and further ones ahead of need; `since` when it has had nothing, in seconds."""

    wanted: int
    ahead: int
    since: float
    seen: float


class Schedule:
    """The grants of one model; times are seconds of one clock, a caller is a key's name and a run's."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._grants: deque[tuple[float, Caller]] = deque()
        self._by_key: Counter[str] = Counter()
        self._by_run: Counter[Caller] = Counter()
        self._waiting: dict[Caller, _Waiting] = {}
        self._entered: dict[Caller, float] = {}
        self._not_before = 0.0
        self._paused_until = 0.0
        self._share, self._cut_at = 1.0, 0.0

    @property
    def window(self) -> float:
        """Seconds for which a grant counts."""
        return self.rate.seconds + slack_of(self.rate)

    def ask(self, caller: Caller, wanted: int, ahead: int, now: float) -> None:
        """Takes note of what a run wants from now on; it keeps its place."""
        known = self._waiting.get(caller)
        self._waiting[caller] = _Waiting(wanted, ahead, known.since if known else now, now)
        self._entered[caller] = now

    def park(self, caller: Caller) -> None:
        """A run waits no longer here, and may come back to its place."""
        if caller in self._waiting:
            self._waiting[caller].wanted = 0

    def leave(self, caller: Caller) -> None:
        """A run has ended."""
        self._waiting.pop(caller, None)
        self._entered.pop(caller, None)

    def enter(self, caller: Caller, now: float) -> bool:
        """Whether a run that can be put off may begin now: the rate is enough for it beside those that go on."""
        self._forget(now)
        if caller not in self._entered and len(self._entered) >= max(1, self._allowed(now) // _CALLS_EACH):
            return False
        self._entered[caller] = now
        return True

    def give_back(self, caller: Caller, count: int) -> None:
        """Takes back a run's last grants, which it has not used and will not."""
        kept: list[tuple[float, Caller]] = []
        while self._grants and count > 0:
            grant = self._grants.pop()
            if grant[1] == caller:
                count -= 1
                self._uncount(caller)
            else:
                kept.append(grant)
        self._grants.extend(reversed(kept))

    def refused(self, now: float, retry_after: float) -> None:
        """The model has refused a call for its rate: others use it too, and all runs slow down."""
        pause = max(slack_of(self.rate), min(retry_after, MAX_PAUSE_SECONDS))
        self._paused_until = max(self._paused_until, now + pause)
        if now - self._cut_at >= self.window / 12:  # refusals of one burst say it once
            self._share, self._cut_at = max(_MIN_SHARE, self._current_share(now) * _CUT), now

    def serve(self, now: float) -> list[tuple[Caller, int]]:
        """Grants whatever is due: each run that gets something, and how many calls."""
        self._forget(now)
        given: Counter[Caller] = Counter()
        while self._is_due(now) and (caller := self._next()) is not None:
            self._grant(caller, now)
            given[caller] += 1
        for caller in given:
            given[caller] += self._ahead(caller, now)
        return list(given.items())

    def next_at(self, now: float) -> float | None:
        """When there is something to grant again; None while nobody waits."""
        if self._next() is None:
            return None
        allowed, held = self._allowed(now), len(self._grants)
        due = now if held < self._burst(allowed) else self._not_before
        if held >= allowed:
            due = max(due, self._grants[held - allowed][0] + self.window)
        return max(due, self._paused_until, now)

    def recent(self) -> Iterator[tuple[float, int]]:
        """The grants that count, second by second: the end of each and how many."""
        seconds = Counter(int(at) + 1 for at, _ in self._grants)
        yield from sorted(seconds.items())

    def restore(self, recent: Iterable[tuple[float, int]], now: float) -> None:
        """Takes up what an earlier life has granted; for whom is forgotten."""
        for at, count in sorted(recent):
            for _ in range(count):
                self._count(("", ""), min(at, now))
        self._forget(now)

    def _is_due(self, now: float) -> bool:
        due = self.next_at(now)
        return due is not None and due <= now

    def _next(self) -> Caller | None:
        """Who goes next among those that wait."""
        waiting = [caller for caller, entry in self._waiting.items() if entry.wanted > 0]
        return min(waiting, key=self._place, default=None)

    def _place(self, caller: Caller) -> tuple[int, int, float]:
        return self._by_key[caller[0]], self._by_run[caller], self._waiting[caller].since

    def _grant(self, caller: Caller, now: float) -> None:
        self._count(caller, now)
        entry = self._waiting[caller]
        entry.wanted -= 1
        entry.since = now
        if len(self._grants) >= self._burst(self._allowed(now)):
            self._not_before = now + 1 / self._sustained(now)

    def _ahead(self, caller: Caller, now: float) -> int:
        """Grants ahead of need, where nobody needs them and there are plenty."""
        entry = self._waiting[caller]
        room = int(self._burst(self._allowed(now)) * _PLENTY) - len(self._grants)
        if self._next() is not None or now < self._paused_until:
            return 0
        count = max(0, min(entry.ahead, room))
        for _ in range(count):
            self._count(caller, now)
        return count

    def _sustained(self, now: float) -> float:
        """Calls a second that can go on for a whole window without a stop, whatever was granted before."""
        free = self._allowed(now) - len(self._grants)
        best = max(1, self._allowed(now)) / self.window
        for expired, (at, _) in enumerate(self._grants):
            if (left := at + self.window - now) > 0:
                best = min(best, (free + expired) / left)
        # Nothing is left before the oldest grant goes: that is when to look again.
        return best if best > 0 else 1 / max(0.01, self._grants[0][0] + self.window - now)

    def _burst(self, allowed: int) -> int:
        """How many grants may be out at once: all but what those who come later need."""
        return max(1, allowed - int(min(allowed / 2, self.rate.seconds * _KEPT_PER_SECOND)))

    def _allowed(self, now: float) -> int:
        return max(1, int(self.rate.calls * self._current_share(now)))

    def _current_share(self, now: float) -> float:
        return min(1.0, self._share + (now - self._cut_at) / (_RECOVERY_WINDOWS * self.window))

    def _count(self, caller: Caller, at: float) -> None:
        self._grants.append((at, caller))
        self._by_key[caller[0]] += 1
        self._by_run[caller] += 1

    def _uncount(self, caller: Caller) -> None:
        self._by_key[caller[0]] -= 1
        self._by_run[caller] -= 1
        if not self._by_run[caller]:
            del self._by_run[caller]
        if not self._by_key[caller[0]]:
            del self._by_key[caller[0]]

    def _forget(self, now: float) -> None:
        """Lets go of grants that count no more, and of runs of which nothing was heard for long."""
        while self._grants and self._grants[0][0] + self.window <= now:
            self._uncount(self._grants.popleft()[1])
        for caller, entry in list(self._waiting.items()):
            if entry.wanted <= 0 and entry.seen + self.window <= now:
                del self._waiting[caller]
        for caller, seen in list(self._entered.items()):
            still = caller in self._waiting and self._waiting[caller].wanted > 0
            if not still and seen + self.window / 2 <= now:
                del self._entered[caller]

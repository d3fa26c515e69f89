"""What the scripted model is to do, and what it has seen: its rules and faults, its log, and the calls that hang."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from scripts.local.scripted.calls import CallEntry, ChatCall
from scripts.local.scripted.faults import Fault, FaultPlan
from scripts.local.scripted.rate import Rate, RateCounter
from scripts.local.scripted.rules import Rule, needle

_LOOK_SECONDS = 0.005
_TOO_LONG = (
    "The estimated number of input and maximum output tokens ({tokens}) exceeded this model context window limit "
    "({window})"
)


class Script:
    """Every attribute may be set while it is played.

    `latency` is in seconds. Beyond `rate` the answer is 3021; beyond `capacity` calls at once it is 3040 or, for a call
    that may be queued, 3046 after `queue_seconds`. A prompt that with its `max_tokens` is longer than `window` tokens
    gets 3010. `answers_as` is the model's name in answers, where it is not the one asked. `meanings` are what judges
    take words for.
    """

    def __init__(self) -> None:
        self._arrival = threading.Condition()
        self._hung: set[asyncio.Future[None]] = set()
        self._arrived, self._released = 0, 0
        self.calls: list[CallEntry] = []
        self.reset()

    def reset(self) -> None:
        """Back to the default script, an empty log, and no call left hanging."""
        self.rules: Sequence[Rule] = [needle()]
        self.answers_as = ""
        self.meanings: Mapping[str, str] = {}
        self.latency: float | Callable[[ChatCall], float] = 0.0
        self.capacity: int | None = None
        self.queue_seconds = 10.0
        self._queue: list[CallEntry] = []
        self.window: int | None = None
        self._rates: RateCounter | None = None
        self._plan = FaultPlan()
        self._attempts: Counter[str] = Counter()
        self.in_flight = 0
        self.peak = 0
        self.calls = []
        self.release()

    @property
    def faults(self) -> tuple[Fault, ...]:
        return self._plan.faults

    @faults.setter
    def faults(self, faults: Sequence[Fault]) -> None:
        self._plan = FaultPlan(tuple(faults))

    @property
    def rate(self) -> Rate | None:
        """What all callers together may ask in a while; counted anew from when it is set."""
        return self._rates.rate if self._rates is not None else None

    @rate.setter
    def rate(self, rate: Rate | None) -> None:
        self._rates = RateCounter(rate) if rate is not None else None

    @property
    def answered(self) -> list[CallEntry]:
        """The calls that were answered properly: what a provider would charge for."""
        return [entry for entry in self.calls if entry.outcome == "ok"]

    def wait_for_calls(self, count: int, *, seconds: float = 30.0) -> list[CallEntry]:
        """Blocks until that many calls have arrived; TimeoutError where they do not."""
        with self._arrival:
            if not self._arrival.wait_for(lambda: len(self.calls) >= count, seconds):
                raise TimeoutError(f"{len(self.calls)} of {count} calls arrived in {seconds} s")
        return self.calls

    def release(self) -> None:
        """Lets go of every call that hangs, or has arrived and is about to: its connection breaks."""
        with self._arrival:
            self._released = self._arrived
            for hung in self._hung:
                hung.get_loop().call_soon_threadsafe(_let_go, hung)

    def enter(self, call: ChatCall) -> tuple[CallEntry, Fault | None]:
        """Logs a call on its arrival and says how it is to fail; for the server only."""
        with self._arrival:
            self._arrived += 1
            entry = CallEntry(call, started=time.time(), arrival=self._arrived)
            self.calls.append(entry)
            self._arrival.notify_all()
        fault = self._plan.strike(call)
        entry.queued = fault is None and call.queues and self._is_full
        if entry.queued:
            self._queue.append(entry)
        else:
            self._admit()
        return entry, fault or self._refusal(call, queued=entry.queued)

    async def wait_for_room(self, entry: CallEntry) -> Fault | None:
        """Waits, first come, first served, for as long as the queue has no room for a call; for the server only."""
        until = time.monotonic() + self.queue_seconds
        try:
            while entry.queued and entry in self._queue:
                if self._queue[0] is entry and not self._is_full:
                    entry.queued = False
                    self._admit()
                elif time.monotonic() > until:
                    return Fault(3046)
                else:
                    await asyncio.sleep(_LOOK_SECONDS)
        finally:
            if entry in self._queue:
                self._queue.remove(entry)
        return None

    def _admit(self) -> None:
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)

    @property
    def _is_full(self) -> bool:
        return self.capacity is not None and self.in_flight >= self.capacity

    def leave(self, entry: CallEntry, outcome: str, answer: object = None) -> None:
        """Logs how a call ended, once; for the server only."""
        if entry.ended is not None:
            return
        entry.ended, entry.outcome, entry.answer = time.time(), outcome, answer
        if not entry.queued:
            self.in_flight = max(0, self.in_flight - 1)

    def attempt(self, digest: str) -> int:
        """Counts the attempts at one prompt; for the server only."""
        self._attempts[digest] += 1
        return self._attempts[digest]

    async def hang(self, entry: CallEntry) -> None:
        """Waits until `release`; for the server only."""
        hung: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._arrival:
            if entry.arrival <= self._released:
                return
            self._hung.add(hung)
        try:
            await hung
        finally:
            with self._arrival:
                self._hung.discard(hung)

    def _refusal(self, call: ChatCall, *, queued: bool) -> Fault | None:
        if self.capacity is not None and self.in_flight > self.capacity and not queued:
            return Fault(3040)
        if self._rates is not None and not self._rates.takes(call.model, time.time()):
            return Fault(3021)
        tokens = call.prompt_tokens + (call.max_tokens or 0)
        if self.window is not None and tokens > self.window:
            return Fault(3010, says=f"AiError: {_TOO_LONG.format(tokens=tokens, window=self.window)}")
        return None


def _let_go(hung: asyncio.Future[None]) -> None:
    if not hung.done():
        hung.set_result(None)

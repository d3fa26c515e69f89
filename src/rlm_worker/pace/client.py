"""A run's side of the pace: its calls queue here, and their leave to send comes in bundles."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

from rlm_worker.errors import RLMError
from rlm_worker.messages import ModelSpec
from rlm_worker.ports import Clock, Pace, PaceRequest, Rate

from .rates import Rates
from .schedule import slack_of

_MAX_AHEAD = 16
# Where the pace cannot be reached a run goes by its own limiter, and asks again after so many seconds.
UNPACED_SECONDS = 30.0
_LEAVE_SECONDS = 2.0
_AGAIN_SECONDS = 0.05
_LONG_SECONDS = 1.0


class Unpaced:
    """The `Pace` of a deployment that has none: whoever asks may go on."""

    # Nobody is asked, so nothing of the questions is used.
    # ruff: noqa: ARG002

    async def take(self, model: str, rate: Rate, owner: str, run: str, request: PaceRequest) -> int:
        return request.waiting

    async def leave(self, model: str, rate: Rate, owner: str, run: str, unused: int) -> None:
        return

    async def enter(self, model: str, rate: Rate, owner: str, run: str) -> bool:
        return True


class WatchedPace:
    """A run's `Pace` that knows whether it keeps the run waiting."""

    def __init__(self, pace: Pace, clock: Clock) -> None:
        self._pace = pace
        self._clock = clock
        self._asked: list[float] = []

    def keeps_waiting(self) -> bool:
        """Whether a question has been open for long: the model's rate is what the run waits for."""
        return any(self._clock.now() - at >= _LONG_SECONDS for at in self._asked)

    async def take(self, model: str, rate: Rate, owner: str, run: str, request: PaceRequest) -> int:
        now = self._clock.now()
        self._asked.append(now)
        try:
            return await self._pace.take(model, rate, owner, run, request)
        finally:
            self._asked.remove(now)

    async def leave(self, model: str, rate: Rate, owner: str, run: str, unused: int) -> None:
        await self._pace.leave(model, rate, owner, run, unused)

    async def enter(self, model: str, rate: Rate, owner: str, run: str) -> bool:
        return await self._pace.enter(model, rate, owner, run)


@dataclass(frozen=True, slots=True)
class Party:
    """Who asks a pace: the key's name and the run's."""

    pace: Pace
    rates: Rates
    clock: Clock
    owner: str
    run: str


class RunPace:
    """The leave to send that one run has, of every model; to be closed when the run has ended."""

    def __init__(self, party: Party) -> None:
        self._party = party
        self._queues: dict[str, _ModelQueue] = {}

    async def acquire(self, model: ModelSpec, *, first: bool = False) -> None:
        """Waits until a call to that model may be sent; with `first` before all others of this run."""
        rate = self._party.rates.of(model)
        if rate is None:
            return
        queue = self._queues.get(model.id)
        if queue is None:
            queue = self._queues[model.id] = _ModelQueue(self._party, model.id, rate)
        await queue.acquire(first=first)

    def refused(self, model: ModelSpec, retry_after: float) -> None:
        """Takes note that a model's rate was passed; all runs hear of it with the next question."""
        if (queue := self._queues.get(model.id)) is not None:
            queue.refused(retry_after)

    async def close(self) -> None:
        """Gives back what was not used; where that fails it is only lost to the pace, for a minute."""
        queues, self._queues = list(self._queues.values()), {}
        await asyncio.gather(*(queue.close() for queue in queues))


@dataclass(slots=True)
class _ModelQueue:
    """Calls of one run to one model, asked for by one question at a time."""

    party: Party
    model: str
    rate: Rate
    _waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    _ready: int = 0
    _ready_until: float = 0.0
    _unused: int = 0
    _used: int = 0
    _refused: tuple[bool, float] = (False, 0.0)
    _unpaced_until: float = 0.0
    _asking: asyncio.Task[None] | None = None

    async def acquire(self, *, first: bool) -> None:
        now = self.party.clock.now()
        self._drop_old(now)
        self._used += 1
        if now < self._unpaced_until:
            return
        if self._ready and not self._waiting:
            self._ready -= 1
            return
        await self._turn(first=first)

    def refused(self, retry_after: float) -> None:
        self._refused = (True, max(retry_after, self._refused[1]))

    async def close(self) -> None:
        asking, self._asking = self._asking, None
        is_open = asking is not None and not asking.done()
        if asking is not None:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        unused = self._unused + self._ready
        if not (is_open or unused):
            return
        with suppress(RLMError, TimeoutError):
            async with asyncio.timeout(_LEAVE_SECONDS):
                await self.party.pace.leave(self.model, self.rate, self.party.owner, self.party.run, unused)

    async def _turn(self, *, first: bool) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if first:
            self._waiting.appendleft(turn)
        else:
            self._waiting.append(turn)
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._hand_out(1)  # its leave is another's
            raise

    async def _ask(self) -> None:
        """Asks for as long as somebody waits."""
        await asyncio.sleep(0)  # those that come at the same time are asked for together
        while waiting := sum(not turn.done() for turn in self._waiting):
            try:
                granted = await self._taken(waiting)
                self._hand_out(granted)
                if not granted:
                    await self.party.clock.sleep(_AGAIN_SECONDS)
            except Exception:  # noqa: BLE001 - whatever it is: nobody may wait for leave that will never come
                self._unpaced_until = self.party.clock.now() + UNPACED_SECONDS
                self._hand_out(len(self._waiting))
                return

    async def _taken(self, waiting: int) -> int:
        ahead = min(_MAX_AHEAD, max(0, self._used - waiting))
        (refused, retry_after), self._refused = self._refused, (False, 0.0)
        unused, self._unused = self._unused, 0
        request = PaceRequest(waiting, ahead, unused, refused, retry_after)
        return await self.party.pace.take(self.model, self.rate, self.party.owner, self.party.run, request)

    def _hand_out(self, count: int) -> None:
        while count and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # whoever waited was cancelled
                turn.set_result(None)
                count -= 1
        if count:
            self._ready += count
            # The other half of the slack is for the way from the pace to here and on to the model.
            self._ready_until = self.party.clock.now() + slack_of(self.rate) / 2

    def _drop_old(self, now: float) -> None:
        """Leave that was not used in time is none any more."""
        if self._ready and now >= self._ready_until:
            self._unused, self._ready = self._unused + self._ready, 0

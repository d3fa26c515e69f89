"""A language model that answers by rule and fails on order: an OpenAI-compatible server with a log that tests can read.

It runs in a thread of its own and outside workerd, so it outlives every `kill -9` of the Worker. In a test:

    with ScriptedModel() as model:      # model.url is what `scripts/dev --ai URL` takes
        model.rules = [counter("apple")]
        model.faults = [Fault(3040, calls=frozenset({1}), retry_after=1)]
        …
        assert len(model.calls) == 2

Over HTTP the same: GET and POST /control, GET and DELETE /control/calls.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar

from aiohttp import web

from scripts.local.scripted.calls import CallEntry, ChatCall
from scripts.local.scripted.faults import Fault, FaultPlan
from scripts.local.scripted.http import scripted_app
from scripts.local.scripted.rules import Rule, needle

T = TypeVar("T")

_START_SECONDS = 10.0


class ScriptedModel:
    """The server and its script; every attribute may be set while it serves.

    `latency` is in seconds; beyond `capacity` calls at once it answers 3040; a prompt that with its `max_tokens` is
    longer than `window` tokens gets 3006.
    """

    def __init__(self, *, port: int = 0) -> None:
        self._wanted_port = port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._released: asyncio.Event
        self._stopping: asyncio.Event
        self._thread: threading.Thread | None = None
        self.url = ""
        self.calls: list[CallEntry] = []
        self.reset()

    def reset(self) -> None:
        """Back to the default script, an empty log, and no call left hanging."""
        self.rules: Sequence[Rule] = [needle()]
        self.latency: float | Callable[[ChatCall], float] = 0.0
        self.capacity: int | None = None
        self.window: int | None = None
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
    def answered(self) -> list[CallEntry]:
        """The calls that were answered properly: what a provider would charge for."""
        return [entry for entry in self.calls if entry.outcome == "ok"]

    def wait_for_calls(self, count: int, *, seconds: float = 30.0) -> list[CallEntry]:
        """Blocks until that many calls have arrived; TimeoutError where they do not."""
        deadline = time.monotonic() + seconds
        while len(self.calls) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(self.calls)} of {count} calls arrived in {seconds} s")
            time.sleep(0.01)
        return self.calls

    def release(self) -> None:
        """Lets go of every call that hangs: its connection breaks."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._break_hung)

    def enter(self, call: ChatCall) -> tuple[CallEntry, Fault | None]:
        """Logs a call on its arrival and says how it is to fail; for the server only."""
        entry = CallEntry(call, started=time.time())
        self.calls.append(entry)
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        return entry, self._plan.strike(call) or self._refusal(call)

    def leave(self, entry: CallEntry, outcome: str, answer: object = None) -> None:
        """Logs how a call ended, once; for the server only."""
        if entry.ended is not None:
            return
        entry.ended, entry.outcome, entry.answer = time.time(), outcome, answer
        self.in_flight = max(0, self.in_flight - 1)

    def attempt(self, digest: str) -> int:
        """Counts the attempts at one prompt; for the server only."""
        self._attempts[digest] += 1
        return self._attempts[digest]

    async def hang(self) -> None:
        """Waits until `release`; for the server only."""
        await self._released.wait()

    def _refusal(self, call: ChatCall) -> Fault | None:
        if self.capacity is not None and self.in_flight > self.capacity:
            return Fault(3040)
        if self.window is not None and call.prompt_tokens + (call.max_tokens or 0) > self.window:
            return Fault(3006)
        return None

    def _break_hung(self) -> None:
        self._released.set()
        self._released = asyncio.Event()

    def start(self) -> Self:
        """Serves in a thread of its own until `stop`."""
        ready = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(ready)), name="scripted-model", daemon=True
        )
        self._thread.start()
        if not ready.wait(_START_SECONDS):
            raise TimeoutError("the scripted model did not start")
        return self

    def stop(self) -> None:
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(_START_SECONDS)
            self._loop = None

    async def _serve(self, ready: threading.Event) -> None:
        self._stopping, self._released = asyncio.Event(), asyncio.Event()
        runner = web.AppRunner(scripted_app(self), access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self._wanted_port, backlog=2048)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        self._loop = asyncio.get_running_loop()
        ready.set()
        await self._stopping.wait()
        self._break_hung()
        await runner.cleanup()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

"""A public double of the sandbox: the same REPL on a thread of this process. It protects from nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from rlm_worker.errors import SandboxForgot, SandboxLost
from rlm_worker.ports import SandboxRepl
from rlm_worker.sandbox.repl import Repl, Setup

Call = Callable[[str], Awaitable[str]]


@dataclass(slots=True)
class ThreadSandbox:
    """Opens REPLs on threads; `deadly` is text that ends the isolate of a cell which has it, as `os._exit` would."""

    deadly: str = "os._exit"
    opened: list[ThreadRepl] = field(default_factory=list)

    async def open(self, session_id: str, setup: str, seconds: float, call: Call) -> SandboxRepl:  # noqa: ARG002
        repl = ThreadRepl(setup, call, asyncio.get_running_loop(), self.deadly)
        self.opened.append(repl)
        return repl


class ThreadRepl:
    """One REPL; keeps the requests that it ran. `forgotten`: the platform has put an empty one in its place."""

    def __init__(self, setup: str, call: Call, loop: asyncio.AbstractEventLoop, deadly: str) -> None:
        self._call = call
        self._loop = loop
        self._deadly = deadly
        self._repl = Repl(Setup.from_json(setup), self._ask)
        self.ran: list[str] = []
        self.closed = False
        self.forgotten = False

    async def run(self, request: str) -> str:
        """Runs a cell on a thread, so that its calls can wait for this one."""
        if self.forgotten:
            raise SandboxForgot("the platform restarted it")
        self.ran.append(request)
        if self._deadly in request:
            raise SandboxLost("it ended the Python process")
        return await asyncio.to_thread(self._repl.run, request)

    async def close(self) -> None:
        self.closed = True

    def _ask(self, request: str) -> str:
        return asyncio.run_coroutine_threadsafe(_awaited(self._call(request)), self._loop).result()


async def _awaited(answer: Awaitable[str]) -> str:
    return await answer

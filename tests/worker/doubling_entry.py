"""The Worker on a platform that keeps several isolates under one name: put before `src/entry.py` by test_sandboxes.py.

The vars say which calls of `run` meet another isolate, counted through from 1, and whether it is there from then on
(`instead`, as after an eviction) or for that call only (`beside`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import entry
from rlm_worker.adapters.bindings import variable
from rlm_worker.adapters.sandbox import DynamicWorkers
from rlm_worker.durable_objects.session_object import SessionSlot, open_session

Default = entry.Default
SandboxHost = entry.SandboxHost
globals().update({name: exported for name, exported in vars(entry).items() if name.startswith("RLM")})

CALLS = "DOUBLED_CALLS"


class DoublingLoader:
    """The loader; which isolate a name leads to changes on the way."""

    def __init__(self, env: Any) -> None:
        self._loader = env.RLM_LOADER
        calls, _, self._mode = (variable(env, CALLS) or "").partition(" ")
        self._calls = {int(number) for number in calls.split(",") if number}
        self._runs = 0
        self._moved = 0

    def get(self, name: str, code: Any) -> DoublingStub:
        def isolate(other: int) -> Any:
            return self._loader.get(f"{name} {other}" if other else name, code).getEntrypoint()

        return DoublingStub(isolate, self)

    def number(self) -> int:
        """Which isolate the next call of `run` meets."""
        self._runs += 1
        if self._runs not in self._calls:
            return self._moved
        if self._mode == "instead":
            self._moved += 1
            return self._moved
        return self._runs

    @property
    def moved(self) -> int:
        return self._moved


class DoublingStub:
    def __init__(self, isolate: Callable[[int], Any], loader: DoublingLoader) -> None:
        self._isolate = isolate
        self._loader = loader

    def getEntrypoint(self) -> DoublingStub:  # noqa: N802 - the platform's name
        return self

    async def open(self, *arguments: object) -> object:
        return await self._isolate(self._loader.moved).open(*arguments)

    async def run(self, *arguments: object) -> object:
        return await self._isolate(self._loader.number()).run(*arguments)


class DoublingEnv:
    """The environment, its loader doubled."""

    def __init__(self, env: Any) -> None:
        self._env = env
        self.RLM_LOADER = DoublingLoader(env)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)


class RLMSession(entry.RLMSession):
    """The session, whose sandboxes are doubled."""

    def __init__(self, ctx: Any, env: Any) -> None:
        self._sandbox = DynamicWorkers(ctx, DoublingEnv(env))
        self._slot = SessionSlot(lambda: open_session(ctx, env, self._sandbox))

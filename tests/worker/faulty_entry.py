"""The Worker behind bindings that fail to order: put before `src/entry.py` by `tests/worker/test_faults.py`.

`PUT /faults` takes {"BINDING": {"mode": absent|throwing|slow|wrong|nth, "n", "seconds"}} and forgets the faults before.
Entrypoint and Durable Objects share one isolate in local workerd, so one table serves them all.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import js
from workers import DurableObject, Response

import entry
from rlm_worker.adapters.sandbox import DynamicWorkers
from rlm_worker.durable_objects.account_object import AccountMethods, open_account
from rlm_worker.durable_objects.batch_object import open_batch
from rlm_worker.durable_objects.session_object import SessionSlot, open_session

SandboxHost = entry.SandboxHost
RLMPace = entry.RLMPace
RLMKeys = entry.RLMKeys
NAMESPACES = frozenset({"RLM_SESSIONS", "RLM_ACCOUNTS", "RLM_BATCHES", "RLM_PACE", "RLM_KEYS"})
FAULTS: dict[str, dict[str, Any]] = {}
# Longer than the deployment of tests/worker/test_faults.py waits for a model.
SLOW_SECONDS = 1.5


class GarbledObject:
    """What R2 gives in place of an object: as many bytes as were asked for, and none of them text."""

    def __init__(self, options: Any) -> None:
        self._length = options["range"]["length"] if isinstance(options, dict) else 10

    async def arrayBuffer(self) -> bytes:  # noqa: N802 - the platform's name
        return b"\xff" * self._length


WRONG: dict[str, Callable[..., object]] = {
    "AI": lambda *_: 42,
    "RLM_CACHE": lambda *_: '{"digest": 7, "result": ["not a result"]',
    "RLM_CONTEXT_STORAGE": lambda _key=None, options=None, *_: GarbledObject(options),
    "RLM_RATE_LIMITER": lambda *_: None,
    "RLM_ANALYTICS": lambda *_: 42,
    "RLM_BATCH_QUEUE": lambda *_: 42,
}


def _something_else(*_: object) -> object:
    return "<html>not what you asked for</html>"


class FaultyEnv:
    """The real environment, its bindings as the table says."""

    def __init__(self, env: Any) -> None:
        self._real = env

    def __getattr__(self, name: str) -> Any:
        fault = FAULTS.get(name)
        if fault is not None and fault["mode"] == "absent":
            raise AttributeError(name)
        real = getattr(self._real, name)
        return real if fault is None else FaultyBinding(name, real, fault)


class FaultyBinding:
    """A binding, or a stub from one, whose methods fail."""

    def __init__(self, name: str, real: Any, fault: dict[str, Any]) -> None:
        self._name, self._real, self._fault = name, real, fault

    def __getattr__(self, method: str) -> Any:
        if method == "_binding":  # what the SDK has wrapped
            return FaultyBinding(self._name, getattr(self._real, "_binding", self._real), self._fault)
        real = getattr(self._real, method)
        if method in ("getByName", "get") and self._name in NAMESPACES:
            return lambda *arguments: FaultyBinding(f"{self._name} stub", real(*arguments), self._fault)
        if method == "writeDataPoint" or (self._name == "RLM_LOADER" and method == "get"):
            return lambda *arguments: self._at_once(real, arguments)
        return lambda *arguments: self._later(real, arguments)

    def _at_once(self, real: Any, arguments: tuple[Any, ...]) -> Any:
        if self._strikes():
            fail()
        return real(*arguments)

    async def _later(self, real: Any, arguments: tuple[Any, ...]) -> Any:
        mode = self._fault["mode"]
        if mode == "slow":
            await asyncio.sleep(self._fault.get("seconds", SLOW_SECONDS))
        elif mode == "wrong":
            return WRONG.get(self._name, _something_else)(*arguments)
        elif self._strikes():
            fail()
        return await real(*arguments)

    def _strikes(self) -> bool:
        self._fault["used"] = self._fault.get("used", 0) + 1
        return bool(self._fault["mode"] == "throwing" or self._fault["used"] == self._fault.get("n"))


def fail() -> None:
    """Raises what a call into JavaScript raises."""
    js.JSON.parse("{")


class Default(entry.Default):
    """The Worker, and the order that it takes for faults."""

    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        self.env = FaultyEnv(self.env)

    async def fetch(self, request: Any) -> Any:
        if not str(request.url).endswith("/faults"):
            return await super().fetch(request)
        FAULTS.clear()
        FAULTS.update(json.loads(await request.text()))
        return Response("")


class RLMSession(entry.RLMSession):
    """The session, on the faulty environment."""

    def __init__(self, ctx: Any, env: Any) -> None:
        faulty = FaultyEnv(env)
        self._sandbox = DynamicWorkers(ctx, faulty)
        self._slot = SessionSlot(lambda: open_session(ctx, faulty, self._sandbox))


class RLMAccount(AccountMethods, DurableObject):
    """The account, as it is."""

    def __init__(self, ctx: Any, env: Any) -> None:
        self._account = open_account(ctx, env)


class RLMBatch(entry.RLMBatch):
    """The batch, on the faulty environment."""

    def __init__(self, ctx: Any, env: Any) -> None:
        self._keeper = open_batch(ctx, FaultyEnv(env))

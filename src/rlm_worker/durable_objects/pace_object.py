"""The pace of a model in its Durable Object: its schedule, its methods over RPC, and the port that calls them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import Any

from rlm_worker.adapters.bindings import SystemClock, binding
from rlm_worker.errors import StorageUnavailable
from rlm_worker.pace.client import Unpaced
from rlm_worker.pace.keeper import POLL_SECONDS, PaceKeeper
from rlm_worker.ports import Pace, PaceRequest, Rate

from .rpc import answered, answered_now, paces
from .storage import DurableSQL

# What the object keeps a run waiting is no sign that it is gone.
_ANSWER_SECONDS = POLL_SECONDS + 10.0


def open_pace(context: Any) -> PaceKeeper:
    """The pace of a Durable Object."""
    return PaceKeeper(DurableSQL(context), SystemClock())


def pace_of(env: Any) -> Pace:
    """The pace of a deployment; without its binding every run goes by its own limiter."""
    return Unpaced() if binding(env, "RLM_PACE") is None else PaceStubs(env)


class PaceMethods:
    """What a pace answers over RPC; rates and requests cross as JSON."""

    _keeper: PaceKeeper

    async def take(self, owner: str, run: str, rate: str, request: str) -> str:
        wants = PaceRequest(**json.loads(request))
        return await answered(lambda: self._keeper.take((owner, run), _rate(rate), wants))

    async def leave(self, owner: str, run: str, rate: str, unused: int) -> str:
        return await answered_now(lambda: self._keeper.leave((owner, run), _rate(rate), int(unused)))

    async def enter(self, owner: str, run: str, rate: str) -> str:
        return await answered_now(lambda: self._keeper.enter((owner, run), _rate(rate)))


class PaceStubs:
    """The `Pace` port: one Durable Object for each model. Every call may be repeated, so a broken one is."""

    def __init__(self, env: Any) -> None:
        self._stubs = paces(env)

    async def take(self, model: str, rate: Rate, owner: str, run: str, request: PaceRequest) -> int:
        granted = await self._call(model, "take", owner, run, rate, json.dumps(asdict(request)))
        if not isinstance(granted, int | float):
            raise StorageUnavailable(f"the pace of {model} answered with something that is not a number")
        return int(granted)

    async def leave(self, model: str, rate: Rate, owner: str, run: str, unused: int) -> None:
        await self._call(model, "leave", owner, run, rate, unused)

    async def enter(self, model: str, rate: Rate, owner: str, run: str) -> bool:
        return bool(await self._call(model, "enter", owner, run, rate))

    async def _call(self, model: str, method: str, owner: str, run: str, rate: Rate, *more: object) -> object:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await self._stubs.call(model, method, owner, run, json.dumps(asdict(rate)), *more)
        except TimeoutError:
            raise StorageUnavailable(f"the pace of {model} does not answer") from None


def _rate(text: str) -> Rate:
    return Rate(**json.loads(text))

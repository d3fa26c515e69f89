"""The `ResultCache` port on Workers KV: it may forget, and a failure of it is never a failure of a run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from rlm_worker.log import log_error

from .bindings import binding

_TTL_SECONDS = 3_600
# A value may have 25 MiB; what might be larger is not kept.
_MAX_CHARACTERS = 6_000_000
# Whoever waits longer for a cache would be faster without.
_ANSWER_SECONDS = 2.0
_PAUSES = (0.0, 1.2, 2.4)


class KVCache:
    """Strings under `RLM_CACHE`, for an hour."""

    def __init__(self, env: Any) -> None:
        self._env = env

    async def get(self, key: str) -> str | None:
        found = await self._ask(lambda kv: kv.get(key))
        return found if isinstance(found, str) else None

    async def put(self, key: str, value: str) -> None:
        if len(value) <= _MAX_CHARACTERS:
            await self._ask(lambda kv: kv.put(key, value, {"expirationTtl": _TTL_SECONDS}))

    async def delete(self, key: str) -> None:
        """Tries again where KV refuses: a key takes one write a second, and it may just have been written."""

        async def ask(kv: Any) -> bool:
            await kv.delete(key)
            return True

        for pause in _PAUSES:
            await asyncio.sleep(pause)
            if binding(self._env, "RLM_CACHE") is None or await self._ask(ask):
                return

    async def _ask(self, ask: Callable[[Any], Awaitable[object]]) -> object:
        """What KV says; None where it is absent, fails or does not answer."""
        kv = binding(self._env, "RLM_CACHE")
        if kv is None:
            return None
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await ask(kv)
        except Exception as error:  # noqa: BLE001 - whatever it is, a run goes on without the cache
            log_error("cache", error)
            return None

"""The `ResultCache` port on Workers KV: it may forget, and a failure of it is never a failure of a run."""

from __future__ import annotations

from typing import Any

from pyodide.ffi import JsException

from .bindings import binding

_TTL_SECONDS = 3_600
# A value may have 25 MiB; what might be larger is not kept.
_MOST_CHARACTERS = 6_000_000


class KVCache:
    """Strings under `RLM_CACHE`, for an hour."""

    def __init__(self, env: Any) -> None:
        self._env = env

    async def get(self, key: str) -> str | None:
        kv = binding(self._env, "RLM_CACHE")
        if kv is None:
            return None
        try:
            found = await kv.get(key)
        except (JsException, OSError):
            return None
        return found if isinstance(found, str) else None

    async def put(self, key: str, value: str) -> None:
        kv = binding(self._env, "RLM_CACHE")
        if kv is None or len(value) > _MOST_CHARACTERS:
            return
        try:
            await kv.put(key, value, {"expirationTtl": _TTL_SECONDS})
        except (JsException, OSError):
            return

    async def delete(self, key: str) -> None:
        kv = binding(self._env, "RLM_CACHE")
        if kv is None:
            return
        try:
            await kv.delete(key)
        except (JsException, OSError):
            return

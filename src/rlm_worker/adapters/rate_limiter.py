"""The `RateLimiter` port on the rate-limiting binding: a brake, so what cannot be asked does not hold anybody back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import js
from pyodide.ffi import JsException, to_js

from .bindings import binding


class BindingRateLimiter:
    """Counts requests under `RLM_RATE_LIMITER`, by key."""

    def __init__(self, env: Any) -> None:
        self._env = env

    async def allows(self, owner: str) -> bool:
        limiter = binding(self._env, "RLM_RATE_LIMITER")
        if limiter is None:
            return True
        try:
            outcome = await limiter.limit(to_js({"key": owner}, dict_converter=js.Object.fromEntries))
            return bool(outcome["success"] if isinstance(outcome, Mapping) else outcome.success)
        except (JsException, OSError, AttributeError, KeyError, TypeError) as error:
            print(json.dumps({"event": "rate_limiter", "error": type(error).__name__}))  # noqa: T201 - the log
            return True

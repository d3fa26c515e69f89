"""The `RateLimiter` port on the rate-limiting binding: a brake, so what cannot be asked does not hold anybody back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import js
from pyodide.ffi import JsException, to_js

from rlm_worker.log import log_error

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
            log_error("rate_limiter", error)
            return True

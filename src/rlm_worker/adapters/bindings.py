"""The bindings of an environment, absent ones told apart from present ones."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from pyodide.ffi import JsException


def binding(env: Any, name: str) -> Any | None:
    """The binding of that name, or None where the deployment does not have it."""
    try:
        found = getattr(env, name, None)
    except (AttributeError, JsException):
        return None
    return None if found is None or str(type(found).__name__) == "JsNull" else found


def variable(env: Any, name: str) -> str | None:
    """A var or secret as text, None where it is not set."""
    found = binding(env, name)
    return None if found is None else str(found)


class SystemClock:
    """Seconds since the epoch."""

    def now(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

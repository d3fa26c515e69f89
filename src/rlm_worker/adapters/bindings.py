"""The bindings of an environment, absent ones told apart from present ones; the clock; what a binding's error says."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from pyodide.ffi import JsException

from rlm_worker.errors import InvocationSpent

# What the platform says to the first subrequest that is one too many.
_SPENT = "Too many subrequests"
_MAX_MESSAGE_CHARACTERS = 300


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


def first_line(error: Exception | str) -> str:
    """What an error says, without the stack that JavaScript puts below; 300 characters at most."""
    nothing = "no message" if isinstance(error, str) else type(error).__name__
    return (str(error).strip().splitlines() or [nothing])[0][:_MAX_MESSAGE_CHARACTERS]


def look_for_end(error: Exception) -> None:
    """Raises `InvocationSpent` where that is what an error means: nothing that is asked now will be answered."""
    if _SPENT in str(error):
        raise InvocationSpent("this invocation has made all the subrequests that it may") from None


class SystemClock:
    """Seconds since the epoch."""

    def now(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

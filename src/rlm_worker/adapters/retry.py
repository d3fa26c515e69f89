"""Asking a store again: what failed for a moment may work the next, and what does not answer is not waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pyodide.ffi import JsException

from rlm_worker.errors import StorageUnavailable

from .bindings import first_line, look_for_end

Value = TypeVar("Value")

_PAUSES = (0.0, 0.1, 0.5)
_ANSWER_SECONDS = 30.0


async def with_retries(what: str, ask: Callable[[], Awaitable[Value]]) -> Value:
    """What `ask` gives, asked up to three times; raises `StorageUnavailable` where none brings an answer.

    `ask` must do the same however often it is called.
    """
    message = ""
    for pause in _PAUSES:
        await asyncio.sleep(pause)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await ask()
        except TimeoutError:
            message = f"no answer in {_ANSWER_SECONDS:g} s"
        except (JsException, OSError, AttributeError, TypeError, ValueError) as error:
            look_for_end(error)
            message = first_line(error)  # the last three: it answered with something else than it should
    raise StorageUnavailable(f"{what}: {message}")

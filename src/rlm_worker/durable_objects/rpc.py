"""Durable Objects over RPC: one envelope for what crosses, and calls that outlive a restart of the object.

What crosses is JSON as text, which is one copy; an error crosses as its body on the wire and is raised again as the
class that it was.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from pyodide.ffi import JsException

from rlm_worker.adapters.bindings import binding, first_line, look_for_end
from rlm_worker.errors import AnswerTooLarge, RLMError, StorageUnavailable
from rlm_worker.wire.results import ErrorBody

_PAUSES = (0.05, 0.2, 0.5, 1.0, 2.0, 4.0)
# Accounts and paces are asked while a caller waits for nothing else.
_SHORT_PAUSES = (0.05, 0.2, 0.5)
_WORKED_SECONDS = 0.03
# A run that ends its host is given up after 20 deaths (`sessions/lives.py`): who waits for it hears of that.
_MAX_CALLS = 25
# What an object, or the platform on its behalf, says when something had no room: it would say so again. Workerd's
# texts for a value over RPC, its own memory, JavaScript's, Python's and SQLite's; the object itself is there again.
_NO_ROOM = re.compile(
    r"limited to 32 ?MiB|exceeded (its|the)? ?memory limit|out of memory|too (large|big)|MemoryError"
    r"|DataCloneError.*size|allocation fail|array length",
    re.IGNORECASE,
)


class Stubs:
    """The `ObjectStubs` port on one namespace: asks again when an object was moved or restarted meanwhile.

    That is safe: whatever the objects of this Worker are asked for may be asked for again.
    """

    def __init__(self, env: Any, namespace: str, what: str, pauses: Sequence[float] = _PAUSES) -> None:
        self._env = env
        self._namespace = namespace
        self._what = what
        self._pauses = pauses

    async def call(self, name: str, method: str, *arguments: object) -> object:
        """The value that a method gives; raises the error that it raised."""
        return await self._asked(name, method, arguments)

    async def stream(self, name: str, method: str, *arguments: object) -> object:
        """The stream that a method gives."""
        return await self._asked(name, method, arguments)

    async def _asked(self, name: str, method: str, arguments: tuple[object, ...]) -> object:
        message = ""
        namespace = binding(self._env, self._namespace)
        if namespace is None:
            raise StorageUnavailable(f"the binding {self._namespace} is missing")
        failures = 0
        for _ in range(_MAX_CALLS):
            began = time.time()
            try:
                answer = await getattr(namespace.getByName(name), method)(*arguments)
                return _opened(answer) if isinstance(answer, str) else getattr(answer, "_binding", answer)
            except (JsException, OSError, ValueError) as error:
                look_for_end(error)
                message = first_line(error)
                if no_room := _NO_ROOM.search(str(error)):  # in a defect of Python's that is the last line
                    raise AnswerTooLarge(f"{self._what} had no room for this ({no_room[0]}): {message}") from None
            # An object that had worked for a while before it was moved or restarted is there again at once.
            failures = 0 if time.time() - began > _WORKED_SECONDS else failures + 1
            if failures > len(self._pauses):
                break
            await asyncio.sleep(self._pauses[max(0, failures - 1)])
        raise StorageUnavailable(f"{self._what} cannot be reached: {message}")


def _opened(answer: str) -> object:
    """The value in an envelope; raises the error in it, and `ValueError` for what is no envelope."""
    envelope = json.loads(answer)
    if isinstance(envelope, dict) and "error" in envelope:
        raise ErrorBody.model_validate(envelope["error"]).to_error()
    if not isinstance(envelope, dict) or "value" not in envelope:
        raise ValueError("it answered with something that is not an answer")
    return envelope["value"]


def sessions(env: Any) -> Stubs:
    """The sessions: a session's name stands for one request, and what was journalled is not paid again."""
    return Stubs(env, "RLM_SESSIONS", "the session")


def batches(env: Any) -> Stubs:
    """The batches."""
    return Stubs(env, "RLM_BATCHES", "the batch")


def batches_of(env: Any) -> Stubs | None:
    """The batches; None where the deployment lacks a part that they need."""
    parts = [binding(env, name) for name in ("RLM_BATCHES", "RLM_BATCH_QUEUE")]
    return batches(env) if all(part is not None for part in parts) else None


def accounts(env: Any) -> Stubs:
    """The accounts of keys."""
    return Stubs(env, "RLM_ACCOUNTS", "the key's account", _SHORT_PAUSES)


def paces(env: Any) -> Stubs:
    """The paces of models."""
    return Stubs(env, "RLM_PACE", "the model's pace", _SHORT_PAUSES)


def key_registry(env: Any) -> Stubs:
    """The list of keys."""
    return Stubs(env, "RLM_KEYS", "the list of keys", _SHORT_PAUSES)


async def answered(work: Callable[[], Awaitable[object]]) -> str:
    """What a method gives, or the error that it raises, in the envelope."""
    try:
        return json.dumps({"value": await work()}, ensure_ascii=False)
    except RLMError as error:
        return json.dumps({"error": ErrorBody.of(error).to_wire()})


async def answered_now(work: Callable[[], object]) -> str:
    """The same for a method that waits for nothing."""

    async def done() -> object:
        return work()

    return await answered(done)

"""The sessions' Durable Objects, as callers see them: calls over RPC that outlive a restart of the object."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pyodide.ffi import JsException

from rlm_worker.adapters.bindings import binding
from rlm_worker.errors import RateLimited, RLMError, StorageUnavailable


class SessionStubs:
    """Calls sessions from outside, and asks again when a session's object was moved or restarted meanwhile.

    That is safe: a session's name stands for one request, and what was journalled is not paid again.
    """

    namespace = "RLM_SESSIONS"

    def __init__(self, env: Any) -> None:
        self._env = env

    async def call(self, session_id: str, method: str, *arguments: object) -> object:
        """The value that a method gives; raises `RemoteError` for an error that crossed."""
        return _opened(await self._invoke(session_id, method, arguments))

    async def stream(self, session_id: str, method: str, *arguments: object) -> object:
        """The stream that a method gives."""
        answer = await self._invoke(session_id, method, arguments)
        return _opened(answer) if isinstance(answer, str) else getattr(answer, "_binding", answer)

    async def _invoke(self, session_id: str, method: str, arguments: tuple[object, ...]) -> Any:
        message = ""
        namespace = binding(self._env, self.namespace)
        if namespace is None:
            raise StorageUnavailable(f"the binding {self.namespace} is missing")
        failures = 0
        for _ in range(_MOST_CALLS):
            began = time.time()
            try:
                return await getattr(namespace.getByName(session_id), method)(*arguments)
            except (JsException, OSError) as error:
                message = _first_line(error)
            # An object that had worked for a while before it was moved or restarted is there again at once.
            failures = 0 if time.time() - began > _WORKED_SECONDS else failures + 1
            if failures > len(_PAUSES):
                break
            await asyncio.sleep(_PAUSES[max(0, failures - 1)])
        raise StorageUnavailable(f"the session cannot be reached: {message}")


_PAUSES = (0.05, 0.2, 0.5, 1.0, 2.0, 4.0)
_WORKED_SECONDS = 0.03
_MOST_CALLS = 50


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


class RemoteError(RLMError):
    """An error that a session raised on its side; keeps its type."""

    def __init__(self, facts: Mapping[str, object]) -> None:
        self.type = str(facts["type"])
        super().__init__(str(facts["message"]))


def _opened(answer: str) -> object:
    try:
        envelope = json.loads(answer)
        error = envelope.get("error")
        value = envelope["value"] if error is None else None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise StorageUnavailable("the session answered with something that is not an answer") from None
    if error is not None:
        raise RateLimited(error["message"], error["retryAfter"]) if "retryAfter" in error else RemoteError(error)
    return value


async def enveloped(work: Callable[[], Awaitable[object]]) -> str:
    """What a method gives, or the error that it raises, as JSON."""
    try:
        return json.dumps({"value": await work()}, ensure_ascii=False)
    except RLMError as error:
        facts = {"type": error.type, "message": str(error)}
        retry = {"retryAfter": error.retry_after} if isinstance(error, RateLimited) else {}
        return json.dumps({"error": facts | retry})

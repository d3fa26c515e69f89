"""The session's Durable Object: its SQLite, its alarm, and its methods over RPC.

What crosses RPC is JSON as text, which is one copy; errors cross as JSON too, so that their type is not lost.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import js
from pyodide.ffi import JsException

from rlm_worker.errors import RateLimited, RLMError, StorageUnavailable
from rlm_worker.journal import SessionJournal
from rlm_worker.openai_stream import ChatHead, ChatStream
from rlm_worker.run import Job, RunPorts
from rlm_worker.schemas import RunResult
from rlm_worker.session import Session
from rlm_worker.settings import Settings
from rlm_worker.sse import HEARTBEAT, encode_event

from .accounts import accounts_of
from .analytics import AnalyticsEngine
from .bindings import binding, variable
from .clock import SystemClock
from .durable_sql import DurableSQL
from .dynamic_worker import DynamicWorkers
from .kv import KVCache
from .r2 import R2Store
from .workers_ai import WorkersAI

_HEARTBEAT_SECONDS = 15.0
_SECONDS_PER_DAY = 86_400


class DurableAlarm:
    """The `Alarm` port; the platform wants milliseconds."""

    def __init__(self, context: Any) -> None:
        self._context = context

    async def set(self, at: float) -> None:
        await self._context.storage.setAlarm(int(at * 1000))


class DurableEraser:
    """Deletes a Durable Object's storage, alarm included."""

    def __init__(self, context: Any) -> None:
        self._context = context

    async def erase(self) -> None:
        await self._context.storage.deleteAlarm()
        await self._context.storage.deleteAll()


def open_session(context: Any, env: Any, sandbox: DynamicWorkers) -> Session:
    """The session of a Durable Object, wired to the platform."""
    settings = Settings.from_vars(lambda name: variable(env, name))

    def ports(journal: SessionJournal) -> RunPorts:
        return RunPorts(
            model=WorkersAI(env),
            journal=journal,
            events=journal,
            cache=KVCache(env),
            clock=SystemClock(),
            catalog=settings.catalog,
            deployment=settings.deployment,
            accounts=accounts_of(env, settings),
            sandbox=sandbox if sandbox.available else None,
            cells=journal.cells(SystemClock().now),
        )

    return Session(
        SessionJournal(DurableSQL(context)),
        ports,
        R2Store(env),
        AnalyticsEngine(env),
        alarm=DurableAlarm(context),
        eraser=DurableEraser(context),
        retention_seconds=settings.session_ttl_days * _SECONDS_PER_DAY,
    )


class SessionMethods:
    """What the session's Durable Object answers over RPC, each call JSON to JSON."""

    _session: Session
    _sandbox: DynamicWorkers

    async def sandbox_call(self, token: str, request: str) -> str:
        """Answers the sandbox that was given this token."""
        return await self._sandbox.answer(token, request)

    async def ping(self) -> str:
        """Shows that the object answers."""
        return json.dumps({"value": "pong"})

    async def start(self, job: str, context_stored: bool) -> str:
        async def begin() -> object:
            started = await self._session.start(Job.model_validate_json(job), context_stored=context_stored)
            return json.loads(started.to_json()) if isinstance(started, RunResult) else started

        return await enveloped(begin)

    async def wait(self) -> str:
        async def finished() -> object:
            return json.loads((await self._session.wait()).to_json())

        return await enveloped(finished)

    async def run(self, job: str, context_stored: bool) -> str:
        """`start`, and `wait` where there is something to wait for, in one round trip."""

        async def begin_and_wait() -> object:
            started = await self._session.start(Job.model_validate_json(job), context_stored=context_stored)
            if started == "needs_context":
                return started
            result = started if isinstance(started, RunResult) else await self._session.wait()
            return json.loads(result.to_json())

        return await enveloped(begin_and_wait)

    async def status(self, owner: str) -> str:
        async def state() -> object:
            self._check(owner)
            await self._session.revive()
            return self._session.state().model_dump(by_alias=True)

        return await enveloped(state)

    async def result(self, owner: str) -> str:
        async def result() -> object:
            self._check(owner)
            await self._session.revive()
            found = self._session.result()
            return json.loads(found.to_json()) if found else None

        return await enveloped(result)

    async def trajectory(self, owner: str) -> str:
        async def calls() -> object:
            self._check(owner)
            return await self._session.trajectory()

        return await enveloped(calls)

    async def remove(self, owner: str) -> str:
        async def remove() -> object:
            self._check(owner)
            await self._session.delete()
            return None

        return await enveloped(remove)

    async def leave(self, owner: str, batch_id: str) -> str:
        async def leave() -> object:
            self._check(owner)
            await self._session.leave(batch_id)
            return None

        return await enveloped(leave)

    async def events(self, owner: str, after: int) -> Any:
        """A stream of server-sent events; or JSON, where there is nothing to stream."""
        return await self._followed(owner, after, encode_event)

    async def chat(self, owner: str, head: str) -> Any:
        """The same events from the first on, as the chunks of a chat completion."""
        stream = ChatStream(ChatHead.model_validate_json(head))
        return await self._followed(owner, 0, lambda _, kind, data: stream.translate(kind, json.loads(data)))

    async def _followed(self, owner: str, after: int, encode: Callable[[int, str, str], str]) -> Any:
        async def check() -> object:
            self._check(owner)
            return None

        refused = await enveloped(check)
        if "error" in json.loads(refused):
            return refused
        stream = js.TransformStream.new()
        self._pumps.add(pump := asyncio.create_task(self._pump(stream.writable.getWriter(), after, encode)))
        pump.add_done_callback(self._pumps.discard)
        return stream.readable

    def _check(self, owner: str) -> None:
        self._session.check_owner(owner)

    @property
    def _pumps(self) -> set[asyncio.Task[None]]:
        pumps: set[asyncio.Task[None]] = self.__dict__.setdefault("_running_pumps", set())
        return pumps

    async def _pump(self, writer: Any, after: int, encode: Callable[[int, str, str], str]) -> None:
        """Writes events as they come; ends when the run does or when the reader has gone.

        In a run that has nothing to tell for a while, only a heartbeat finds out that nobody reads any more.
        """
        encoder = js.TextEncoder.new()
        writing = asyncio.create_task(self._write(writer, encoder, after, encode))
        beating = asyncio.create_task(_beat(writer, encoder))
        try:
            ended, _ = await asyncio.wait({writing, beating}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (writing, beating):
                task.cancel()
            failures = await asyncio.gather(writing, beating, return_exceptions=True)
        if any(isinstance(failure, JsException) for failure in failures):
            await self._session.reader_left()
        elif writing in ended:
            await writer.close()

    async def _write(self, writer: Any, encoder: Any, after: int, encode: Callable[[int, str, str], str]) -> None:
        async for number, kind, data in self._session.follow(after):
            if text := encode(number, kind, data):
                await writer.write(encoder.encode(text))


async def _beat(writer: Any, encoder: Any) -> None:
    while True:
        await asyncio.sleep(_HEARTBEAT_SECONDS)
        await writer.write(encoder.encode(HEARTBEAT))


async def enveloped(work: Callable[[], Awaitable[object]]) -> str:
    """What a method gives, or the error that it raises, as JSON."""
    try:
        return json.dumps({"value": await work()}, ensure_ascii=False)
    except RLMError as error:
        facts = {"type": error.type, "message": str(error)}
        retry = {"retryAfter": error.retry_after} if isinstance(error, RateLimited) else {}
        return json.dumps({"error": facts | retry})


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

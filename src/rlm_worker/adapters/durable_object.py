"""The session's Durable Object: its SQLite, its alarm, and its methods over RPC.

What crosses RPC is JSON as text, which is one copy; errors cross as JSON too, so that their type is not lost.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import js
from pyodide.ffi import JsException

from ..errors import RLMError, StorageUnavailable
from ..journal import Cell, SessionJournal
from ..run import Job, RunPorts
from ..schemas import RunResult
from ..session import Session
from ..settings import Settings
from ..sse import HEARTBEAT, encode_event
from .analytics import AnalyticsEngine
from .bindings import binding, variable
from .clock import SystemClock
from .kv import KVCache
from .r2 import R2Store
from .workers_ai import WorkersAI

_HEARTBEAT_SECONDS = 15.0
_SECONDS_PER_DAY = 86_400


class DurableSQL:
    """The `Database` port on a Durable Object's SQLite."""

    def __init__(self, context: Any) -> None:
        # The SDK's wrapper would convert each cursor as a whole; the plain binding gives rows.
        self._sql = context.storage._binding.sql

    def execute(self, statement: str, *values: Cell) -> list[tuple[Cell, ...]]:
        cursor = self._sql.exec(statement, *(js.JSON.parse("null") if value is None else value for value in values))
        rows = cursor.raw().toArray().to_py()
        return [tuple(_cell(value) for value in row) for row in rows]


def _cell(value: Any) -> Cell:
    return value if isinstance(value, str | int | float) else None


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


def open_session(context: Any, env: Any) -> Session:
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
        )

    return Session(
        SessionJournal(DurableSQL(context)),
        ports,
        R2Store(env) if binding(env, "RLM_CONTEXT_STORAGE") is not None else None,
        AnalyticsEngine(env),
        DurableAlarm(context),
        DurableEraser(context),
        retention_seconds=settings.session_ttl_days * _SECONDS_PER_DAY,
    )


class SessionMethods:
    """What the session's Durable Object answers over RPC, each call JSON to JSON."""

    _session: Session

    async def ping(self) -> str:
        """Shows that the object answers."""
        return json.dumps({"value": "pong"})

    async def start(self, job: str, context_stored: bool) -> str:
        async def begin() -> object:
            started = await self._session.start(Job.model_validate_json(job), context_stored=context_stored)
            return json.loads(started.to_json()) if isinstance(started, RunResult) else started

        return await _enveloped(begin)

    async def wait(self) -> str:
        async def finished() -> object:
            return json.loads((await self._session.wait()).to_json())

        return await _enveloped(finished)

    async def run(self, job: str, context_stored: bool) -> str:
        """`start`, and `wait` where there is something to wait for, in one round trip."""

        async def begin_and_wait() -> object:
            started = await self._session.start(Job.model_validate_json(job), context_stored=context_stored)
            if started == "needs_context":
                return started
            result = started if isinstance(started, RunResult) else await self._session.wait()
            return json.loads(result.to_json())

        return await _enveloped(begin_and_wait)

    async def status(self, owner: str) -> str:
        async def state() -> object:
            self._check(owner)
            return self._session.state().model_dump(by_alias=True)

        return await _enveloped(state)

    async def result(self, owner: str) -> str:
        async def result() -> object:
            self._check(owner)
            found = self._session.result()
            return json.loads(found.to_json()) if found else None

        return await _enveloped(result)

    async def trajectory(self, owner: str) -> str:
        async def calls() -> object:
            self._check(owner)
            return await self._session.trajectory()

        return await _enveloped(calls)

    async def remove(self, owner: str) -> str:
        async def remove() -> object:
            self._check(owner)
            await self._session.delete()
            return None

        return await _enveloped(remove)

    async def events(self, owner: str, after: int) -> Any:
        """A stream of server-sent events; or JSON, where there is nothing to stream."""

        async def check() -> object:
            self._check(owner)
            return None

        refused = await _enveloped(check)
        if "error" in json.loads(refused):
            return refused
        stream = js.TransformStream.new()
        self._pumps.add(pump := asyncio.create_task(self._pump(stream.writable.getWriter(), after)))
        pump.add_done_callback(self._pumps.discard)
        return stream.readable

    def _check(self, owner: str) -> None:
        self._session.check_owner(owner)

    @property
    def _pumps(self) -> set[asyncio.Task[None]]:
        return self.__dict__.setdefault("_running_pumps", set())

    async def _pump(self, writer: Any, after: int) -> None:
        """Writes events as they come; ends when the run does or when the reader has gone."""
        encoder = js.TextEncoder.new()
        beating = asyncio.create_task(_beat(writer, encoder))
        try:
            async for number, kind, data in self._session.follow(after):
                await writer.write(encoder.encode(encode_event(number, kind, data)))
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
            await writer.close()
        except JsException:
            await self._session.reader_left()
        finally:
            beating.cancel()


async def _beat(writer: Any, encoder: Any) -> None:
    while True:
        await asyncio.sleep(_HEARTBEAT_SECONDS)
        await writer.write(encoder.encode(HEARTBEAT))


async def _enveloped(work: Callable[[], Awaitable[object]]) -> str:
    try:
        return json.dumps({"value": await work()}, ensure_ascii=False)
    except RLMError as error:
        return json.dumps({"error": {"type": error.type, "message": str(error)}})


class SessionStubs:
    """Calls sessions from outside, and asks again when a session's object was moved or restarted meanwhile.

    That is safe: a session's name stands for one request, and what was journalled is not paid again.
    """

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
        for pause in _PAUSES:
            stub = self._env.RLM_SESSIONS.getByName(session_id)
            try:
                return await getattr(stub, method)(*arguments)
            except (JsException, OSError) as error:
                if pause is None:
                    raise StorageUnavailable(f"the session cannot be reached: {_first_line(error)}") from None
                await asyncio.sleep(pause)


_PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, None)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


class RemoteError(RLMError):
    """An error that a session raised on its side; keeps its type."""

    def __init__(self, facts: Mapping[str, str]) -> None:
        self.type = facts["type"]
        super().__init__(facts["message"])


def _opened(answer: str) -> object:
    envelope = json.loads(answer)
    if "error" in envelope:
        raise RemoteError(envelope["error"])
    return envelope["value"]

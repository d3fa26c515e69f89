"""The session's Durable Object: its SQLite, its alarm, and its methods over RPC, each call JSON to JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pyodide.ffi import JsException

from rlm_worker.adapters.analytics import AnalyticsEngine
from rlm_worker.adapters.bindings import SystemClock, variable
from rlm_worker.adapters.kv import KVCache
from rlm_worker.adapters.providers.dispatch import AnyModel
from rlm_worker.adapters.r2 import R2Store
from rlm_worker.adapters.sandbox import DynamicWorkers
from rlm_worker.anthropic.stream import MessageHead, MessageStream
from rlm_worker.http import HEARTBEAT, encode_event
from rlm_worker.journal.session import SessionJournal
from rlm_worker.models.refusals import LoggedRefusals
from rlm_worker.openai.stream import ChatHead, ChatStream
from rlm_worker.report.rows import RowsForm
from rlm_worker.runs.job import Job
from rlm_worker.runs.run import RunPorts
from rlm_worker.sessions.session import Session
from rlm_worker.sessions.trajectory import TrajectoryForm
from rlm_worker.settings import Settings
from rlm_worker.wire.results import RunResult

from .account_object import accounts_of
from .pace_object import pace_of
from .rpc import answered, answered_now, sessions
from .storage import DurableAlarm, DurableEraser, DurableSQL
from .streams import Streaming, write_all, write_text

_HEARTBEAT_SECONDS = 15.0


def open_session(context: Any, env: Any, sandbox: DynamicWorkers) -> Session:
    """The session of a Durable Object, wired to the platform."""
    settings = Settings.from_vars(lambda name: variable(env, name))

    def ports(journal: SessionJournal) -> RunPorts:
        return RunPorts(
            model=LoggedRefusals(AnyModel(env, settings.providers, settings.ai_gateway)),
            journal=journal,
            events=journal,
            cache=KVCache(env),
            clock=SystemClock(),
            catalog=settings.catalog,
            deployment=settings.deployment,
            accounts=accounts_of(env, settings),
            pace=pace_of(env),
            rates=settings.rates,
            sandbox=sandbox if sandbox.available else None,
            cells=journal.cells(SystemClock().now),
            rows=journal.rows(),
            sessions=sessions(env),
        )

    return Session(
        SessionJournal(DurableSQL(context)),
        ports,
        R2Store(env),
        AnalyticsEngine(env),
        alarm=DurableAlarm(context),
        eraser=DurableEraser(context),
        retention_seconds=settings.retention_seconds,
    )


class SessionSlot:
    """A Durable Object's session: open while someone uses it or its run goes on, and forgotten in between.

    The platform lets go of an object's Python side only when JavaScript's collector comes by, which can be long after
    the object was evicted: what stays until then has to be small.
    """

    def __init__(self, open_: Callable[[], Session]) -> None:
        self._open = open_
        self._session: Session | None = None
        self._users = 0

    @contextmanager
    def use(self) -> Iterator[Session]:
        """The session, the same for all who use it at the same time."""
        session = self._session = self._session or self._open()
        self._users += 1
        try:
            yield session
        finally:
            self._users -= 1
            session.when_idle(self._forget_unused)

    def _forget_unused(self) -> None:
        if self._users == 0:
            self._session = None


class SessionMethods(Streaming):
    """What the session's Durable Object answers over RPC, each call JSON to JSON."""

    _slot: SessionSlot
    _sandbox: DynamicWorkers

    async def sandbox_call(self, token: str, request: str) -> str:
        """Answers the sandbox that was given this token."""
        return await self._sandbox.answer(token, request)

    async def ping(self) -> str:
        """Shows that the object answers."""
        return await answered_now(lambda: "pong")

    async def alarm(self, *_: object) -> None:
        """Fires where a session wants to be looked after."""
        with self._slot.use() as session:
            await session.on_alarm()

    async def start(self, job: str, context_stored: bool) -> str:
        async def begun(session: Session) -> object:
            started = await session.start(Job.model_validate_json(job), context_stored=context_stored)
            return started.to_wire() if isinstance(started, RunResult) else started

        return await self._answered(begun)

    async def run(self, job: str, context_stored: bool) -> str:
        """`start`, and what comes of it, in one round trip."""

        async def ended(session: Session) -> object:
            started = await session.start(Job.model_validate_json(job), context_stored=context_stored)
            if started == "needs_context":
                return started
            result = started if isinstance(started, RunResult) else await session.wait()
            return result.to_wire()

        return await self._answered(ended)

    async def wait(self) -> str:
        async def ended(session: Session) -> object:
            return (await session.wait()).to_wire()

        return await self._answered(ended)

    async def status(self, owner: str) -> str:
        async def state(session: Session) -> object:
            await session.revive()
            return session.state().to_wire()

        return await self._answered(state, owner)

    async def result(self, owner: str) -> str:
        async def result(session: Session) -> object:
            await session.revive()
            found = session.result()
            return found.to_wire() if found else None

        return await self._answered(result, owner)

    async def followed(self, owner: str) -> str:
        async def handed_on(session: Session) -> object:
            await session.revive()
            return session.followed().to_wire()

        return await self._answered(handed_on, owner)

    async def repl_page(self, owner: str, after: int) -> str:
        async def page(session: Session) -> object:
            return session.repl_page(int(after)).to_wire()

        return await self._answered(page, owner)

    async def trajectory(self, owner: str, lines: bool) -> Any:
        """A stream of JSON, or of lines; or an envelope, where there is nothing to stream."""
        if refused := await self._refused(owner):
            return refused
        return self._streamed(lambda writer: self._write_trajectory(writer, "lines" if lines else "json"))

    async def _write_trajectory(self, writer: Any, form: TrajectoryForm) -> None:
        with self._slot.use() as session:
            await write_all(writer, session.trajectory(form))

    async def report(self, owner: str) -> Any:
        """A stream of HTML; or an envelope: with what keeps an owner from it, or with nothing while the run goes on."""

        async def goes_on(session: Session) -> object:
            await session.revive()
            return session.result() is None

        answer = await self._answered(goes_on, owner)
        if json.loads(answer).get("value") is not False:
            return answer if "error" in json.loads(answer) else json.dumps({"value": None})
        return self._streamed(self._write_report)

    async def _write_report(self, writer: Any) -> None:
        with self._slot.use() as session:
            await write_all(writer, session.report())

    async def rows(self, owner: str, table: str, form: RowsForm) -> Any:
        """A stream of rows; or an envelope: with what is wrong, or with nothing while the run goes on."""

        async def there(session: Session) -> object:
            await session.revive()
            return session.check_rows(table, form)

        answer = await self._answered(there, owner)
        if json.loads(answer).get("value") is not True:
            return answer if "error" in json.loads(answer) else json.dumps({"value": None})
        return self._streamed(lambda writer: self._write_rows(writer, table, form))

    async def _write_rows(self, writer: Any, table: str, form: RowsForm) -> None:
        with self._slot.use() as session:
            await write_all(writer, session.rows(table, form))

    async def remove(self, owner: str) -> str:
        return await self._answered(lambda session: session.delete(), owner)

    async def leave(self, owner: str, batch_id: str) -> str:
        return await self._answered(lambda session: session.leave(batch_id), owner)

    async def events(self, owner: str, after: int) -> Any:
        """A stream of server-sent events; or JSON, where there is nothing to stream."""
        return await self._followed(owner, after, encode_event)

    async def chat(self, owner: str, head: str) -> Any:
        """The same events from the first on, as the chunks of a chat completion."""
        stream = ChatStream(ChatHead.model_validate_json(head))
        return await self._followed(owner, 0, lambda _, kind, data: stream.translate(kind, json.loads(data)))

    async def message(self, owner: str, head: str) -> Any:
        """The same as those of a message of Anthropic's."""
        stream = MessageStream(MessageHead.model_validate_json(head))
        return await self._followed(owner, 0, lambda _, kind, data: stream.translate(kind, json.loads(data)))

    async def _answered(self, ask: Callable[[Session], Awaitable[object]], owner: str | None = None) -> str:
        """What a question to the session gives; an owner that is named must be the session's."""

        async def answer() -> object:
            with self._slot.use() as session:
                if owner is not None:
                    session.check_owner(owner)
                return await ask(session)

        return await answered(answer)

    async def _followed(self, owner: str, after: int, encode: Callable[[int, str, str], str]) -> Any:
        if refused := await self._refused(owner):
            return refused
        return self._streamed(lambda writer: self._write_events(writer, after, encode))

    async def _refused(self, owner: str) -> str:
        """The envelope with what keeps an owner from a session; empty where nothing does."""

        async def nothing(_: Session) -> object:
            return None

        answer = await self._answered(nothing, owner)
        return answer if "error" in json.loads(answer) else ""

    async def _write_events(self, writer: Any, after: int, encode: Callable[[int, str, str], str]) -> None:
        """Writes events as they come; ends when the run does or when the reader has gone.

        In a run that has nothing to tell for a while, only a heartbeat finds out that nobody reads any more.
        """
        with self._slot.use() as session:
            turn = asyncio.Lock()  # a long event is written in pieces, and nothing stands between them
            writing = asyncio.create_task(_write(session, writer, turn, after, encode))
            beating = asyncio.create_task(_beat(writer, turn))
            try:
                ended, _ = await asyncio.wait({writing, beating}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (writing, beating):
                    task.cancel()
                failures = await asyncio.gather(writing, beating, return_exceptions=True)
            if any(isinstance(failure, JsException) for failure in failures):
                await session.reader_left()
            elif writing in ended:
                await writer.close()


async def _write(
    session: Session, writer: Any, turn: asyncio.Lock, after: int, encode: Callable[[int, str, str], str]
) -> None:
    async for number, kind, data in session.follow(after):
        async with turn:
            await write_text(writer, encode(number, kind, data))


async def _beat(writer: Any, turn: asyncio.Lock) -> None:
    while True:
        await asyncio.sleep(_HEARTBEAT_SECONDS)
        async with turn:
            await write_text(writer, HEARTBEAT)

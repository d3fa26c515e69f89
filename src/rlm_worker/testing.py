"""Public doubles of the ports: whole and in memory, for tests on CPython."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from rlm_worker.budget.account import Account, AccountLimits
from rlm_worker.journal.session import SessionJournal
from rlm_worker.models.catalog import Catalog
from rlm_worker.pace.client import Party, RunPace, Unpaced
from rlm_worker.pace.keeper import PaceKeeper
from rlm_worker.pace.rates import Rates
from rlm_worker.runs.run import RunPorts
from rlm_worker.sandbox.guard import CellTimeout
from rlm_worker.sandbox.repl import Repl, Setup

from .errors import NotFound, SandboxForgot, SandboxLost, StorageUnavailable
from .messages import CallUsage, ModelReply, ModelRequest
from .ports import (
    Cell,
    Clock,
    DeltaSink,
    Deployment,
    EventKind,
    MetricsPoint,
    Model,
    PaceRequest,
    Rate,
    SandboxRepl,
)

Answer = Callable[[ModelRequest], ModelReply | Awaitable[ModelReply]]
# What a Durable Object's SQLite takes: Cloudflare's documentation of its limits.
_SQLITE_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: 2_000_000,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 100_000,
    sqlite3.SQLITE_LIMIT_COLUMN: 100,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 50,
    sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER: 100,
}


@dataclass(slots=True)
class FunctionModel:
    """A model whose answers a function gives; keeps every request."""

    answer: Answer
    requests: list[ModelRequest] = field(default_factory=list)

    async def complete(self, request: ModelRequest, deltas: DeltaSink | None = None) -> ModelReply:
        self.requests.append(request)
        reply = self.answer(request)
        reply = reply if isinstance(reply, ModelReply) else await reply
        if deltas is not None:
            deltas.write(reply.text)
        return reply

    def asked(self, kind: str) -> list[ModelRequest]:
        """The requests of one kind."""
        return [request for request in self.requests if request.kind == kind]


def reply_of(request: ModelRequest, text: str, *, usage: bool = True) -> ModelReply:
    """A reply that counts a token for every four characters."""
    counted = CallUsage(request.characters() // 4 + 1, len(text) // 4 + 1)
    return ModelReply(text, request.model.id, counted if usage else None)


@dataclass(slots=True)
class MemoryStore:
    """Contexts in a dictionary; keeps the ranges that were read."""

    objects: dict[str, bytes] = field(default_factory=dict)
    reads: list[tuple[str, int, int]] = field(default_factory=list)

    async def write(self, key: str, pieces: AsyncIterator[bytes]) -> None:
        self.objects[key] = b"".join([piece async for piece in pieces])

    async def read(self, key: str, start: int, length: int) -> bytes:
        if key not in self.objects:
            raise NotFound("the stored context is gone")
        self.reads.append((key, start, length))
        return self.objects[key][start : start + length]

    async def exists(self, prefix: str) -> bool:
        return any(key.startswith(prefix) for key in self.objects)

    async def delete(self, prefix: str) -> None:
        self.objects = {key: value for key, value in self.objects.items() if not key.startswith(prefix)}


@dataclass(slots=True)
class MemoryCache:
    """A cache that forgets nothing."""

    values: dict[str, str] = field(default_factory=dict)

    async def get(self, key: str) -> str | None:
        return self.values.get(key)

    async def put(self, key: str, value: str) -> None:
        self.values[key] = value

    async def delete(self, key: str) -> None:
        self.values.pop(key, None)


@dataclass(slots=True)
class MemoryMetrics:
    """Keeps the points."""

    points: list[MetricsPoint] = field(default_factory=list)

    def record(self, point: MetricsPoint) -> None:
        self.points.append(point)


@dataclass(slots=True)
class MemoryEvents:
    """Keeps the events."""

    events: list[tuple[EventKind, Mapping[str, object]]] = field(default_factory=list)

    def emit(self, kind: EventKind, data: Mapping[str, object]) -> None:
        self.events.append((kind, data))

    def of_kind(self, kind: EventKind) -> list[Mapping[str, object]]:
        return [data for name, data in self.events if name == kind]


@dataclass(slots=True)
class ManualClock:
    """Time that moves only when somebody sleeps."""

    time: float = 1_700_000_000.0
    slept: list[float] = field(default_factory=list)

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


class SqliteDatabase:
    """SQLite in memory, or in a file that outlives the object; limited as a Durable Object's storage is."""

    def __init__(self, path: str = ":memory:") -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        for limit, most in _SQLITE_LIMITS.items():
            self.connection.setlimit(limit, most)

    def execute(self, statement: str, *values: Cell) -> list[tuple[Cell, ...]]:
        return [tuple(row) for row in self.connection.execute(statement, values).fetchall()]

    def copy(self) -> SqliteDatabase:
        """The same rows in memory: what would be left if the object went now."""
        other = SqliteDatabase()
        self.connection.backup(other.connection)
        return other


@dataclass(slots=True)
class MemoryAccounts:
    """The accounts of all keys; while `failing` none that is open can be reached."""

    limits: AccountLimits
    clock: ManualClock
    failing: bool = False
    _books: dict[str, Account] = field(default_factory=dict)

    async def open(self, owner: str, run: str, usd: float, *, resumed: bool = False) -> float:
        return self._of(owner).open(run, usd, self.clock.now(), resumed=resumed)

    async def extend(self, owner: str, run: str, total: float) -> float:
        if self.failing:
            raise StorageUnavailable("the key's account cannot be reached")
        return self._of(owner).extend(run, total, self.clock.now())

    async def close(self, owner: str, run: str, total: float) -> None:
        if self.failing:
            raise StorageUnavailable("the key's account cannot be reached")
        self._of(owner).close(run, total, self.clock.now())

    async def state(self, owner: str) -> dict[str, object]:
        return self._of(owner).state(self.clock.now())

    def _of(self, owner: str) -> Account:
        return self._books.setdefault(owner, Account(SqliteDatabase(), self.limits))


@dataclass(slots=True)
class MemoryKeys:
    """The keys of a deployment: name and digest of each; while `failing` they cannot be read."""

    entries: list[tuple[str, str]] = field(default_factory=list)
    failing: bool = False
    asked: list[bool] = field(default_factory=list)

    async def known(self, *, recheck: bool = False) -> list[tuple[str, str]]:
        self.asked.append(recheck)
        if self.failing:
            raise StorageUnavailable("the list of keys cannot be reached")
        return self.entries


class RateLimiterDisabled:
    """The `RateLimiter` of a deployment that has none: whoever asks may go on."""

    async def allows(self, owner: str) -> bool:
        return True


@dataclass(slots=True)
class MemoryPace:
    """The paces of all models; keeps the questions. While `failing` none can be reached."""

    clock: Clock
    failing: bool = False
    asked: list[PaceRequest] = field(default_factory=list)
    left: list[tuple[str, int]] = field(default_factory=list)
    keepers: dict[str, PaceKeeper] = field(default_factory=dict)

    async def take(self, model: str, rate: Rate, owner: str, run: str, request: PaceRequest) -> int:
        self.asked.append(request)
        return await self._of(model).take((owner, run), rate, request)

    async def leave(self, model: str, rate: Rate, owner: str, run: str, unused: int) -> None:
        self.left.append((run, unused))
        self._of(model).leave((owner, run), rate, unused)

    async def enter(self, model: str, rate: Rate, owner: str, run: str) -> bool:
        return self._of(model).enter((owner, run), rate)

    def _of(self, model: str) -> PaceKeeper:
        if self.failing:
            raise StorageUnavailable("the model's pace cannot be reached")
        return self.keepers.setdefault(model, PaceKeeper(SqliteDatabase(), self.clock))


def unpaced(clock: Clock) -> RunPace:
    """The pace of a run whose deployment has none."""
    return RunPace(Party(Unpaced(), Rates(), clock, "tester", "run"))


def memory_ports(model: Model, *, deployment: Deployment | None = None, catalog: Catalog | None = None) -> RunPorts:
    """The ports of a run, all in memory; back-off takes no time."""
    journal = SessionJournal(SqliteDatabase())
    return RunPorts(
        model=model,
        journal=journal,
        events=MemoryEvents(),
        cache=MemoryCache(),
        clock=ManualClock(),
        catalog=catalog or Catalog.standard(),
        deployment=deployment or replace(Deployment(), call_timeout_seconds=5.0),
        rows=journal.rows(),
    )


Call = Callable[[str], Awaitable[str]]


@dataclass(slots=True)
class ThreadSandbox:
    """Opens REPLs on threads; `deadly` is text that ends the isolate of a cell which has it, as `os._exit` would."""

    deadly: str = "os._exit"
    opened: list[ThreadRepl] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    async def open(self, name: str, session_id: str, setup: str, seconds: float, call: Call) -> SandboxRepl:
        self.names.append(name)
        repl = ThreadRepl(setup, call, asyncio.get_running_loop(), self.deadly)
        self.opened.append(repl)
        return repl


class ThreadRepl:
    """One REPL; keeps the requests that it ran. `forgotten`: the platform has put an empty one in its place."""

    def __init__(self, setup: str, call: Call, loop: asyncio.AbstractEventLoop, deadly: str) -> None:
        self._call = call
        self._loop = loop
        self._deadly = deadly
        self._repl = Repl(Setup.from_json(setup), self._ask)
        self.ran: list[str] = []
        self.closed = False
        self.forgotten = False

    async def run(self, request: str) -> str:
        """Runs a cell on a thread, so that its calls can wait for this one."""
        if self.forgotten:
            raise SandboxForgot("the platform restarted it")
        self.ran.append(request)
        if self._deadly in request:
            raise SandboxLost("it ended the Python process")
        try:
            return await asyncio.to_thread(self._repl.run, request)
        except CellTimeout:  # outside of the cell's own code nothing holds it
            raise SandboxLost("it broke the Python process (CellTimeout)") from None

    async def close(self) -> None:
        self.closed = True

    def _ask(self, request: str) -> str:
        return asyncio.run_coroutine_threadsafe(_awaited(self._call(request)), self._loop).result()


async def _awaited(answer: Awaitable[str]) -> str:
    return await answer

"""What a run needs from the outside, one to four methods each; adapters implement them, `testing` doubles them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args

from .messages import CallKind, CallUsage, Message, ModelReply, ModelRequest, Role, Span

RunKind = Literal["session", "judge", "plan", "subcall", "iteration", "answer", "mend", "result", "error"]
EventKind = RunKind | Literal["schema", "rows", "query"]
# Who judges which chunks are worth reading: by the query's words, or a model of that kind.
JudgeName = Literal["bm25", "reranker", "embeddings", "decision"]
JUDGES: tuple[JudgeName, ...] = get_args(JudgeName)
# Characters of the context, the end exclusive.
Interval = tuple[int, int]
# A row of a Durable Object's SQLite may have 2 MB; longer texts are cut into parts of this many characters, four bytes
# each at most.
MAX_TEXT_CHARACTERS = 400_000
# What SQLite keeps in a cell.
Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """An attempt that was sent, brought no answer and is billed all the same.

    `call` is the key of the call; `at_most_usd` bounds what an estimated usage may have cost in truth.
    """

    call: str
    role: Role
    model: str
    usage: CallUsage
    cost_usd: float
    at_most_usd: float
    reason: str


@dataclass(frozen=True, slots=True)
class Payment:
    """What the journal says of one attempt, answered or failed: fields as those of `FailedAttempt`."""

    call: str
    role: Role
    model: str
    usage: CallUsage
    at_most_usd: float


@dataclass(frozen=True, slots=True)
class SandboxPayment:
    """A day on which a REPL's sandbox was used, which is what the platform bills; `path` names the REPL."""

    path: str
    opened_at: float
    cost_usd: float


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One finished call, as the journal keeps it; times in seconds since the epoch, `duration_ms` in milliseconds.

    `at_most_usd` bounds what an estimated usage may have cost in truth, in US dollars; 0 where the model reported it.
    """

    key: str
    role: Role
    kind: CallKind
    model: str
    messages: tuple[Message, ...]
    text: str
    usage: CallUsage
    cost_usd: float
    started_at: float
    duration_ms: int
    span: Span | None = None
    parent: str = ""
    finish_reason: str = ""
    at_most_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class MetricsPoint:
    """One finished request, as ops count it."""

    key_name: str
    session_id: str
    status: str
    strategy: str
    root_model: str
    sub_model: str
    cache_hit: bool
    error_type: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Deployment:
    """What ops allow: calls at once, attempts and seconds for each call, seconds of computing for each cell.

    A call that is told to come back later is asked again for `patience_seconds`, or until the run's deadline where it
    has one; that uses up no attempts. With `quoted_evidence` a note counts only as far as it quotes its chunk word for
    word, for readers that invent.
    """

    max_concurrency: int = 24
    first_concurrency: int = 12
    attempts: int = 9
    call_timeout_seconds: float = 120.0
    backoff_seconds: float = 0.25
    max_backoff_seconds: float = 20.0
    patience_seconds: float = 900.0
    max_cell_seconds: float = 120.0
    quoted_evidence: bool = False


@dataclass(frozen=True, slots=True)
class Provider:
    """A service beside the binding `AI`, as the var `PROVIDERS` describes it.

    `key` and `gateway_key` are names of secrets, `missing_secrets` those that are not set. `vendor` is the one in the
    catalogue whose models it serves; `output_limit` is what it calls the most tokens that it may write. With `streams`
    every answer is asked for as a stream: an invocation may wait for the headers of six responses at once, and those of
    a stream come before the answer is written. `cache_key_field` is the field of a request that sends prompts
    which begin alike to the same place; empty where it has none.
    """

    name: str
    type: Literal["anthropic", "openai"]
    url: str
    key: str = ""
    gateway_key: str = ""
    missing_secrets: tuple[str, ...] = ()
    vendor: str = ""
    body: Mapping[str, object] = field(default_factory=dict)
    output_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    streams: bool = False
    cache_key_field: str = ""


@dataclass(frozen=True, slots=True)
class Rate:
    """How many calls a model takes of an account in any window of so many seconds."""

    calls: int
    seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class PaceRequest:
    """What a run wants of a model's pace: calls that wait, and further ones ahead of need.

    `unused` earlier grants are given back; `refused`: the model has said that its rate was passed, and to come back
    after `retry_after` seconds, 0 where it named none.
    """

    waiting: int = 0
    ahead: int = 0
    unused: int = 0
    refused: bool = False
    retry_after: float = 0.0


@dataclass(frozen=True, slots=True)
class Ranking:
    """All chunks by their indices, best first; `judge` has judged, `warning` says why not who was asked."""

    order: tuple[int, ...]
    judge: JudgeName = "bm25"
    warning: str = ""


class DeltaSink(Protocol):
    """Takes an answer as it grows; `restart` says that it begins anew after a failed attempt."""

    def write(self, delta: str) -> None: ...

    def restart(self) -> None: ...


class Model(Protocol):
    """Answers prompts; raises `RetryableError` or `TerminalError`, of which some say what was billed nevertheless."""

    async def complete(self, request: ModelRequest, deltas: DeltaSink | None = None) -> ModelReply: ...


class Relevance(Protocol):
    """Judges how much the chunks of a context have to do with a query.

    `texts` are index and text of each chunk; they come one after the other, since all together may be too long to hold.
    """

    async def rank(self, query: str, texts: AsyncIterator[tuple[int, str]]) -> Ranking: ...


class ContextStore(Protocol):
    """Keeps contexts as bytes; raises `StorageUnavailable`, and `NotFound` for what is not there."""

    async def write(self, key: str, pieces: AsyncIterator[bytes]) -> None: ...

    async def read(self, key: str, start: int, length: int) -> bytes: ...

    async def delete(self, prefix: str) -> None: ...

    async def exists(self, prefix: str) -> bool: ...


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    """What is there already, for who takes bytes as they come."""
    for part in parts:
        yield part


class ObjectStubs(Protocol):
    """Calls the Durable Objects of one class by name; raises what they raise, and `StorageUnavailable`.

    `call` gives JSON as Python has it, `stream` a stream of the platform's that is passed through as it is.
    """

    async def call(self, name: str, method: str, *arguments: object) -> object: ...

    async def stream(self, name: str, method: str, *arguments: object) -> object: ...


class ResultCache(Protocol):
    """Keeps strings for a while; may forget, never fails."""

    async def get(self, key: str) -> str | None: ...

    async def put(self, key: str, value: str) -> None: ...

    async def delete(self, key: str) -> None: ...


class Journal(Protocol):
    """Keeps what a run has paid for, durably before it returns.

    `record` keeps an answer and `book` an attempt that brought none; `payments` gives both, `sandboxes` what the REPLs'
    sandboxes have cost. `cut_off_usd` is what an
    earlier version has noted of calls that were given up under way, in US dollars. `ranking` is how a judge has ranked
    the chunks, empty where none has: a run that goes on reads on in the same order, whoever could judge now. `task` is
    in the same way what has come of asking a model for the query's task.
    """

    def recall(self, key: str) -> CallRecord | None: ...

    def record(self, call: CallRecord) -> None: ...

    def book(self, attempt: FailedAttempt) -> None: ...

    def payments(self) -> Iterable[Payment]: ...

    def sandboxes(self) -> list[SandboxPayment]: ...

    def spans(self) -> list[Span]: ...

    def add_span(self, span: Span) -> None: ...

    def ranking(self) -> str: ...

    def keep_ranking(self, ranking: str) -> None: ...

    def task(self) -> str: ...

    def keep_task(self, task: str) -> None: ...

    def forget_spans(self) -> None: ...

    def cut_off_usd(self) -> float: ...


class EventSink(Protocol):
    """Takes what happens in a run, for those who watch."""

    def emit(self, kind: EventKind, data: Mapping[str, object]) -> None: ...


class Metrics(Protocol):
    """Counts finished requests; never fails."""

    def record(self, point: MetricsPoint) -> None: ...


class Accounts(Protocol):
    """Holds each key to its limits; dollars are US dollars since the run began. Raises `StorageUnavailable`.

    `open` takes a slot and up to `usd` dollars, and raises `RateLimited`; `extend` asks that `total` may be spent. Both
    give what may be spent in all. `close` books what was. All three may be repeated.
    """

    async def open(self, owner: str, run: str, usd: float, *, resumed: bool = False) -> float: ...

    async def extend(self, owner: str, run: str, total: float) -> float: ...

    async def close(self, owner: str, run: str, total: float) -> None: ...

    async def state(self, owner: str) -> Mapping[str, object]: ...


class Pace(Protocol):
    """Shares each model's rate among the runs of a deployment; raises `StorageUnavailable`.

    `take` waits for leave to send, and gives the number of calls that may be sent at once: 0 where it is to be asked
    again. `leave` says that a run has ended, and `enter` whether one that can be put off may begin.
    """

    async def take(self, model: str, rate: Rate, owner: str, run: str, request: PaceRequest) -> int: ...

    async def leave(self, model: str, rate: Rate, owner: str, run: str, unused: int) -> None: ...

    async def enter(self, model: str, rate: Rate, owner: str, run: str) -> bool: ...


class Keys(Protocol):
    """The keys that are kept in the deployment, beside those of its secret; raises `StorageUnavailable`.

    `known` gives name and digest of each that admits now, at most 30 seconds old; 2 with `recheck`.
    """

    async def known(self, *, recheck: bool = False) -> Sequence[tuple[str, str]]: ...


class RateLimiter(Protocol):
    """Says whether a key may send one more request now; never fails."""

    async def allows(self, owner: str) -> bool: ...


class Clock(Protocol):
    """Seconds since the epoch, and waiting."""

    def now(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class SandboxRepl(Protocol):
    """One Python process behind walls; raises `SandboxLost` when it is gone. JSON to JSON: see `sandbox.repl`.

    `SandboxForgot` says that another process, which knows nothing, was met in its place.
    """

    async def run(self, request: str) -> str: ...

    async def close(self) -> None: ...


class Sandbox(Protocol):
    """Starts Python where it reaches nothing but `call`, which takes and gives JSON.

    `name` is a secret and the REPL's own: it is billed by names and days. One may be opened again under the same name
    when it was forgotten; raises `SandboxForgot` where the process that is met has a REPL already.
    """

    async def open(
        self, name: str, session_id: str, setup: str, seconds: float, call: Callable[[str], Awaitable[str]]
    ) -> SandboxRepl: ...


class Database(Protocol):
    """SQLite as a Durable Object offers it: one statement at a time, its rows as tuples."""

    def execute(self, statement: str, *values: Cell) -> list[tuple[Cell, ...]]: ...


class Alarm(Protocol):
    """The one alarm of a session: fires at a time in seconds since the epoch, again after a crash."""

    async def set(self, at: float) -> None: ...


class Eraser(Protocol):
    """Deletes everything that the session's own storage holds."""

    async def erase(self) -> None: ...

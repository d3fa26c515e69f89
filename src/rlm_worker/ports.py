"""What a run needs from the outside, one to four methods each; adapters implement them, `testing` doubles them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from .errors import RetryableError, TerminalError

Role = Literal["root", "sub"]


@dataclass(frozen=True, slots=True)
class CallUsage:
    """What one call used: tokens as the model reported them, or `estimated`."""

    input_tokens: int
    output_tokens: int
    estimated: bool = False


_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model: window in tokens (prompt and output together), prices in US dollars and neurons per million tokens."""

    id: str
    window: int
    input_price: float
    output_price: float
    input_neurons: float
    output_neurons: float
    fallback: str | None = None
    window_published: bool = True

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        """The price of one call, in US dollars."""
        return (input_tokens * self.input_price + output_tokens * self.output_price) / _MILLION

    def neurons(self, input_tokens: int, output_tokens: int) -> float:
        """The neurons that one call uses up."""
        return (input_tokens * self.input_neurons + output_tokens * self.output_neurons) / _MILLION


CallKind = Literal["direct", "map", "reduce", "synthesize", "turn", "llm_query", "extract", "compact"]
EventKind = Literal["session", "plan", "subcall", "iteration", "answer", "result", "error"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat prompt.

    `digest` stands for the content where whoever wrote it has digested it already: hashing long texts is not cheap.
    """

    role: Literal["system", "user", "assistant"]
    content: str
    digest: str = field(default="", compare=False)

    def fingerprint(self) -> str:
        return self.digest or hashlib.sha256(self.content.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Span:
    """A chunk of the context: its index, its characters and the bytes that hold them, ends exclusive.

    Its prompt repeats the `overlap_bytes` before it.
    """

    index: int
    start: int
    end: int
    byte_start: int
    byte_end: int
    overlap_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One prompt for one model.

    `kind`, `span` and `parent` say what the call is for; they are journalled beside it and never sent. `salt` tells
    apart calls that are alike on purpose. `call` is the key of the call that this is an attempt at: another attempt may
    ask a fallback, or leave room for a longer answer.
    """

    model: ModelSpec
    messages: tuple[Message, ...]
    max_output_tokens: int
    temperature: float = 0.0
    role: Role = "sub"
    kind: CallKind = "map"
    span: Span | None = None
    parent: str = ""
    salt: str = ""
    response_schema: Mapping[str, object] | None = None
    call: str = ""

    def call_key(self) -> str:
        """The key of the call that this request belongs to."""
        return self.call or self.key()

    def key(self) -> str:
        """Hex SHA-256 of everything that decides the answer."""
        said = [[message.role, message.fingerprint()] for message in self.messages]
        decides = [self.model.id, self.max_output_tokens, self.temperature, self.salt, self.response_schema, said]
        return hashlib.sha256(json.dumps(decides).encode()).hexdigest()

    def characters(self) -> int:
        return sum(len(message.content) for message in self.messages)


@dataclass(frozen=True, slots=True)
class ModelReply:
    """What a model answered; `model` is the id of the one that really ran, `usage` None where it reported none.

    `finish_reason` is OpenAI's (`stop`, `length` …), empty where none was reported. `repeated`: this run has paid for
    it with an equal call.
    """

    text: str
    model: str
    usage: CallUsage | None = None
    finish_reason: str = ""
    repeated: bool = False

    @property
    def is_cut(self) -> bool:
        """Whether the answer ended at the limit on its length."""
        return self.finish_reason == "length"

    def with_finish_reason(self, request: ModelRequest) -> ModelReply:
        """The same, sure to say whether it was cut: one that says nothing and has all the tokens it may have, was."""
        if self.finish_reason or self.usage is None or self.usage.output_tokens < request.max_output_tokens:
            return self
        return replace(self, finish_reason="length")


class UnusableReply(RetryableError):
    """An answer came that cannot be used: empty, broken off, unreadable.

    It is billed all the same: `usage` is what the model reported, None where it did not, `text` what arrived.
    """

    def __init__(self, message: str, code: int = 0, *, usage: CallUsage | None = None, text: str = "") -> None:
        self.usage = usage
        self.text = text
        super().__init__(message, code)


class OutputExhausted(TerminalError):
    """The model used up all tokens that it may write before the first word of an answer; `usage` as it reported it."""

    def __init__(self, message: str, usage: CallUsage | None = None) -> None:
        self.usage = usage
        super().__init__(message)


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


class DeltaSink(Protocol):
    """Takes an answer as it grows; `restart` says that it begins anew after a failed attempt."""

    def write(self, delta: str) -> None: ...

    def restart(self) -> None: ...


class Model(Protocol):
    """Answers prompts; raises `RetryableError` or `TerminalError`, of which some say what was billed nevertheless."""

    async def complete(self, request: ModelRequest, deltas: DeltaSink | None = None) -> ModelReply: ...


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

    `record` keeps an answer and `book` an attempt that brought none; `payments` gives both. `cut_off_usd` is what an
    earlier version has noted of calls that were given up under way, in US dollars.
    """

    def recall(self, key: str) -> CallRecord | None: ...

    def record(self, call: CallRecord) -> None: ...

    def book(self, attempt: FailedAttempt) -> None: ...

    def payments(self) -> Iterable[Payment]: ...

    def spans(self) -> list[Span]: ...

    def add_span(self, span: Span) -> None: ...

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


class RateLimiter(Protocol):
    """Says whether a key may send one more request now; never fails."""

    async def allows(self, owner: str) -> bool: ...


class Clock(Protocol):
    """Seconds since the epoch, and waiting."""

    def now(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Deployment:
    """What ops allow: calls at once, attempts and seconds for each call, seconds of computing for each cell.

    With `quoted_evidence` a note counts only as far as it quotes its chunk word for word, for readers that invent.
    """

    max_concurrency: int = 24
    first_concurrency: int = 12
    attempts: int = 9
    call_timeout_seconds: float = 120.0
    backoff_seconds: float = 0.25
    longest_backoff_seconds: float = 20.0
    max_cell_seconds: float = 120.0
    quoted_evidence: bool = False


class SandboxRepl(Protocol):
    """One Python process behind walls; raises `SandboxLost` when it is gone. JSON to JSON: see `sandbox.repl`.

    `SandboxForgot` says that it was gone before this cell came.
    """

    async def run(self, request: str) -> str: ...

    async def close(self) -> None: ...


class Sandbox(Protocol):
    """Starts Python where it reaches nothing but `call`, which takes and gives JSON."""

    async def open(
        self, session_id: str, setup: str, seconds: float, call: Callable[[str], Awaitable[str]]
    ) -> SandboxRepl: ...


Cell = str | int | float | None


class Database(Protocol):
    """SQLite as a Durable Object offers it: one statement at a time, its rows as tuples."""

    def execute(self, statement: str, *values: Cell) -> list[tuple[Cell, ...]]: ...


class Alarm(Protocol):
    """The one alarm of a session: fires at a time in seconds since the epoch, again after a crash."""

    async def set(self, at: float) -> None: ...


class Eraser(Protocol):
    """Deletes everything that the session's own storage holds."""

    async def erase(self) -> None: ...


Interval = tuple[int, int]

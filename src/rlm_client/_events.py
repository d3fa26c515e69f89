"""What happens during a run: its typed events, and the event stream that brings them."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

from pydantic import Field

from ._errors import APIError, ProtocolError, api_error, failure_of
from ._models import Name, RLMResult, Routing, Value, Wire, parse, read_json


class Event(Wire):
    """Anything that an event stream brings; `event_id` is what a later `Last-Event-ID` refers to."""

    # The alias is no name of the wire, so that no later field of an event is taken for it.
    event_id: str | None = Field(default=None, alias="event_id", exclude=True)


class SessionEvent(Event):
    """The run has a session; its id serves to follow, resume and cancel it."""

    kind: ClassVar[Literal["session"]] = "session"
    session_id: str
    routing: Routing | None = None


class JudgeEvent(Event):
    """Chunks were ranked, because not all can be read or the best come first: by `judge`; `asked` was to."""

    kind: ClassVar[Literal["judge"]] = "judge"
    asked: str
    judge: str
    chunks: int = 0
    cost_usd: float = 0.0
    duration_ms: float = 0.0


class PlanEvent(Event):
    """How the context will be read; sizes are in characters."""

    kind: ClassVar[Literal["plan"]] = "plan"
    strategy: str
    characters: int = 0
    chunks: int = 0
    chunk_size: int = 0
    root_model: str | None = None
    sub_model: str | None = None
    routing: Routing | None = None


class SubcallEvent(Event):
    """A sub-model has read a chunk; `done` of `chunks` are through. `status` is ok, none, failed or cached.

    `passed_over` are the models of its chain that have failed before the one that answered.
    """

    kind: ClassVar[Literal["subcall"]] = "subcall"
    chunk: int = 0
    chunks: int = 0
    done: int = 0
    status: str = "ok"
    model: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    duration_ms: float = 0.0
    passed_over: list[str] = Field(default_factory=list)


class IterationEvent(Event):
    """A root model took a turn: in the REPL, the code it wrote and what that printed.

    `parent` names the cell that asked, as `3.1`, when the turn is a child run's; those count from 1 again.
    """

    kind: ClassVar[Literal["iteration"]] = "iteration"
    iteration: int = 0
    code: str | None = None
    output: str | None = None
    cost_usd: float = 0.0
    duration_ms: float = 0.0
    parent: Name | None = None


class AnswerEvent(Event):
    """A further piece of the answer, as the root model writes it; with `restart` every piece before it is void."""

    kind: ClassVar[Literal["answer"]] = "answer"
    delta: str = ""
    restart: bool = False


class SchemaEvent(Event):
    """The tables that will be read, as in a result's `table.schema`."""

    kind: ClassVar[Literal["schema"]] = "schema"
    tables: list[dict[str, object]] = Field(default_factory=list)


class RowsEvent(Event):
    """All chunks were read: so many rows are in the tables; `reading` counts the passes."""

    kind: ClassVar[Literal["rows"]] = "rows"
    reading: int = 1
    row_count: int = 0
    complete: bool = False
    rejected: dict[str, int] = Field(default_factory=dict)
    chunks: dict[str, int] = Field(default_factory=dict)


class QueryEvent(Event):
    """A query was tried on the rows: what it gave, or why it could not be run."""

    kind: ClassVar[Literal["query"]] = "query"
    attempt: int = 1
    pick: str | None = None
    compute: str = ""
    columns: list[str] = Field(default_factory=list)
    rows: list[list[Value]] = Field(default_factory=list)
    error: str | None = None


class MendEvent(Event):
    """The answer did not fit the schema that was asked for: the model is told the `problem` and asked once more."""

    kind: ClassVar[Literal["mend"]] = "mend"
    attempt: int = 0
    problem: str = ""


class ResultEvent(Event):
    """The run has ended with this result; it is the last event of a stream."""

    kind: ClassVar[Literal["result"]] = "result"
    result: RLMResult


class UnknownEvent(Event):
    """An event of a kind that this client does not know."""

    kind: str
    data: object = None


RunEvent: TypeAlias = (
    SessionEvent
    | JudgeEvent
    | PlanEvent
    | SubcallEvent
    | IterationEvent
    | AnswerEvent
    | MendEvent
    | SchemaEvent
    | RowsEvent
    | QueryEvent
    | ResultEvent
    | UnknownEvent
)
_OfRuns: TypeAlias = SessionEvent | JudgeEvent | PlanEvent | SubcallEvent | IterationEvent | AnswerEvent | MendEvent
_OfTables: TypeAlias = SchemaEvent | RowsEvent | QueryEvent

_KINDS: Mapping[str, type[_OfRuns | _OfTables]] = {
    "session": SessionEvent,
    "judge": JudgeEvent,
    "plan": PlanEvent,
    "subcall": SubcallEvent,
    "iteration": IterationEvent,
    "answer": AnswerEvent,
    "schema": SchemaEvent,
    "rows": RowsEvent,
    "query": QueryEvent,
    "mend": MendEvent,
}


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event; `id` is the last one that the stream named, also when this event named none."""

    event: str
    data: str
    id: str | None


def run_event(raw: ServerSentEvent) -> RunEvent:
    """Return the typed event; raises the `APIError` that an `error` event stands for."""
    if raw.event == "error":
        raise _error(raw.data)
    if raw.event == "result":
        return ResultEvent(event_id=raw.id, result=parse(RLMResult, raw.data))
    if raw.event in _KINDS:
        return parse(_KINDS[raw.event], raw.data).model_copy(update={"event_id": raw.id})
    return UnknownEvent(event_id=raw.id, kind=raw.event, data=read_json(raw.data, raw.data))


def _error(data: str) -> APIError | ProtocolError:
    body = read_json(data)
    failure = failure_of(body) if isinstance(body, Mapping) else None
    return api_error(failure) if failure else ProtocolError("The stream ended in an error event without an error.")


class SSEDecoder:
    """Turns bytes, cut anywhere, into events."""

    def __init__(self, last_event_id: str | None = None) -> None:
        self.last_event_id = last_event_id
        self._text = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
        self._lines = _LineSplitter()
        self._draft = _Draft()

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """Return the events that these bytes complete."""
        found = (self._take(line) for line in self._lines.feed(self._text.decode(data)))
        return [event for event in found if event is not None]

    def _take(self, line: str) -> ServerSentEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        self._set(name, value.removeprefix(" "))
        return None

    def _set(self, name: str, value: str) -> None:
        if name == "data":
            self._draft.data.append(value)
        elif name == "event":
            self._draft.event = value
        elif name == "id" and "\0" not in value:
            self.last_event_id = value

    def _dispatch(self) -> ServerSentEvent | None:
        draft, self._draft = self._draft, _Draft()
        if not draft.data:
            return None
        return ServerSentEvent(draft.event or "message", "\n".join(draft.data), self.last_event_id)


@dataclass(slots=True)
class _Draft:
    """The fields seen since the last blank line."""

    event: str = ""
    data: list[str] = field(default_factory=list)


class _LineSplitter:
    """Cuts text at LF, CR and CRLF; a CR at the end of a piece may be half of a CRLF."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._after_cr = False

    def feed(self, text: str) -> list[str]:
        if self._after_cr and text:
            text, self._after_cr = text.removeprefix("\n"), False
        self._after_cr = self._after_cr or text.endswith("\r")
        *whole, rest = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if whole:
            whole[0] = "".join([*self._pieces, whole[0]])
            self._pieces = []
        if rest:
            self._pieces.append(rest)
        return whole

"""The events of a session, as they stand in its stream and in its journal."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import PlainSerializer

from rlm_worker.ports import JudgeName

from .base import Answer
from .routing import Routing
from .tables import ReadChunks, RejectedRows, TableDefinition, Value

# Whole: what is usual in it says something too.
_Routing = Annotated[Routing, PlainSerializer(Routing.to_wire, return_type=dict[str, object])]

Kind = Literal["session", "judge", "plan", "subcall", "iteration", "answer", "mend", "schema", "rows", "query"]


class Event(Answer):
    """What happened in a run; `kind` is its name in the stream."""

    kind: ClassVar[Kind]

    def to_wire(self) -> dict[str, object]:
        """What was set: an event says nothing that does not apply to it."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)


class SessionEvent(Event):
    """The run has a session, and `routing` its models."""

    kind = "session"

    session_id: str
    routing: _Routing | None = None


class JudgeEvent(Event):
    """Not all chunks can be read, or the best come first: `judge` has ranked them, `asked` was to."""

    kind = "judge"

    asked: JudgeName
    judge: JudgeName
    chunks: int
    cost_usd: float
    duration_ms: int


class PlanEvent(Event):
    """How the context will be read; sizes in characters."""

    kind = "plan"

    strategy: str
    characters: int
    chunks: int
    chunk_size: int
    root_model: str
    sub_model: str
    routing: _Routing | None = None


class SubcallEvent(Event):
    """A sub-model has read a chunk; `done` of `chunks` are through.

    `passedOver` are the models of its chain that were asked before the one that answered, or have failed for good.
    """

    kind = "subcall"

    chunk: int
    chunks: int
    done: int
    status: Literal["ok", "none", "failed", "cached"]
    model: str
    input_tokens: int
    output_tokens: int
    cost_usd: float
    duration_ms: int
    passed_over: list[str] | None = None


class IterationEvent(Event):
    """The root model took a turn: in the REPL, the code that it wrote and what that printed.

    `costUsd` holds the turn and what its cell has asked, `durationMs` the cell's time; `parent` names the cell that
    asked for a child run, and is missing in the run's own turns.
    """

    kind = "iteration"

    iteration: int
    code: str | None = None
    output: str | None = None
    cost_usd: float = 0.0
    duration_ms: int = 0
    parent: str | None = None


class AnswerEvent(Event):
    """A further piece of the answer; with `restart` what came before is void."""

    kind = "answer"

    delta: str
    restart: bool = False


class MendEvent(Event):
    """The answer does not fit the request's `responseSchema`: the model is told so and asked once more."""

    kind = "mend"

    attempt: int
    problem: str


class SchemaEvent(Event):
    """The tables that will be read."""

    kind = "schema"

    tables: list[TableDefinition]


class RowsEvent(Event):
    """All chunks were read in this `reading`, the first or a further pass: so many rows are in the tables."""

    kind = "rows"

    reading: int
    row_count: int
    complete: bool
    rejected: RejectedRows
    chunks: ReadChunks


class QueryEvent(Event):
    """A query was tried: what it gave, or why it could not be run."""

    kind = "query"

    attempt: int
    compute: str
    pick: str | None = None
    columns: list[str] | None = None
    rows: list[list[Value]] | None = None
    error: str | None = None


_RUN_EVENTS = (SessionEvent, JudgeEvent, PlanEvent, SubcallEvent, IterationEvent, AnswerEvent, MendEvent)
_TABLE_EVENTS = (SchemaEvent, RowsEvent, QueryEvent)
EVENTS: dict[str, type[Event]] = {event.kind: event for event in (*_RUN_EVENTS, *_TABLE_EVENTS)}

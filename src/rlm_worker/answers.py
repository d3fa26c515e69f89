"""The wire, continued: what routes answer that is not a run's result, and what the events of a run hold.

The routes write these forms; `openapi` describes them; tests hold the one to the other.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel
from pydantic.alias_generators import to_camel

from .schemas import ErrorBody, RunConfig, RunRequest

MAX_BATCH_ITEMS = 10_000


class Answer(BaseModel):
    """Something the Worker says: camelCase, and open to fields of later versions."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="allow")


class ErrorAnswer(Answer):
    """The one form of errors, outside /v1."""

    success: Literal[False]
    error: ErrorBody


class Accepted(Answer):
    """A run that goes on without the caller; `Location` names its status."""

    success: Literal[True]
    session_id: str
    status: Literal["running"]


class Limits(Answer):
    """What a deployment allows, for callers with a key."""

    max_body_bytes: int
    max_context_bytes: int
    max_documents: int
    max_batch_items: int
    body_idle_seconds: float
    session_ttl_days: float
    key_daily_usd: float | None
    key_concurrent_runs: int | None
    defaults: RunConfig


class Health(Answer):
    """Whether the Worker is well; with `deep=1` each binding says `ok` or what is wrong with it."""

    status: Literal["ok", "failing"]
    service: Literal["rlm-worker"]
    version: str
    limits: Limits | None = None
    bindings: dict[str, str] | None = None
    failing: list[str] | None = None


class PromptMessage(Answer):
    """One message of a prompt."""

    role: Literal["system", "user", "assistant"]
    content: str


class TrajectoryCall(Answer):
    """One model call; `parent` is the call that asked for it, `chunk` the chunk that it read.

    The `prompt` of a chunk is empty where the context was deleted before the session.
    """

    id: int
    parent: str | None
    kind: str
    role: Literal["root", "sub"]
    model: str
    chunk: int | None
    prompt: list[PromptMessage]
    response: str
    input_tokens: int
    output_tokens: int
    estimated: bool
    cost_usd: float
    duration_ms: int
    started_at: str


class Trajectory(Answer):
    """Every model call of a session, in the order in which they were finished."""

    session_id: str
    calls: list[TrajectoryCall]


class SessionEvent(Answer):
    """The run has a session."""

    session_id: str


class PlanEvent(Answer):
    """How the context will be read; sizes in characters."""

    strategy: str
    characters: int
    chunks: int
    chunk_size: int
    root_model: str
    sub_model: str


class SubcallEvent(Answer):
    """A sub-model has read a chunk; `done` of `chunks` are through."""

    chunk: int
    chunks: int
    done: int
    status: Literal["ok", "none", "failed", "cached"]
    model: str
    input_tokens: int
    output_tokens: int
    cost_usd: float
    duration_ms: int


class IterationEvent(Answer):
    """The root model took a turn; in the REPL, the code that it wrote and what that printed."""

    iteration: int
    code: str | None = None
    output: str | None = None


class AnswerEvent(Answer):
    """A further piece of the answer; with `restart` what came before is void."""

    delta: str
    restart: bool = False


class BatchBody(RootModel[Annotated[list[RunRequest], Field(min_length=1, max_length=MAX_BATCH_ITEMS)]]):
    """The body of `POST /rlm/batch` as JSON; an item that is not of this form is rejected alone."""


class BatchAccepted(Answer):
    """A batch that was taken; `rejected` items are in its results, with their error."""

    success: Literal[True] = True
    batch_id: str
    total: int
    accepted: int
    rejected: int


class BatchState(Answer):
    """How far a batch is: items by state; `failed` counts the rejected ones too."""

    batch_id: str
    status: Literal["running", "completed"]
    total: int
    accepted: int
    rejected: int
    queued: int
    running: int
    completed: int
    failed: int
    cancelled: int = 0
    cost_usd: float
    created_at: str
    updated_at: str


ItemStatus = Literal["queued", "running", "completed", "failed"]
EVENTS: dict[str, type[Answer]] = {
    "session": SessionEvent,
    "plan": PlanEvent,
    "subcall": SubcallEvent,
    "iteration": IterationEvent,
    "answer": AnswerEvent,
}


class BatchLine(Answer):
    """One line of a batch's results: the item's place in the input, and its result's fields beside it."""

    index: int
    status: ItemStatus
    success: bool
    answer: str | None = None
    cost_usd: float = 0.0
    error: ErrorBody | None = None

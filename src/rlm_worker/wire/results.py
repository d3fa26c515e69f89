"""What the Worker answers: results of runs, the states of sessions, errors, health, trajectories.

The routes build these forms; `api.openapi` describes them; tests hold the one to the other.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, RootModel

from rlm_worker.errors import FieldProblem, InvalidRequest, Overloaded, RateLimited, RLMError, rebuilt
from rlm_worker.ports import JudgeName

from .base import Answer, Wire
from .requests import RunConfig
from .routing import Routing
from .tables import TableReport, Value

SessionStatus = Literal["running", "completed", "failed", "cancelled"]


class ErrorBody(Wire):
    """What went wrong: a stable type, a sentence, and for 422 the fields."""

    type: str
    message: str
    detail: list[dict[str, str]] | None = None
    retry_after: int | None = None

    @classmethod
    def of(cls, error: RLMError) -> ErrorBody:
        """What the wire says of an error; `retryAfter` in seconds where asking again later helps."""
        problems = error.problems if isinstance(error, InvalidRequest) else ()
        return cls(
            type=error.type,
            message=str(error),
            detail=[{"path": problem.path, "message": problem.message} for problem in problems] or None,
            retry_after=error.retry_after if isinstance(error, RateLimited | Overloaded) else None,
        )

    def to_error(self) -> RLMError:
        """The error itself, of the class that it had where it was raised."""
        facts: dict[str, object] = {}
        if self.detail is not None:
            facts["problems"] = tuple(FieldProblem(problem["path"], problem["message"]) for problem in self.detail)
        if self.retry_after is not None:
            facts["retry_after"] = self.retry_after
        return rebuilt(self.type, self.message, **facts)


class ModelUsage(Wire):
    """What one model did in a run; `estimated` where it reported no usage for some call."""

    model: str
    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float
    estimated: bool = False
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0


UnlocatedReason = Literal["not_found", "misattributed", "from_prompt", "too_short"]


class Citation(Wire):
    """A place in a document that the answer rests on: characters `startCharIndex` to `endCharIndex` (exclusive).

    Characters are Unicode code points of that document; `citedText` is what stands there. `verified` says that what was
    quoted stands there word for word, numbers and denials included: not that it supports the answer. `answerStart` and
    `answerEnd` are the part of the answer that it is cited for, `rowId` is the row of a table that was read there.
    """

    type: Literal["char_location"] = "char_location"
    cited_text: str
    document_index: int
    document_title: str | None = None
    start_char_index: int
    end_char_index: int
    verified: bool
    match: Literal["exact", "normalized", "elided", "approximate"]
    answer_start: int | None = None
    answer_end: int | None = None
    row_id: str | None = None


class Unlocated(Wire):
    """A quotation that the answer rests on and that stands at no place where it should, and why."""

    quote: str
    reason: UnlocatedReason


class Relevance(Wire):
    """Who was asked to choose chunks, or the order in which they are read, and who has chosen."""

    asked: JudgeName
    judge: JudgeName


class RunResult(Wire):
    """The result of a run; tokens are what the models reported, cost follows from them and the catalogue's prices.

    `incomplete`: some calls failed for passing reasons, so that the same request asked again may bring more; it reads
    only what is missing. `costUsd` is everything: that of `models`, and `sandboxCostUsd` for the `sandboxes` of REPLs.
    `cachedInputTokens` are those of the input that a provider's prefix cache held, `reasoningTokens` those of the
    output that were thought and not said. Where a `responseSchema` was asked for, `answer` is JSON, as the model wrote
    it; with the error `answer_invalid` it is the last one, which does not fit.
    """

    success: bool
    answer: str | None = None
    citations: list[Citation] = Field(default_factory=list)
    unlocated: list[Unlocated] = Field(default_factory=list)
    iterations: int = 0
    sub_calls: int = 0
    cached_sub_calls: int = 0
    total_input_tokens: int = 0
    total_output_tokens: int = 0
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    neurons: float = 0.0
    cost_usd: float = 0.0
    estimated: bool = False
    sandboxes: int = 0
    sandbox_cost_usd: float = 0.0
    duration_ms: int = 0
    cache_hit: bool = False
    session_id: str = ""
    strategy: str = ""
    root_model: str = ""
    sub_model: str = ""
    models: list[ModelUsage] = Field(default_factory=list)
    chunks: int = 0
    chunk_order: list[int] | None = None
    relevance: Relevance | None = None
    coverage: float = 0.0
    truncated: bool = False
    incomplete: bool = False
    warnings: list[str] = Field(default_factory=list)
    error: ErrorBody | None = None
    table: TableReport | None = None
    routing: Routing | None = None
    previous_session_id: str | None = None


class SessionState(Wire):
    """Where a session stands, as `GET /session/{id}/status` shows it.

    `phase` is `starting`, `reading`, `answering`, `waiting` (for the model's rate), or the status of what has ended.
    """

    session_id: str
    status: SessionStatus
    phase: str
    strategy: str = ""
    chunks_done: int = 0
    chunks: int = 0
    iterations: int = 0
    sub_calls: int = 0
    cost_usd: float = 0.0
    started_at: str
    updated_at: str
    previous_session_id: str | None = None


class StoredContext(Wire):
    """The answer to `PUT /contexts`."""

    context_id: str
    characters: int
    bytes: int
    sha256: str


class RoutingPreview(Answer):
    """What would be chosen, and what by each policy that may be named; `strategy` `auto` is left to the run."""

    routing: Routing
    alternatives: dict[str, Routing]


class ErrorAnswer(Answer):
    """The one form of errors, outside /v1."""

    success: Literal[False] = False
    error: ErrorBody

    @classmethod
    def of(cls, error: RLMError) -> ErrorAnswer:
        return cls(error=ErrorBody.of(error))


class Accepted(Answer):
    """A run that goes on without the caller; `Location` names its status."""

    success: Literal[True] = True
    session_id: str
    status: Literal["running"] = "running"


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


class AccountState(Answer):
    """What a key has spent and granted today (UTC, US dollars), and its runs that go on, beside its limits."""

    spent_today_usd: float
    granted_usd: float
    daily_usd: float | None
    runs: int
    concurrent_runs: int | None


class Health(Answer):
    """Whether the Worker is well; with `deep=1` each binding says `ok` or what is wrong with it."""

    status: Literal["ok", "failing"] = "ok"
    service: Literal["rlm-worker"] = "rlm-worker"
    version: str
    limits: Limits | None = None
    account: AccountState | None = None
    bindings: dict[str, str] | None = None
    failing: list[str] | None = None


class PromptMessage(Answer):
    """One message of a prompt."""

    role: Literal["system", "user", "assistant"]
    content: str


class TrajectoryCall(Answer):
    """One model call; `parent` is the call that asked for it, `chunk` the chunk that it read.

    The `prompt` of a chunk is empty where the context was deleted before the session. `citations` are the places in the
    chunk that a reader has quoted.
    """

    id: int
    parent: str | None
    kind: str
    role: Literal["root", "sub", "judge"]
    model: str
    chunk: int | None
    prompt: list[PromptMessage]
    response: str
    citations: list[Citation] = Field(default_factory=list)
    input_tokens: int
    output_tokens: int
    estimated: bool
    cost_usd: float
    duration_ms: int
    started_at: str
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0


class TrajectoryAttempt(Answer):
    """An attempt that was paid and brought no answer; `estimated` where nobody reported its tokens."""

    role: Literal["root", "sub", "judge"]
    model: str
    reason: str
    input_tokens: int
    output_tokens: int
    estimated: bool
    cost_usd: float


class TrajectorySandbox(Answer):
    """A sandbox on one day, which is what is billed; `parent` names a child run's REPL, and the run's own is null."""

    parent: str | None
    opened_at: str
    cost_usd: float


class TrajectoryQuery(Answer):
    """A query on the rows of a table: how often it was begun, what it gave, or why it gave nothing."""

    pick: str
    compute: str
    starts: int
    columns: list[str] = Field(default_factory=list)
    rows: list[list[Value]] = Field(default_factory=list)
    picked: int = 0
    error: str | None = None


class _CallLine(TrajectoryCall):
    type: Literal["call"]


class _AttemptLine(TrajectoryAttempt):
    type: Literal["failedAttempt"]


class _SandboxLine(TrajectorySandbox):
    type: Literal["sandbox"]


class _QueryLine(TrajectoryQuery):
    type: Literal["query"]


class TrajectoryLine(RootModel[_CallLine | _AttemptLine | _SandboxLine | _QueryLine]):
    """One line of a trajectory that is asked for in lines: a row, and of which `type` it is."""


class Trajectory(Answer):
    """Every model call of a session, in the order in which they were finished, and what was paid in vain beside them.

    Their costs, with those of the sandboxes, add up to the result's `costUsd`.
    """

    session_id: str
    calls: list[TrajectoryCall]
    failed_attempts: list[TrajectoryAttempt] = Field(default_factory=list)
    sandboxes: list[TrajectorySandbox] = Field(default_factory=list)
    queries: list[TrajectoryQuery] = Field(default_factory=list)
    routing: Routing | None = None

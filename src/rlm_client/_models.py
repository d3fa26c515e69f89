"""What goes to the Worker and what comes back, as typed values: a run's options, results, sessions, batches, models."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Literal, TypeAlias, TypeVar

import pydantic
from pydantic import Field
from pydantic.alias_generators import to_camel

from ._errors import AnswerInvalidError, Failure, ProtocolError

FINISHED = frozenset({"completed", "failed", "cancelled"})

ValueT = TypeVar("ValueT")
WireT = TypeVar("WireT", bound="Wire")
Name = Annotated[str, Field(coerce_numbers_to_str=True)]
Value: TypeAlias = str | int | float | bool | None


class RLMConfig(pydantic.BaseModel):
    """The options of a run; what is left out, the deployment decides.

    `chunk_size`, `chunk_overlap` and `max_output_characters` (of a REPL cell) are in characters; `timeout_seconds` and
    `max_cost_usd` bound the whole run, `max_output_tokens` each model call, `cell_timeout_seconds` each REPL cell.
    `routing` names a policy (`cheapest`, `fastest`, `best`, or the deployment's own), or is a list of rules.
    A misspelt option is refused here, before anything is sent; the Worker checks the values.
    """

    model_config = pydantic.ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)

    strategy: Literal["auto", "direct", "map_reduce", "repl", "table"] | None = None
    root_model: str | None = None
    sub_model: str | None = None
    max_iterations: int | None = None
    max_sub_calls: int | None = None
    max_depth: int | None = None
    chunk_size: int | None = None
    chunk_overlap: int | None = None
    use_cache: bool | None = None
    max_cost_usd: float | None = None
    timeout_seconds: float | None = None
    temperature: float | None = None
    max_output_tokens: int | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    cell_timeout_seconds: float | None = None
    max_output_characters: int | None = None
    routing: str | list[dict[str, object]] | None = None
    relevance: Literal["bm25", "reranker", "embeddings", "decision"] | None = None


Config: TypeAlias = RLMConfig | Mapping[str, object]


class Wire(pydantic.BaseModel):
    """An immutable value from the Worker; fields it does not know yet are kept as they came."""

    model_config = pydantic.ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="allow", frozen=True)

    def to_json(self) -> dict[str, object]:
        """Return the value as the Worker sent it: camelCase names, plain JSON types, nothing that it left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class ModelUsage(Wire):
    """What one model did in a run; `estimated` when the model itself reported no token counts."""

    model: str
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    estimated: bool = False
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0


class RunError(Wire):
    """Why a run has no answer."""

    type: str
    message: str
    detail: object = None


class Citation(Wire):
    """A place in a document that the answer rests on; `cited_text` is the document's own text there.

    Indices count Unicode code points, as Python's strings do: `document[start_char_index:end_char_index]` is
    `cited_text`. `verified` tells that what was quoted stands there word for word, not that it supports the answer;
    `answer[answer_start:answer_end]` is the part of the answer that it is cited for, `row_id` names the row of a table
    that was read there.
    """

    cited_text: str
    document_index: int
    document_title: str | None = None
    start_char_index: int
    end_char_index: int
    verified: bool = False
    match: str | None = None
    answer_start: int | None = None
    answer_end: int | None = None
    row_id: str | None = None


class Unlocated(Wire):
    """A quotation that does not stand where it should: not_found, misattributed, from_prompt or too_short."""

    quote: str
    reason: str


class RowCitation(Wire):
    """Where a row stands: `document[start_char_index:end_char_index]` is `cited_text`."""

    cited_text: str
    document_index: int
    document_title: str | None = None
    start_char_index: int
    end_char_index: int
    verified: bool = True


class Row(Wire):
    """One row: its normalised values by column, what the model wrote where that differs, and each value's basis.

    A value's basis is `verbatim` where it follows from what stands there, `derived` where the model has judged it, and
    `null` where there is none.
    """

    id: str
    table: str
    values: dict[str, Value]
    raw: dict[str, Value] = Field(default_factory=dict)
    basis: dict[str, str] = Field(default_factory=dict)
    citation: RowCitation | None = None


class TableQuery(Wire):
    """What was computed on the rows, and what that gave; `truncated` where there were more."""

    pick: str | None = None
    compute: str = ""
    columns: list[str] = Field(default_factory=list)
    rows: list[list[Value]] = Field(default_factory=list)
    truncated: bool = False
    attempts: int = 0

    def dicts(self) -> list[dict[str, Value]]:
        """Return the result's rows, each as a mapping from column to value."""
        return [dict(zip(self.columns, row, strict=False)) for row in self.rows]


class TableReport(Wire):
    """The table that an answer was computed from; `rows` are some of its rows, `RLMClient.rows` brings all.

    `complete` tells that every chunk was read to its end and that no row had to be left out.
    """

    definition: dict[str, object] = Field(default_factory=dict, alias="schema")
    row_count: int = 0
    complete: bool = False
    rejected: dict[str, int] = Field(default_factory=dict)
    chunks: dict[str, int] = Field(default_factory=dict)
    query: TableQuery | None = None
    rows: list[Row] = Field(default_factory=list)


class Routing(Wire):
    """Which rule has chosen strategy and models of a run, and why.

    `policy` is the one that the caller named, `deployment` (the deployment's own rules), `request` (rules that came
    with the request) or `default` (none); `rule` the rule's name or its place, `reason` why the context was read so.
    `fallbacks` answer, in their order, where a model fails.
    """

    policy: str = "default"
    rule: str | None = None
    task: str = "other"
    task_by: str = "rule"
    language: str | None = None
    reason: str = ""
    strategy: str = ""
    root_model: str = ""
    sub_model: str = ""
    fallbacks: list[str] = Field(default_factory=list)
    chosen_by: dict[str, str] = Field(default_factory=dict)


class RoutingPreview(Wire):
    """What rules would choose for a question, and what each policy would."""

    routing: Routing
    alternatives: dict[str, Routing] = Field(default_factory=dict)


class Relevance(Wire):
    """Who was asked to choose chunks, or the order in which they are read, and who has chosen in the end."""

    asked: str
    judge: str


class RLMResult(Wire):
    """The outcome of one run.

    `citations` are the places that the answer rests on, `unlocated` the quotations in it that stand nowhere.
    `iterations` counts the root model's turns, `sub_calls` the paid calls to sub-models, `cached_sub_calls` the ones
    answered from earlier runs. `coverage` is the share (0 to 1) of the context that a model read, and `relevance` who
    chose what is read where not all was; `truncated` tells that a limit ended the run early, `incomplete` that some
    calls failed for passing reasons and the same request may bring more, `estimated` that some model reported no token
    counts. Of the tokens, `cached_input_tokens` came from a provider's prefix cache and `reasoning_tokens` were thought
    and not said. `cost_usd` is everything, `sandbox_cost_usd` for the `sandboxes` of REPLs included. Costs are US
    dollars, times milliseconds.
    `previous_session_id` is the session that a follow-up follows.
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
    duration_ms: int | float = 0
    cache_hit: bool = False
    session_id: str | None = None
    strategy: str | None = None
    root_model: str | None = None
    sub_model: str | None = None
    chunks: int = 0
    relevance: Relevance | None = None
    coverage: float | None = None
    truncated: bool = False
    incomplete: bool = False
    warnings: list[str] = Field(default_factory=list)
    models: list[ModelUsage] = Field(default_factory=list)
    error: RunError | None = None
    table: TableReport | None = None
    routing: Routing | None = None
    previous_session_id: str | None = None

    def parse_as(self, response_model: type[ValueT]) -> ValueT:
        """Return the answer as a value of that type; raises `AnswerInvalidError` where it is none."""
        try:
            return pydantic.TypeAdapter(response_model).validate_json(self.answer or "")
        except pydantic.ValidationError as error:
            reason = f"the answer is no {getattr(response_model, '__name__', response_model)}: {_problems(error)}"
            known = Failure("answer_invalid", reason, session_id=self.session_id, cost_usd=self.cost_usd)
            raise AnswerInvalidError(replace(known, answer=self.answer)) from None


class Submitted(Wire):
    """A run that was started in the background."""

    session_id: str
    status: str = "running"


class SessionStatus(Wire):
    """How far a run is; `status` is running, completed, failed or cancelled."""

    session_id: str
    status: str
    phase: str | None = None
    strategy: str | None = None
    chunks_done: int = 0
    chunks: int = 0
    iterations: int = 0
    sub_calls: int = 0
    cost_usd: float = 0.0
    started_at: datetime | None = None
    updated_at: datetime | None = None
    previous_session_id: str | None = None

    @property
    def finished(self) -> bool:
        """Whether the run has ended, in whatever way."""
        return self.status in FINISHED


class Cancelled(Wire):
    """A session or batch that was stopped and deleted; `cost_usd` when the Worker said what it had spent."""

    session_id: str | None = None
    status: str = "cancelled"
    cost_usd: float | None = None


class TrajectoryCall(Wire):
    """One model call of a run; `parent` is the id of the call that made it, `chunk` the chunk that it read."""

    id: Name
    parent: Name | None = None
    kind: str = "call"
    role: str | None = None
    chunk: int | None = None
    model: str = ""
    prompt: object = None
    response: object = None
    citations: list[Citation] = Field(default_factory=list)
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    duration_ms: float = 0.0
    started_at: datetime | None = None
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0


class TrajectoryAttempt(Wire):
    """An attempt that was paid and brought no answer; `estimated` where nobody reported its tokens."""

    role: str | None = None
    model: str = ""
    reason: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    estimated: bool = False
    cost_usd: float = 0.0


class TrajectorySandbox(Wire):
    """A sandbox on one day, which is what is billed; `parent` names a child run's REPL."""

    parent: str | None = None
    opened_at: datetime | None = None
    cost_usd: float = 0.0


class TrajectoryQuery(Wire):
    """A query on the rows of a table: how often it was begun, what it gave, or why it gave nothing."""

    pick: str = ""
    compute: str = ""
    starts: int = 1
    columns: list[str] = Field(default_factory=list)
    rows: list[list[Value]] = Field(default_factory=list)
    picked: int = 0
    error: str | None = None


class Trajectory(Wire):
    """A session's model calls in the order in which they began, what was paid in vain, its sandboxes, its queries."""

    session_id: str
    calls: list[TrajectoryCall] = Field(default_factory=list)
    failed_attempts: list[TrajectoryAttempt] = Field(default_factory=list)
    sandboxes: list[TrajectorySandbox] = Field(default_factory=list)
    queries: list[TrajectoryQuery] = Field(default_factory=list)
    routing: Routing | None = None


class StoredContext(Wire):
    """A context that the Worker keeps: pass it, or its `context_id`, instead of the text."""

    context_id: str
    characters: int = 0
    bytes: int = 0
    sha256: str | None = None


class BatchSubmitted(Wire):
    """A batch that was accepted."""

    batch_id: str
    total: int = 0


class BatchStatus(Wire):
    """How far a batch is."""

    batch_id: str
    status: str | None = None
    total: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    cost_usd: float = 0.0

    @property
    def finished(self) -> bool:
        """Whether every item has ended."""
        return self.status in FINISHED or (self.total > 0 and self.done >= self.total)

    @property
    def done(self) -> int:
        """How many items have ended, in whatever way."""
        return self.completed + self.failed + self.cancelled


class BatchItem(RLMResult):
    """The outcome of one item of a batch: a result, and the item's place in the input, counted from 0."""

    index: int


class PriceTier(Wire):
    """The prices of prompts with more than `above` tokens, in dollars per million tokens."""

    above: int
    input_price: float
    output_price: float


class ModelInfo(Wire):
    """A model of the catalogue: `window` in tokens, prices in dollars per million tokens as of `dated`.

    `tiers` are the prices of longer prompts; `unavailable` says why the deployment cannot ask it.
    """

    id: str
    window: int | None = None
    input_price: float | None = None
    output_price: float | None = None
    aliases: list[str] = Field(default_factory=list)
    dated: str | None = None
    provider: str | None = None
    cached_price: float | None = None
    tiers: list[PriceTier] = Field(default_factory=list)
    reasoning: str | None = None
    unavailable: str | None = None

    def cost(self, input_tokens: float, output_tokens: float, *, calls: int = 1) -> float | None:
        """Return what so many tokens in so many calls cost, in dollars; None when the catalogue has no price.

        Longer prompts may have other prices: what counts is the length of each call's.
        """
        if self.input_price is None or self.output_price is None:
            return None
        read, written = self.input_price, self.output_price
        for tier in sorted(self.tiers, key=lambda tier: tier.above):
            if input_tokens / calls > tier.above:
                read, written = tier.input_price, tier.output_price
        return (input_tokens * read + output_tokens * written) / 1_000_000


class RunDefaults(Wire):
    """The options that a run gets where its config is silent; None where the Worker did not say."""

    strategy: str | None = None
    root_model: str | None = None
    sub_model: str | None = None
    chunk_size: int | None = None
    max_sub_calls: int | None = None
    max_output_tokens: int | None = None


class Limits(Wire):
    """A deployment's limits, and the defaults of its runs."""

    defaults: RunDefaults = RunDefaults()


class Health(Wire):
    """Whether the Worker is healthy, and its limits for callers with a key; with `deep`, each binding's state too."""

    status: str
    service: str | None = None
    version: str | None = None
    limits: Limits | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is reported to fail."""
        return self.status == "ok"


def parse(model: type[WireT], text: str | bytes) -> WireT:
    """Read one JSON object; raises `ProtocolError` when it is not what the contract promises."""
    return _validated(model, lambda: model.model_validate_json(text))


def batch_items(lines: str) -> list[BatchItem]:
    """Read results as JSONL, one line per item in input order; an item may hold its result or be it."""
    return [_item(number, line) for number, line in enumerate(filter(str.strip, lines.split("\n")))]


def read_json(text: str | bytes, otherwise: object = None) -> object:
    """Return what the text holds as JSON, or `otherwise` when it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return otherwise


def wire_config(config: Config | None) -> dict[str, object]:
    """Return the options as they travel; a plain mapping goes as it is, so that newer options can be used."""
    if isinstance(config, RLMConfig):
        return config.model_dump(mode="json", by_alias=True, exclude_none=True)
    return dict(config or {})


def _problems(error: pydantic.ValidationError) -> str:
    told = error.errors(include_url=False, include_context=False, include_input=False)[:3]
    return "; ".join(f"{'.'.join(map(str, item['loc'])) or 'it'}: {item['msg']}" for item in told)


def _item(number: int, line: str) -> BatchItem:
    body = read_json(line)
    if not isinstance(body, Mapping):
        raise ProtocolError(f"Line {number + 1} of the batch results is not a JSON object.")
    inner = body.get("result")
    fields = {"index": number, **body, **(inner if isinstance(inner, Mapping) else {})}
    fields.pop("result", None)
    return _validated(BatchItem, lambda: BatchItem.model_validate(fields))


def _validated(model: type[WireT], read: Callable[[], WireT]) -> WireT:
    try:
        return read()
    except pydantic.ValidationError as error:
        # Inputs are left out: a context or an answer has no business in an error message.
        places = ", ".join(".".join(map(str, item["loc"])) or "body" for item in error.errors(include_input=False))
        raise ProtocolError(f"The Worker's response is not a valid {model.__name__}: check {places}.") from None

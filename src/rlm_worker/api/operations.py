"""Every route as data: what it takes and everything that it may answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel

from rlm_worker.anthropic.schemas import (
    AnsweredMessage,
    AnthropicError,
    CountedTokens,
    CountRequest,
    MessagesEvent,
    MessagesRequest,
)
from rlm_worker.openai.schemas import (
    ChatCompletion,
    ChatCompletionChunk,
    ChatRequest,
    ModelEntry,
    ModelList,
    OpenAIError,
)
from rlm_worker.sessions.uploads import DocumentLine
from rlm_worker.wire.batches import BatchAccepted, BatchBody, BatchLine, BatchState
from rlm_worker.wire.keys import KEY_NAME, Budget, KeyBudget, KeyEntry, KeyListing, NewKey
from rlm_worker.wire.requests import RoutingQuestion, RunRequest
from rlm_worker.wire.results import (
    Accepted,
    ErrorAnswer,
    Health,
    RoutingPreview,
    RunResult,
    SessionState,
    StoredContext,
    Trajectory,
    TrajectoryLine,
)
from rlm_worker.wire.tables import RowLine

Content = Mapping[str, tuple[type[BaseModel], ...]]

_JSON, _EVENTS, _LINES = "application/json", "text/event-stream", "application/x-ndjson"
_HTML, _CSV = "text/html", "text/csv"
_SENTENCES: Mapping[int, str] = {
    200: "done",
    201: "stored",
    202: "goes on without the caller",
    204: "deleted",
    400: "not JSON, not UTF-8, or asks for a part that this deployment lacks",
    401: "the API key is missing or not known",
    404: "there is no such thing, or it belongs to another key",
    405: "the route exists, the method does not",
    409: "an Idempotency-Key that was used for something else, a run that was cancelled, or one to follow that goes on",
    413: "larger than the deployment or the model takes",
    415: "not the kind of body that the route reads",
    422: "a field is wrong (`detail` names it), or a limit left no answer",
    429: "the key has used up what it may for now",
    500: "a defect of this Worker",
    502: "a model refused, nothing could be read, or the answer does not fit the schema",
    503: "a model or a store is not available, or ops must set something",
}
_PLAIN_ERRORS = (401, 404, 500, 503)
_BODY_ERRORS = (400, 401, 413, 415, 422, 429, 500, 503)
_ADMIN_ERRORS = (401, 429, 500, 503)
_RUN_ERRORS = (400, 401, 404, 409, 413, 415, 422, 429, 500, 502, 503)


@dataclass(frozen=True, slots=True)
class Reply:
    """One status of an operation, with the models of its bodies by media type."""

    status: int
    content: Content = field(default_factory=dict)
    headers: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        return _SENTENCES[self.status]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a request; one in the path has a `pattern`, and what does not match it is another route."""

    place: Literal["path", "query", "header"]
    name: str
    description: str
    pattern: str = ""


# Who may call: anybody, who has a key, who has one and asks no more often than it may, because it costs money, or who
# has the admin key. What only the latter may is no part of the contract with callers.
Access = Literal["open", "key", "paid", "admin"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one route: what drives routing, authentication and the OpenAPI document alike."""

    method: str
    path: str
    name: str
    summary: str
    replies: tuple[Reply, ...]
    body: Content | None = None
    parameters: tuple[Parameter, ...] = ()
    access: Access = "key"


def _errors(statuses: tuple[int, ...], *models: type[BaseModel]) -> tuple[Reply, ...]:
    return tuple(
        Reply(status, {_JSON: models or (ErrorAnswer,)}, ("Retry-After",) if status == 429 else ())
        for status in statuses
    )


def _openai_errors(statuses: tuple[int, ...]) -> tuple[Reply, ...]:
    return _errors(statuses, OpenAIError)


_KEY = Parameter("header", "Idempotency-Key", "names the run: the same key again joins it and pays nothing")
_SESSION = Parameter("path", "id", "the session's id", "[0-9a-f]{32}")
_BATCH = Parameter("path", "id", "the batch's id", "[0-9a-f]{32}")
_CONTEXT = Parameter("path", "id", "the contextId", "ctx_[0-9a-f]{32}")
_DIGEST = Parameter("path", "id", "the beginning of a key's digest", "[0-9a-f]{8,64}")
_NAME = Parameter("path", "id", "a key's name", KEY_NAME)
_MODEL = Parameter("path", "id", "an id, an alias, or a composite such as root+sub", ".+")
_LAST = Parameter("header", "Last-Event-ID", "events up to this id are left out")

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "POST",
        "/rlm",
        "run",
        "Ask a question about a context. `stream` brings events, `background` answers at once.",
        (
            Reply(200, {_JSON: (RunResult,), _EVENTS: ()}),
            Reply(202, {_JSON: (Accepted,)}, ("Location",)),
            *_errors(_RUN_ERRORS, ErrorAnswer, RunResult),
        ),
        {_JSON: (RunRequest,)},
        (_KEY,),
        access="paid",
    ),
    Operation(
        "POST",
        "/rlm/routing",
        "previewRouting",
        "Which models would answer a question, and which by each policy; nothing is asked and nothing paid.",
        (Reply(200, {_JSON: (RoutingPreview,)}), *_errors((400, 401, 413, 415, 422, 500, 503))),
        {_JSON: (RoutingQuestion,)},
    ),
    Operation(
        "GET",
        "/session/{id}/status",
        "sessionStatus",
        "How far a run is.",
        (Reply(200, {_JSON: (SessionState,)}), *_errors(_PLAIN_ERRORS)),
        parameters=(_SESSION,),
    ),
    Operation(
        "GET",
        "/session/{id}/result",
        "sessionResult",
        "The result of a run, with the status that it has on POST /rlm; 202 while it goes on.",
        (
            Reply(200, {_JSON: (RunResult,)}),
            Reply(202, {_JSON: (Accepted,)}, ("Location",)),
            *_errors((401, 404, 409, 413, 422, 500, 502, 503), ErrorAnswer, RunResult),
        ),
        parameters=(_SESSION,),
    ),
    Operation(
        "GET",
        "/session/{id}/events",
        "sessionEvents",
        "The events of a run, those to come included.",
        (Reply(200, {_EVENTS: ()}), *_errors((401, 404, 422, 500, 503))),
        parameters=(_SESSION, _LAST),
    ),
    Operation(
        "GET",
        "/session/{id}/trajectory",
        "sessionTrajectory",
        "Every model call of a run, prompts included: one object, or by `Accept` a line for each call.",
        (Reply(200, {_JSON: (Trajectory,), _LINES: (TrajectoryLine,)}), *_errors(_PLAIN_ERRORS)),
        parameters=(_SESSION,),
    ),
    Operation(
        "GET",
        "/session/{id}/report",
        "sessionReport",
        "A run as a page for people: the answer beside its sources, what was read, what it has cost.",
        (
            Reply(200, {_HTML: ()}),
            Reply(202, {_JSON: (Accepted,)}, ("Location",)),
            *_errors(_PLAIN_ERRORS),
        ),
        parameters=(_SESSION,),
    ),
    Operation(
        "GET",
        "/session/{id}/rows",
        "sessionRows",
        "The rows of a run with strategy table: a line of JSON each, or CSV; 202 while it goes on.",
        (
            Reply(200, {_LINES: (RowLine,), _CSV: ()}),
            Reply(202, {_JSON: (Accepted,)}, ("Location",)),
            *_errors((*_PLAIN_ERRORS, 409, 422)),
        ),
        parameters=(
            _SESSION,
            Parameter("query", "table", "the table's name, where the run has several"),
            Parameter("query", "format", "ndjson, or csv"),
        ),
    ),
    Operation(
        "DELETE",
        "/session/{id}",
        "deleteSession",
        "Stop a run and delete its journal and its stored context.",
        (Reply(204), *_errors(_PLAIN_ERRORS)),
        parameters=(_SESSION,),
    ),
    Operation(
        "PUT",
        "/contexts",
        "storeContext",
        "Store a text of any length, or documents, one a line; POST /rlm takes its contextId.",
        (Reply(201, {_JSON: (StoredContext,)}), *_errors(_BODY_ERRORS)),
        {"text/plain": (), _LINES: (DocumentLine,)},
        (Parameter("query", "name", "the document's name"),),
        access="paid",
    ),
    Operation(
        "DELETE",
        "/contexts/{id}",
        "deleteContext",
        "Delete a stored context that no running session reads.",
        (Reply(204), *_errors((*_PLAIN_ERRORS, 409))),
        parameters=(_CONTEXT,),
        access="paid",
    ),
    Operation(
        "POST",
        "/rlm/batch",
        "submitBatch",
        "Ask up to 10,000 questions: a JSON array of bodies of POST /rlm, or one such body a line.",
        (Reply(202, {_JSON: (BatchAccepted,)}, ("Location",)), *_errors((*_BODY_ERRORS, 409))),
        {_JSON: (BatchBody,), _LINES: (RunRequest,)},
        (_KEY,),
        access="paid",
    ),
    Operation(
        "GET",
        "/rlm/batch/{id}",
        "batchStatus",
        "How far a batch is and what it has cost.",
        (Reply(200, {_JSON: (BatchState,)}), *_errors(_PLAIN_ERRORS)),
        parameters=(_BATCH,),
    ),
    Operation(
        "GET",
        "/rlm/batch/{id}/results",
        "batchResults",
        "A line of JSON for each item, in the order of the input.",
        (Reply(200, {_LINES: (BatchLine,)}), *_errors(_PLAIN_ERRORS)),
        parameters=(_BATCH,),
    ),
    Operation(
        "DELETE",
        "/rlm/batch/{id}",
        "deleteBatch",
        "Stop a batch and delete it, with the sessions of its items.",
        (Reply(204), *_errors(_PLAIN_ERRORS)),
        parameters=(_BATCH,),
    ),
    Operation(
        "POST",
        "/v1/chat/completions",
        "chatCompletion",
        "OpenAI's chat completion: the last message is the query, all before it the context.",
        (
            Reply(200, {_JSON: (ChatCompletion,), _EVENTS: (ChatCompletionChunk,)}),
            *_openai_errors((400, 401, 404, 409, 413, 415, 429, 500, 502, 503)),
        ),
        {_JSON: (ChatRequest,)},
        (_KEY,),
        access="paid",
    ),
    Operation(
        "POST",
        "/v1/messages",
        "createMessage",
        "Anthropic's message: the last text is the query, documents and what was said before the context.",
        (
            Reply(200, {_JSON: (AnsweredMessage,), _EVENTS: (MessagesEvent,)}),
            *_errors((400, 401, 404, 409, 413, 415, 429, 500, 502, 503), AnthropicError),
        ),
        {_JSON: (MessagesRequest,)},
        (_KEY,),
        access="paid",
    ),
    Operation(
        "POST",
        "/v1/messages/count_tokens",
        "countTokens",
        "About how many tokens a message has.",
        (Reply(200, {_JSON: (CountedTokens,)}), *_errors((400, 401, 413, 415, 500, 503), AnthropicError)),
        {_JSON: (CountRequest,)},
    ),
    Operation(
        "GET",
        "/v1/models",
        "listModels",
        "The models, with windows and prices.",
        (Reply(200, {_JSON: (ModelList,)}), *_openai_errors((401, 500, 503))),
    ),
    Operation(
        "GET",
        "/v1/models/{id}",
        "getModel",
        "One model, by anything that may stand as `model` in a chat completion.",
        (Reply(200, {_JSON: (ModelEntry,)}), *_openai_errors((401, 404, 500, 503))),
        parameters=(_MODEL,),
    ),
    Operation(
        "GET",
        "/health",
        "health",
        "Whether the Worker is well; `deep=1` exercises each binding.",
        (Reply(200, {_JSON: (Health,)}), *_errors((401, 429, 500)), Reply(503, {_JSON: (Health, ErrorAnswer)})),
        parameters=(Parameter("query", "deep", "1 to use every binding once"),),
        access="open",
    ),
    Operation(
        "GET",
        "/admin/keys",
        "listKeys",
        "The keys that the deployment keeps, and what was spent today.",
        (Reply(200, {_JSON: (KeyListing,)}), *_errors(_ADMIN_ERRORS)),
        access="admin",
    ),
    Operation(
        "POST",
        "/admin/keys",
        "addKey",
        "Admit a key by its digest, beside those that its name has where it rotates.",
        (Reply(201, {_JSON: (KeyEntry,)}), *_errors((*_ADMIN_ERRORS, 400, 409, 413, 415, 422))),
        {_JSON: (NewKey,)},
        access="admin",
    ),
    Operation(
        "DELETE",
        "/admin/keys/{id}",
        "revokeKey",
        "End a key.",
        (Reply(200, {_JSON: (KeyEntry,)}), *_errors((*_ADMIN_ERRORS, 404, 409))),
        parameters=(_DIGEST,),
        access="admin",
    ),
    Operation(
        "PUT",
        "/admin/budgets/{id}",
        "setBudget",
        "What the keys of a name may spend in a day.",
        (Reply(200, {_JSON: (KeyBudget,)}), *_errors((*_ADMIN_ERRORS, 400, 413, 415, 422))),
        {_JSON: (Budget,)},
        parameters=(_NAME,),
        access="admin",
    ),
    Operation("GET", "/openapi.json", "openapi", "This document.", (Reply(200, {_JSON: ()}),), access="open"),
)

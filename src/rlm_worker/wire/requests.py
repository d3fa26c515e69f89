"""The requests that the Worker takes, validated with the path of each field that is refused."""

from __future__ import annotations

from typing import Annotated

from pydantic import Discriminator, Field, Tag, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from rlm_worker.errors import FieldProblem, InvalidRequest, MalformedBody
from rlm_worker.messages import Effort
from rlm_worker.ports import JudgeName

from .base import Wire
from .routing import TAGS, RoutingChoice
from .strategies import StrategyName
from .tables import TableOptions

# No chunk has more characters than this: 256,000 tokens at four a token. Beyond, models lose what stands in between.
MAX_CHUNK_SIZE = 1_024_000
MAX_QUERY_CHARACTERS = 16_000
MAX_NAME_CHARACTERS = 1_024
MAX_OUTPUT_TOKENS = 32_000

# Tags of unions show up in pydantic's error paths; callers never wrote them.
_UNION_TAGS = frozenset({"<text>", "<list>", "<document>"}) | TAGS


class Document(Wire):
    """One named text of a context."""

    name: Annotated[str, Field(max_length=MAX_NAME_CHARACTERS)]
    text: str


def _form(value: object) -> str:
    if isinstance(value, str):
        return "<text>"
    return "<list>" if isinstance(value, list) else "<document>"


ContextItem = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[Document, Tag("<document>")],
    Discriminator(
        _form,
        custom_error_type="context_item",
        custom_error_message='must be a string or {"name", "text"}',
    ),
]
Context = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[list[ContextItem], Tag("<list>")],
    Discriminator(
        _form,
        custom_error_type="context",
        custom_error_message='must be a string, a list of strings, or a list of {"name", "text"}',
    ),
]


class RunConfig(Wire):
    """How to run; what is absent takes the deployment's default."""

    strategy: StrategyName = "auto"
    root_model: Annotated[str, Field(max_length=200)] = "llama-3.1-70b"
    sub_model: Annotated[str, Field(max_length=200)] = "llama-3.1-8b"
    max_iterations: Annotated[int, Field(ge=1, le=1_000)] = 20
    max_sub_calls: Annotated[int, Field(ge=1, le=9_000)] = 100
    max_depth: Annotated[int, Field(ge=0, le=5)] = 1
    chunk_size: Annotated[int, Field(ge=1, le=MAX_CHUNK_SIZE)] = 50_000
    chunk_overlap: Annotated[int, Field(ge=0, le=10_000)] = 0
    use_cache: bool = True
    max_cost_usd: Annotated[float, Field(gt=0, le=10_000)] | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] | None = None
    temperature: Annotated[float, Field(ge=0, le=5)] = 0.0
    max_output_tokens: Annotated[int, Field(ge=1, le=MAX_OUTPUT_TOKENS)] | None = None
    reasoning_effort: Effort | None = None
    cell_timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 30.0
    max_output_characters: Annotated[int, Field(ge=200, le=200_000)] = 8_000
    routing: RoutingChoice | None = None
    relevance: JudgeName | None = None


class RunRequest(Wire):
    """The body of `POST /rlm`: a context, the id of a stored one, or a session to follow; a query, and how to run.

    A follow-up is about the context of `previousSessionId`, with its questions and answers before it; where its config
    is silent, that session's config holds. `instructions` say how to answer (language, form, tone); they are no part of
    what is read. With a `responseSchema` (JSON Schema 2020-12) the answer is JSON that fits it, or the run ends with
    `answer_invalid`. Only where `table` names a schema may there be no query: then the rows themselves are wanted.
    """

    context: Context | None = None
    context_id: Annotated[str, Field(pattern=r"^ctx_[0-9a-f]{32}$")] | None = None
    previous_session_id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    table: TableOptions | None = None
    query: Annotated[str, Field(min_length=1, max_length=MAX_QUERY_CHARACTERS)] | None = Field(
        default=None, validate_default=True
    )
    config: RunConfig = Field(default_factory=RunConfig)
    response_schema: dict[str, object] | None = None
    instructions: Annotated[str, Field(min_length=1, max_length=MAX_QUERY_CHARACTERS)] | None = None
    stream: bool = False
    background: bool = False
    cancel_on_disconnect: bool = False

    @field_validator("query")
    @classmethod
    def _question(cls, query: str | None, info: ValidationInfo) -> str | None:
        table = info.data.get("table")
        if query is None and (table is None or table.definition is None):
            raise PydanticCustomError("missing", "Field required")
        return query

    @model_validator(mode="after")
    def _one_context(self) -> RunRequest:
        if sum(given is not None for given in (self.context, self.context_id, self.previous_session_id)) != 1:
            raise ValueError("give exactly one of context, contextId and previousSessionId")
        return self

    @model_validator(mode="after")
    def _one_strategy(self) -> RunRequest:
        if self.table is not None and self.config.strategy not in ("auto", "table"):
            raise ValueError("table needs config.strategy table, or auto, which then is table")
        return self


class RoutingQuestion(Wire):
    """The body of `POST /rlm/routing`: a query, the length of its context in characters, and how it would be run."""

    query: Annotated[str, Field(min_length=1, max_length=MAX_QUERY_CHARACTERS)]
    characters: Annotated[int, Field(ge=0, le=10_000_000_000)]
    config: RunConfig = Field(default_factory=RunConfig)


def parse_request(body: bytes | bytearray | str, defaults: RunConfig | None = None) -> RunRequest:
    """Validates a body; raises `InvalidRequest` with the path of each field that was refused.

    `defaults` are the deployment's: they stand wherever the caller's config is silent, but that of a follow-up, which
    takes those values from the session that it follows.
    """
    try:
        request = RunRequest.model_validate_json(body)
    except ValidationError as error:
        raise refusal(error) from None
    if request.previous_session_id is not None:
        return request
    return request.model_copy(update={"config": with_defaults(request.config, defaults)})


def with_defaults(config: RunConfig, defaults: RunConfig | None) -> RunConfig:
    """A caller's config, the deployment's values wherever it is silent: set is still what the caller has named."""
    if defaults is None:
        return config
    chosen = {name: getattr(config, name) for name in config.model_fields_set}
    return RunConfig.model_construct(set(chosen), **{**dict(defaults), **chosen})


def refusal(error: ValidationError) -> MalformedBody | InvalidRequest:
    """The error that a body deserves which pydantic refused: it was no JSON, or JSON of another form."""
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return MalformedBody(first["msg"])
    return InvalidRequest(field_problems(error))


def field_problems(error: ValidationError) -> list[FieldProblem]:
    """What pydantic refused, by the paths that the caller wrote."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return [FieldProblem(_path(detail["loc"]), _sentence(detail["msg"])) for detail in details[:20]]


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location if part not in _UNION_TAGS)


def _sentence(message: str) -> str:
    return message.removeprefix("Value error, ")

"""The wire: requests, results and events, camelCase outside and snake_case inside."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from .catalog import Catalog
from .errors import FieldProblem, InvalidRequest, MalformedBody, RateLimited, RLMError

StrategyName = Literal["auto", "direct", "map_reduce", "repl"]
SessionStatus = Literal["running", "completed", "failed", "cancelled"]

# No model reads more characters at once than this: the widest window at four characters a token.
MAX_CHUNK_SIZE = Catalog.standard().widest_window * 4
MAX_QUERY_CHARACTERS = 16_000
MAX_NAME_CHARACTERS = 1_024
MAX_OUTPUT_TOKENS = 32_000

# Tags of unions show up in pydantic's error paths; callers never wrote them.
_UNION_TAGS = frozenset({"<text>", "<list>", "<document>"})


class Wire(BaseModel):
    """Strict, closed and camelCase on the wire; Python names are understood too."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", strict=True, allow_inf_nan=False
    )


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
    cell_timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 30.0
    max_output_characters: Annotated[int, Field(ge=200, le=200_000)] = 8_000


class RunRequest(Wire):
    """The body of `POST /rlm`: a context or the id of a stored one, a query, and how to run."""

    context: Context | None = None
    context_id: Annotated[str, Field(pattern=r"^ctx_[0-9a-f]{32}$")] | None = None
    query: Annotated[str, Field(min_length=1, max_length=MAX_QUERY_CHARACTERS)]
    config: RunConfig = Field(default_factory=RunConfig)
    response_schema: dict[str, object] | None = None
    stream: bool = False
    background: bool = False
    cancel_on_disconnect: bool = False

    @model_validator(mode="after")
    def _one_context(self) -> RunRequest:
        if (self.context is None) == (self.context_id is None):
            raise ValueError("give either context or contextId")
        return self


class ErrorBody(Wire):
    """What went wrong: a stable type, a sentence, and for 422 the fields."""

    type: str
    message: str
    detail: list[dict[str, str]] | None = None
    retry_after: int | None = None

    @classmethod
    def of(cls, error: RLMError) -> ErrorBody:
        """What the wire says of an error; `retryAfter` in seconds where asking again later helps."""
        retry_after = error.retry_after if isinstance(error, RateLimited) else None
        return cls(type=error.type, message=str(error), retry_after=retry_after)


class ModelUsage(Wire):
    """What one model did in a run; `estimated` where it reported no usage for some call."""

    model: str
    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float
    estimated: bool = False


class RunResult(Wire):
    """The result of a run; tokens are what the models reported, cost follows from them and the catalogue's prices."""

    success: bool
    answer: str | None = None
    iterations: int = 0
    sub_calls: int = 0
    cached_sub_calls: int = 0
    total_input_tokens: int = 0
    total_output_tokens: int = 0
    neurons: float = 0.0
    cost_usd: float = 0.0
    estimated: bool = False
    duration_ms: int = 0
    cache_hit: bool = False
    session_id: str = ""
    strategy: str = ""
    root_model: str = ""
    sub_model: str = ""
    models: list[ModelUsage] = Field(default_factory=list)
    chunks: int = 0
    chunk_order: list[int] | None = None
    coverage: float = 0.0
    truncated: bool = False
    warnings: list[str] = Field(default_factory=list)
    error: ErrorBody | None = None

    def to_json(self) -> str:
        """The JSON of the wire; fields that do not apply are left out."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


class SessionState(Wire):
    """Where a session stands, as `GET /session/{id}/status` shows it."""

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


class StoredContext(Wire):
    """The answer to `PUT /contexts`."""

    context_id: str
    characters: int
    bytes: int
    sha256: str


def parse_request(body: bytes | str, defaults: RunConfig | None = None) -> RunRequest:
    """Validates a body; raises `InvalidRequest` with the path of each field that was refused.

    `defaults` are the deployment's: they stand wherever the caller's config is silent.
    """
    try:
        request = RunRequest.model_validate_json(body)
    except ValidationError as error:
        raise refusal(error) from None
    return request.model_copy(update={"config": with_defaults(request.config, defaults)})


def with_defaults(config: RunConfig, defaults: RunConfig | None) -> RunConfig:
    """A caller's config, the deployment's values wherever it is silent."""
    if defaults is None:
        return config
    chosen = {name: getattr(config, name) for name in config.model_fields_set}
    return defaults.model_copy(update=chosen)


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

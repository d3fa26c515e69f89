"""OpenAI's wire: chat completions as its clients send and read them.

Form after OpenAI's API reference (chat completions, models). What would change the answer and cannot be done here is
refused; what only tunes it (`top_p`, `seed`, `user`, …) is read and has no effect.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    ValidationError,
)

from rlm_worker.errors import InvalidRequest
from rlm_worker.messages import Effort, JsonMode, Reasoning
from rlm_worker.wire.requests import RunConfig, refusal
from rlm_worker.wire.results import Citation

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]
FinishReason = Literal["stop", "length"]


class _Chat(BaseModel):
    """Strict and closed: an argument that nobody knows is refused, as OpenAI does."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def _text_type(value: object) -> object:
    if value not in ("text", "input_text", "output_text", "refusal"):
        raise ValueError(f"only text can be read, not {str(value)[:50]}")
    return value


class TextPart(_Chat):
    """One part of a message that is made of parts; only text can be read."""

    model_config = ConfigDict(extra="ignore", strict=True)

    type: Annotated[Literal["text", "input_text", "output_text", "refusal"], BeforeValidator(_text_type)]
    text: str | None = None
    refusal: str | None = None

    @property
    def content(self) -> str:
        return self.text or self.refusal or ""


def _form(value: object) -> str:
    return "<text>" if isinstance(value, str) else "<list>"


Content = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[list[TextPart], Tag("<list>")],
    Discriminator(_form),
]


class ChatMessage(_Chat):
    """One message; calls of tools in it belong to the past and are passed over."""

    model_config = ConfigDict(extra="ignore", strict=True)

    role: Role
    content: Content | None = None
    name: Annotated[str, Field(max_length=200)] | None = None

    def texts(self) -> list[str]:
        """The message's texts, those without a letter left out."""
        parts = [self.content] if isinstance(self.content, str) else [part.content for part in self.content or []]
        return [part for part in parts if part.strip()]


class StreamOptions(_Chat):
    """What a stream brings beside the answer."""

    include_usage: bool = False
    include_obfuscation: bool = False


class JsonSchemaFormat(_Chat):
    """The schema of an answer; it is held to whatever `strict` says."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    schema_: Annotated[dict[str, object], Field(alias="schema")]
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(_Chat):
    """The form of the answer: text, any JSON object, or JSON that fits a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaFormat | None = None

    def schema_of_answer(self) -> dict[str, object] | None:
        """The schema that the answer is held to; None for text."""
        if self.type == "json_object":
            return {"type": "object"}
        return self.json_schema.schema_ if self.type == "json_schema" and self.json_schema else None


class ChatRequest(_Chat):
    """The body of `POST /v1/chat/completions`; `rlm` takes the config of `POST /rlm` beside OpenAI's own fields."""

    model: Annotated[str, Field(max_length=500)] = "rlm"
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: Effort | None = None
    n: int = 1
    modalities: list[str] | None = None
    rlm: RunConfig | None = None

    # Read, and without effect.
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logprobs: bool | None = None
    seed: int | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    service_tier: str | None = None
    store: bool | None = None
    metadata: dict[str, str] | None = None
    verbosity: str | None = None
    prediction: dict[str, object] | None = None
    parallel_tool_calls: bool | None = None
    tool_choice: object = None
    tools: list[object] | None = None
    functions: list[object] | None = None
    function_call: object = None
    stop: str | list[str] | None = None
    logit_bias: dict[str, float] | None = None
    top_logprobs: int | None = None
    audio: object = None
    web_search_options: object = None


class PromptDetails(BaseModel):
    """Which of the prompts' tokens came from a prefix cache."""

    cached_tokens: int


class CompletionDetails(BaseModel):
    """Which of the answers' tokens were thought and not said."""

    reasoning_tokens: int


class Usage(BaseModel):
    """Tokens of the whole run, every call to every model counted."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails


class RunNumbers(BaseModel):
    """What OpenAI's form has no field for, named as in the result of `POST /rlm`."""

    model_config = ConfigDict(extra="allow")


class UrlCitation(BaseModel):
    """A part of the answer and what it rests on; `url` names session, document and characters (RFC 5147)."""

    start_index: int
    end_index: int
    title: str
    url: str


class Annotation(BaseModel):
    """A citation in OpenAI's form, and beside it in ours: the place in the document."""

    type: Literal["url_citation"] = "url_citation"
    url_citation: UrlCitation
    char_location: Annotated[Citation, PlainSerializer(Citation.to_wire)]


class AnswerMessage(BaseModel):
    """The answer, and the places that it rests on."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None
    annotations: list[Annotation] = Field(default_factory=list)


class Choice(BaseModel):
    """The one choice of a completion."""

    index: Literal[0] = 0
    message: AnswerMessage
    finish_reason: FinishReason
    logprobs: None = None


class ChatCompletion(BaseModel):
    """The answer to a chat completion that does not stream."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    system_fingerprint: str
    rlm: RunNumbers


class Delta(BaseModel):
    """A further piece of the answer; the last one has its citations."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    annotations: list[Annotation] | None = None


class ChunkChoice(BaseModel):
    """The one choice of a chunk."""

    index: Literal[0] = 0
    delta: Delta
    finish_reason: FinishReason | None = None
    logprobs: None = None


class ChatCompletionChunk(BaseModel):
    """One event of a chat completion that streams; the one with `usage` has no choices."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None
    system_fingerprint: str
    rlm: RunNumbers | None = None


class PriceTier(BaseModel):
    """The prices of prompts with more than `above` tokens."""

    above: int
    inputPrice: float  # noqa: N815 - the wire's name, beside OpenAI's own snake_case
    outputPrice: float  # noqa: N815
    cachedPrice: float  # noqa: N815
    writePrice: float  # noqa: N815


class ModelEntry(BaseModel):
    """A model: `window` in tokens, prices in US dollars per million tokens as read on `dated` in `source`.

    `cachedPrice` and `writePrice` are those of a prefix cache, where any are published. `reasoning`: it thinks when
    `asked`, unless told not to (`switchable`), or always (`mandatory`). `unavailable` says why it cannot be asked here.
    """

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    window: int
    inputPrice: float  # noqa: N815 - the wire's name, beside OpenAI's own snake_case
    outputPrice: float  # noqa: N815
    aliases: list[str]
    dated: str
    source: str
    provider: str
    windowPublished: bool  # noqa: N815
    cachedPrice: float | None  # noqa: N815
    writePrice: float | None  # noqa: N815
    tiers: list[PriceTier]
    paidOnly: bool  # noqa: N815
    reasoning: Reasoning
    efforts: list[Effort]
    jsonMode: JsonMode  # noqa: N815
    unavailable: str | None


class ModelList(BaseModel):
    """The models of a deployment."""

    object: Literal["list"] = "list"
    data: list[ModelEntry]


class OpenAIErrorBody(BaseModel):
    """What went wrong, in OpenAI's words: `code` is this Worker's own stable type, `param` the field."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class OpenAIError(BaseModel):
    """The error form of every route under /v1."""

    error: OpenAIErrorBody


_UNSUPPORTED = {
    "tools": "tools are not supported",
    "functions": "functions are not supported",
    "audio": "audio is not supported",
    "logprobs": "log probabilities are not supported",
    "top_logprobs": "log probabilities are not supported",
    "stop": "stop sequences are not supported",
    "logit_bias": "logit_bias is not supported",
    "web_search_options": "web search is not supported",
}


def parse_chat(body: bytes | bytearray) -> ChatRequest:
    """Validates a body; raises `InvalidRequest` with the path of each field that was refused."""
    try:
        request = ChatRequest.model_validate_json(body)
    except ValidationError as error:
        raise refusal(error) from None
    _check_supported(request)
    return request


def _check_supported(request: ChatRequest) -> None:
    for name, sentence in _UNSUPPORTED.items():
        if getattr(request, name):
            raise InvalidRequest.at(name, sentence)
    if request.n != 1:
        raise InvalidRequest.at("n", "only one choice can be made")
    if set(request.modalities or ["text"]) != {"text"}:
        raise InvalidRequest.at("modalities", "only text is supported")
    wanted = request.response_format
    if wanted is not None and wanted.type == "json_schema" and wanted.json_schema is None:
        raise InvalidRequest.at("response_format.json_schema", "is missing")

"""Anthropic's wire: messages as its clients send and read them.

Form after Anthropic's API reference (Messages, Count tokens, Citations). What would change the answer and cannot be
done here is refused with what serves instead; what only tunes it (`top_k`, `top_p`, `metadata`, …) has no effect.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, ValidationError

from rlm_worker.errors import InvalidRequest
from rlm_worker.messages import Effort
from rlm_worker.wire.requests import MAX_NAME_CHARACTERS, RunConfig, refusal

StopReason = Literal["end_turn", "max_tokens"]
_PAST = frozenset({"thinking", "redacted_thinking", "tool_use", "server_tool_use"})


class _Sent(BaseModel):
    """Strict and closed: an argument that nobody knows is refused, as Anthropic does."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _Block(BaseModel):
    """One block of content; what says how a prompt is to be cached has no effect here."""

    model_config = ConfigDict(extra="ignore", strict=True)


class TextBlock(_Block):
    """A text."""

    type: Literal["text"]
    text: str


class PlainSource(_Block):
    """A document's text."""

    type: Literal["text"]
    media_type: Literal["text/plain"] = "text/plain"
    data: str


class ContentSource(_Block):
    """A document that is made of texts."""

    type: Literal["content"]
    content: str | list[TextBlock]


def _source_form(value: object) -> str:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return "<blocks>" if kind == "content" else "<plain>"


Source = Annotated[
    Annotated[PlainSource, Tag("<plain>")] | Annotated[ContentSource, Tag("<blocks>")], Discriminator(_source_form)
]


def _readable(value: object) -> object:
    """Refuses by name what is no text: pydantic's own sentence would list every form that a source may have."""
    kind = value.get("type") if isinstance(value, dict) else None
    if kind in ("base64", "url", "file"):
        raise ValueError(f"only text can be read, not {kind}: send the document's text, as source.type text")
    return value


class CitationsWanted(_Block):
    """Whether a document may be cited."""

    enabled: bool = False


class DocumentBlock(_Block):
    """A document to be read; `context` is said beside it and is not cited."""

    type: Literal["document"]
    source: Annotated[Source, BeforeValidator(_readable)]
    title: Annotated[str, Field(max_length=MAX_NAME_CHARACTERS)] | None = None
    context: str | None = None
    citations: CitationsWanted | None = None

    @property
    def text(self) -> str:
        if isinstance(self.source, PlainSource):
            return self.source.data
        content = self.source.content
        return content if isinstance(content, str) else "\n\n".join(block.text for block in content)


class SearchResultBlock(_Block):
    """A search's finding, which is read as a document."""

    type: Literal["search_result"]
    source: str
    title: Annotated[str, Field(max_length=MAX_NAME_CHARACTERS)]
    content: list[TextBlock]

    @property
    def text(self) -> str:
        return "\n\n".join(block.text for block in self.content)


class ToolResultBlock(_Block):
    """What a tool of the past has said: a text like others."""

    type: Literal["tool_result"]
    content: str | list[TextBlock] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "\n\n".join(block.text for block in self.content)
        return self.content or ""


class PastBlock(_Block):
    """What a model has thought, or called, before: passed over."""

    type: Literal["thinking", "redacted_thinking", "tool_use", "server_tool_use"]


_KINDS = ("text", "document", "search_result", "tool_result")


def _block_form(value: object) -> str:
    kind = str(value.get("type") if isinstance(value, dict) else getattr(value, "type", None))
    if kind in _PAST:
        return "<past>"
    return kind if kind in _KINDS else "text"


def _known_block(value: object) -> object:
    kind = value.get("type") if isinstance(value, dict) else None
    if isinstance(kind, str) and kind not in (*_KINDS, *_PAST):
        raise ValueError(f"only text can be read, not {kind[:50]}: send its text, as a text or document block")
    return value


AnyBlock = Annotated[
    Annotated[TextBlock, Tag("text")]
    | Annotated[DocumentBlock, Tag("document")]
    | Annotated[SearchResultBlock, Tag("search_result")]
    | Annotated[ToolResultBlock, Tag("tool_result")]
    | Annotated[PastBlock, Tag("<past>")],
    Discriminator(_block_form),
]
Block = Annotated[AnyBlock, BeforeValidator(_known_block)]


def _content_form(value: object) -> str:
    return "<text>" if isinstance(value, str) else "<list>"


Content = Annotated[Annotated[str, Tag("<text>")] | Annotated[list[Block], Tag("<list>")], Discriminator(_content_form)]
SystemContent = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[list[TextBlock], Tag("<list>")], Discriminator(_content_form)
]


class SentMessage(_Sent):
    """One turn of the conversation."""

    role: Literal["user", "assistant", "system"]
    content: Content

    def documents(self) -> list[DocumentBlock]:
        """Its documents, empty ones too: they count where one is cited by its number."""
        return [block for block in self.content if isinstance(block, DocumentBlock)]

    def texts(self) -> list[str]:
        """Its other texts, those without a letter left out."""
        if isinstance(self.content, str):
            return [self.content] if self.content.strip() else []
        texts = [_headed(block) for block in self.content if not isinstance(block, DocumentBlock)]
        return [text for text in texts if text.strip()]


def _headed(block: TextBlock | SearchResultBlock | ToolResultBlock | PastBlock) -> str:
    if isinstance(block, PastBlock):
        return ""
    return f"{block.title} ({block.source})\n{block.text}" if isinstance(block, SearchResultBlock) else block.text


class JsonOutput(_Sent):
    """The schema that an answer has to meet."""

    type: Literal["json_schema"]
    schema_: Annotated[dict[str, object], Field(alias="schema")]


class OutputConfig(_Block):
    """How hard to think, and the form of the answer."""

    effort: Effort | None = None
    format: JsonOutput | None = None


class CountRequest(_Sent):
    """The body of `POST /v1/messages/count_tokens`."""

    model: Annotated[str, Field(max_length=500)] = "rlm"
    messages: Annotated[list[SentMessage], Field(min_length=1)]
    system: SystemContent | None = None
    output_config: OutputConfig | None = None
    cache_control: object = None
    thinking: object = None
    tools: list[object] | None = None
    tool_choice: object = None

    def system_text(self) -> str:
        """What the system says, before the messages and between them; empty where it says nothing."""
        first = [block.text for block in self.system] if isinstance(self.system, list) else [self.system or ""]
        between = [text for message in self.messages if message.role == "system" for text in message.texts()]
        return "\n\n".join(text for text in (*first, *between) if text.strip())


class MessagesRequest(CountRequest):
    """The body of `POST /v1/messages`; `rlm` takes the config of `POST /rlm` beside Anthropic's own fields."""

    max_tokens: Annotated[int, Field(ge=1)]
    stream: bool = False
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    stop_sequences: list[str] | None = None
    rlm: RunConfig | None = None

    # Read, and without effect.
    top_p: float | None = None
    top_k: int | None = None
    metadata: dict[str, object] | None = None
    service_tier: str | None = None
    inference_geo: str | None = None


class CharLocation(BaseModel):
    """A place in a document of the request: characters, end exclusive."""

    type: Literal["char_location"] = "char_location"
    cited_text: str
    document_index: int
    document_title: str | None
    start_char_index: int
    end_char_index: int
    file_id: None = None


class AnswerBlock(BaseModel):
    """A part of the answer, and the places that it rests on; null where no document may be cited."""

    type: Literal["text"] = "text"
    text: str
    citations: list[CharLocation] | None = None


class OutputDetails(BaseModel):
    """Which of the answers' tokens were thought and not said."""

    thinking_tokens: int


class MessageUsage(BaseModel):
    """Tokens of the whole run, every call to every model counted; `input_tokens` without those that were cached."""

    input_tokens: int
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int
    output_tokens: int
    output_tokens_details: OutputDetails
    service_tier: Literal["standard"] = "standard"


class MessageNumbers(BaseModel):
    """What Anthropic's form has no field for, named as in the result of `POST /rlm`."""

    model_config = ConfigDict(extra="allow")


class AnsweredMessage(BaseModel):
    """The answer to a message that does not stream."""

    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    model: str
    content: list[AnswerBlock]
    stop_reason: StopReason | None
    stop_sequence: None = None
    usage: MessageUsage
    rlm: MessageNumbers | None = None


class CountedTokens(BaseModel):
    """How many tokens a request has; an estimate, as `estimated` says, since models differ."""

    input_tokens: int
    estimated: Literal[True] = True


class MessagesEvent(BaseModel):
    """One event of a message that streams."""

    model_config = ConfigDict(extra="allow")

    type: str


class AnthropicErrorBody(BaseModel):
    """What went wrong, in Anthropic's words; `code` is this Worker's own stable type."""

    type: str
    message: str
    code: str


class AnthropicError(BaseModel):
    """The error form of every route under /v1/messages."""

    type: Literal["error"] = "error"
    error: AnthropicErrorBody


RequestT = TypeVar("RequestT", bound=CountRequest)

_UNSUPPORTED = {
    "tools": "tools are not supported: put what they would say into the messages",
    "tool_choice": "tools are not supported",
    "stop_sequences": "stop sequences are not supported: say in `system` where to end",
}


def parse_messages(body: bytes | bytearray) -> MessagesRequest:
    """Validates a body; raises `InvalidRequest` with the path of each field that was refused."""
    return _checked(_parsed(MessagesRequest, body))


def parse_count(body: bytes | bytearray) -> CountRequest:
    """The same for a request whose tokens are to be counted."""
    return _checked(_parsed(CountRequest, body))


def _parsed(form: type[RequestT], body: bytes | bytearray) -> RequestT:
    try:
        return form.model_validate_json(body)
    except ValidationError as error:
        raise refusal(error) from None


def _checked(request: RequestT) -> RequestT:
    for name, sentence in _UNSUPPORTED.items():
        if getattr(request, name, None):
            raise InvalidRequest.at(name, sentence)
    last = request.messages[-1]
    if last.role != "user":
        path = f"messages.{len(request.messages) - 1}.role"
        raise InvalidRequest.at(path, "the last message must be the user's: an answer cannot be begun for the model")
    return request

"""What is said to a model and what comes back: requests, replies, usage, and the specification of a model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from .errors import RetryableError, TerminalError

Role = Literal["root", "sub"]
# How a model takes the JSON Schema that holds its answer: as it is, with a name around it, or only in the prompt.
JsonMode = Literal["none", "bare", "named"]
CallKind = Literal["direct", "map", "reduce", "synthesize", "turn", "llm_query", "extract", "compact"]

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class CallUsage:
    """What one call used: tokens as the model reported them, or `estimated`."""

    input_tokens: int
    output_tokens: int
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model: window in tokens (prompt and output together), prices in US dollars and neurons per million tokens.

    `paid_only` models need a paid plan, and take fewer calls a minute.
    """

    id: str
    window: int
    input_price: float
    output_price: float
    input_neurons: float
    output_neurons: float
    fallback: str | None = None
    window_published: bool = True
    paid_only: bool = False
    json_mode: JsonMode = "none"

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        """The price of one call, in US dollars."""
        return (input_tokens * self.input_price + output_tokens * self.output_price) / _MILLION

    def neurons(self, input_tokens: int, output_tokens: int) -> float:
        """The neurons that one call uses up."""
        return (input_tokens * self.input_neurons + output_tokens * self.output_neurons) / _MILLION


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat prompt.

    `digest` stands for the content where whoever wrote it has digested it already: hashing long texts is not cheap.
    """

    role: Literal["system", "user", "assistant"]
    content: str
    digest: str = field(default="", compare=False)

    def fingerprint(self) -> str:
        return self.digest or hashlib.sha256(self.content.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Span:
    """A chunk of the context: its index, its characters and the bytes that hold them, ends exclusive.

    Its prompt repeats the `overlap_bytes` before it.
    """

    index: int
    start: int
    end: int
    byte_start: int
    byte_end: int
    overlap_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One prompt for one model.

    `kind`, `span` and `parent` say what the call is for; they are journalled beside it and never sent. `salt` tells
    apart calls that are alike on purpose. `call` is the key of the call that this is an attempt at: another attempt may
    ask a fallback, or leave room for a longer answer. `attempt` counts those that were made before. With
    `reject_if_busy` a model without room says so at once, instead of letting the request wait.
    """

    model: ModelSpec
    messages: tuple[Message, ...]
    max_output_tokens: int
    temperature: float = 0.0
    role: Role = "sub"
    kind: CallKind = "map"
    span: Span | None = None
    parent: str = ""
    salt: str = ""
    response_schema: Mapping[str, object] | None = None
    call: str = ""
    reject_if_busy: bool = False
    attempt: int = 0

    def call_key(self) -> str:
        """The key of the call that this request belongs to."""
        return self.call or self.key()

    def key(self) -> str:
        """Hex SHA-256 of everything that decides the answer."""
        said = [[message.role, message.fingerprint()] for message in self.messages]
        decides = [self.model.id, self.max_output_tokens, self.temperature, self.salt, self.response_schema, said]
        return hashlib.sha256(json.dumps(decides).encode()).hexdigest()

    def characters(self) -> int:
        return sum(len(message.content) for message in self.messages)


@dataclass(frozen=True, slots=True)
class ModelReply:
    """What a model answered; `model` is the id of the one that really ran, `usage` None where it reported none.

    `finish_reason` is OpenAI's (`stop`, `length` …), empty where none was reported. `repeated`: this run has paid for
    it with an equal call.
    """

    text: str
    model: str
    usage: CallUsage | None = None
    finish_reason: str = ""
    repeated: bool = False

    @property
    def is_cut(self) -> bool:
        """Whether the answer ended at the limit on its length."""
        return self.finish_reason == "length"

    def with_finish_reason(self, request: ModelRequest) -> ModelReply:
        """The same, sure to say whether it was cut: one that says nothing and has all the tokens it may have, was."""
        if self.finish_reason or self.usage is None or self.usage.output_tokens < request.max_output_tokens:
            return self
        return replace(self, finish_reason="length")


class UnusableReply(RetryableError):
    """An answer came that cannot be used: empty, broken off, unreadable.

    It is billed all the same: `usage` is what the model reported, None where it did not, `text` what arrived.
    """

    def __init__(self, message: str, code: int = 0, *, usage: CallUsage | None = None, text: str = "") -> None:
        self.usage = usage
        self.text = text
        super().__init__(message, code)


class OutputExhausted(TerminalError):
    """The model used up all tokens that it may write before the first word of an answer; `usage` as it reported it."""

    def __init__(self, message: str, usage: CallUsage | None = None) -> None:
        self.usage = usage
        super().__init__(message)

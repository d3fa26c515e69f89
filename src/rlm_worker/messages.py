"""What is said to a model and what comes back: requests, replies, usage, and the specification of a model."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from .errors import RetryableError, SchemaRefused, TerminalError, Work

Role = Literal["root", "sub", "judge"]
# What a model does: answers prompts, or judges how much texts have to do with a query: by reading both together, by
# vectors, or by answering questions about a text.
Task = Literal["chat", "rerank", "embed", "decide"]
# Whether a model thinks before it answers: never, when asked to, unless told not to, always.
Reasoning = Literal["", "asked", "switchable", "mandatory"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
EFFORTS: tuple[Effort, ...] = get_args(Effort)
# How a model takes the JSON Schema that holds its answer: as it is, with a name around it, or only in the prompt.
JsonMode = Literal["none", "bare", "named"]
TableCall = Literal["schema", "rows", "query", "prose"]
RunCall = Literal["direct", "map", "reduce", "synthesize", "turn", "llm_query", "extract", "compact"]
CallKind = RunCall | TableCall | Literal["mend", "rewrite", "task", "judge"]

# Models of a server on this machine, by whatever name it has for them.
LOCAL_PREFIX = "local/"
_MILLION = 1_000_000
# Workers AI sells a thousand neurons for 1.1 cents.
_USD_PER_NEURON = 0.011 / 1000
_DIRECT = re.compile(r"^([a-z0-9][a-z0-9_-]*):.")


@dataclass(frozen=True, slots=True)
class CallUsage:
    """What one call used: tokens as the model reported them, or `estimated`.

    `cached_tokens` of the input were read from a prefix cache and `written_tokens` of it put there; `reasoning_tokens`
    of the output were thought and not said. `billed_usd` is what the provider itself says that it charges.
    """

    input_tokens: int
    output_tokens: int
    estimated: bool = False
    cached_tokens: int = 0
    written_tokens: int = 0
    reasoning_tokens: int = 0
    billed_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars per million tokens: read, written, read from a prefix cache, put into one.

    They hold for calls whose prompt has more than `above` tokens.
    """

    input: float
    output: float
    cached: float
    write: float
    above: int = 0


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model: window in tokens (prompt and output together), prices in US dollars and neurons per million tokens.

    Neurons that are not given follow from the price, on Workers AI. `cached_price` and `write_price` are those of a
    prefix cache, the input's where none is published; `tiers` are the prices of longer prompts. `efforts` are those
    that the model takes, in their order; `thinking_switch`: its chat template can leave the thinking out. One that
    thinks needs `output_floor` tokens to come to an answer. `sampling`: it takes a temperature. `json_mode` is the form
    in which it takes a schema. `dated` and `source` say when and where the figures were read.
    `paid_only` models need a paid plan, and take fewer calls a minute. One whose `task` is not `chat` is a judge, and
    answers no prompt.
    """

    id: str
    window: int
    input_price: float
    output_price: float
    input_neurons: float | None = None
    output_neurons: float | None = None
    fallback: str | None = None
    window_published: bool = True
    cached_price: float | None = None
    write_price: float | None = None
    tiers: tuple[Prices, ...] = ()
    paid_only: bool = False
    reasoning: Reasoning = ""
    efforts: tuple[Effort, ...] = ()
    thinking_switch: bool = False
    output_floor: int = 0
    sampling: bool = True
    json_mode: JsonMode = "none"
    dated: str = ""
    source: str = ""
    task: Task = "chat"

    @property
    def provider(self) -> str:
        """Who serves it: `workers-ai`, the vendor behind the gateway (`anthropic/…`), or a provider (`name:…`)."""
        direct = direct_provider(self.id)
        return direct or ("workers-ai" if self.id.startswith("@") else self.id.partition("/")[0])

    @property
    def vendor_needs_gateway(self) -> bool:
        """Whether it is a third party's, which the binding AI reaches through a gateway only."""
        return not self.id.startswith(("@", LOCAL_PREFIX)) and not direct_provider(self.id) and "/" in self.id

    @property
    def own_name(self) -> str:
        """What the provider calls it."""
        return self.id.partition(":")[2] if direct_provider(self.id) else self.id

    def prices(self, input_tokens: int) -> Prices:
        """What holds for a prompt of that many tokens."""
        cached = self.input_price if self.cached_price is None else self.cached_price
        write = self.input_price if self.write_price is None else self.write_price
        found = Prices(self.input_price, self.output_price, cached, write)
        for tier in self.tiers:
            if input_tokens > tier.above >= found.above:
                found = tier
        return found

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        """The most that a call of so many tokens may cost, in US dollars: nothing comes from a cache."""
        prices = self.prices(input_tokens)
        return (input_tokens * max(prices.input, prices.write) + output_tokens * prices.output) / _MILLION

    def bill(self, usage: CallUsage) -> float:
        """What a call has cost, in US dollars: as the provider says, else by the prices."""
        if usage.billed_usd is not None:
            return usage.billed_usd
        prices = self.prices(usage.input_tokens)
        plain = max(0, usage.input_tokens - usage.cached_tokens - usage.written_tokens)
        read = plain * prices.input + usage.cached_tokens * prices.cached + usage.written_tokens * prices.write
        return (read + usage.output_tokens * prices.output) / _MILLION

    def neurons(self, input_tokens: int, output_tokens: int) -> float:
        """The neurons that one call uses up; only Workers AI's own models use any."""
        read = self._neurons(self.input_neurons, self.input_price)
        written = self._neurons(self.output_neurons, self.output_price)
        return (input_tokens * read + output_tokens * written) / _MILLION

    def _neurons(self, given: float | None, price: float) -> float:
        if given is not None:
            return given
        return price / _USD_PER_NEURON if self.id.startswith("@") else 0.0

    def thinks(self, effort: Effort | None) -> bool:
        """Whether it thinks before it answers, asked for that effort or for none in particular."""
        if self.reasoning == "asked":
            return effort not in (None, "none")
        return self.reasoning == "mandatory" or (self.reasoning == "switchable" and effort != "none")

    def least_output(self, effort: Effort | None) -> int:
        """Fewer tokens than these are used up by thinking; 0 where there is none."""
        return self.output_floor // 4 if self.thinks(effort) else 0

    def effort(self, wanted: Effort) -> Effort:
        """What it takes that is nearest; a model that must think cannot be told not to."""
        if wanted == "none" and self.reasoning != "mandatory":
            return "none"
        rank = EFFORTS.index(wanted)
        known = [effort for effort in self.efforts if effort != "none"]
        return min(known, key=lambda effort: abs(EFFORTS.index(effort) - rank), default=wanted)


def direct_provider(model_id: str) -> str:
    """The provider that an id such as `anthropic:claude-haiku-4-5` names; empty for what the binding AI serves."""
    match = _DIRECT.match(model_id)
    return match[1] if match else ""


@dataclass(frozen=True, slots=True)
class Prefix:
    """What a prompt begins with whatever is asked about a text: all that comes before it, and so many characters.

    `key` names it, the same for every question of one owner; it is a digest, and tells nothing of text or owner.
    """

    characters: int
    key: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat prompt.

    `digest` stands for the content where whoever wrote it has digested it already: hashing long texts is not cheap.
    """

    role: Literal["system", "user", "assistant"]
    content: str
    digest: str = field(default="", compare=False)
    prefix: Prefix | None = field(default=None, compare=False)

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
    `reject_if_busy` a model without room says so at once, instead of letting the request wait. `effort` is how much a
    model that thinks is to think. `cache_key` asks a provider to keep what the prompt begins with for the next one with
    that key, and to send both to the same place; empty where nothing need be kept. `texts` are what a judge is asked
    about; its `messages` are the query and what names the texts, which is what is journalled.
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
    effort: Effort | None = None
    attempt: int = 0
    cache_key: str = ""
    texts: tuple[str, ...] = ()

    def call_key(self) -> str:
        """The key of the call that this request belongs to."""
        return self.call or self.key()

    def key(self) -> str:
        """Hex SHA-256 of everything that decides the answer."""
        said = [[message.role, message.fingerprint()] for message in self.messages]
        decides = [self.model.id, self.max_output_tokens, self.temperature, self.salt, self.response_schema, said]
        if self.effort is not None:  # what was asked before there were efforts keeps its name
            decides.append(self.effort)
        if self.texts:
            decides.append([hashlib.sha256(text.encode()).hexdigest() for text in self.texts])
        return hashlib.sha256(json.dumps(decides).encode()).hexdigest()

    def characters(self) -> int:
        return sum(len(message.content) for message in self.messages) + sum(map(len, self.texts))


@dataclass(frozen=True, slots=True)
class ModelReply:
    """What a model answered; `model` is the id of the one that really ran, `usage` None where it reported none.

    `finish_reason` is OpenAI's (`stop`, `length` …), empty where none was reported. `repeated`: this run has paid for
    it with an equal call. `passed_over` are the ids of those that were asked before, or would have been; nobody knows
    them of a reply that was `recalled` from the journal.
    """

    text: str
    model: str
    usage: CallUsage | None = None
    finish_reason: str = ""
    repeated: bool = False
    passed_over: tuple[str, ...] = ()
    recalled: bool = False

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


class Declined(TerminalError):
    """The model, or its provider's filter, refused to answer this prompt; billed at `usage` where that is known."""

    work: Work = "read"

    def __init__(self, message: str, usage: CallUsage | None = None) -> None:
        self.usage = usage
        super().__init__(message)


class InexactReply(SchemaRefused):
    """JSON whose numbers have passed through JavaScript, which holds 15 digits: billed at `usage`, asked as text."""

    work: Work = "read"

    def __init__(self, message: str, usage: CallUsage | None = None) -> None:
        self.usage = usage
        super().__init__(message)

"""An answer as it comes, whole or in pieces, and the reply that it makes in the end; the same for every provider."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from rlm_worker.errors import ModelError, RetryableError
from rlm_worker.messages import CallUsage, Declined, ModelReply, ModelRequest, OutputExhausted, UnusableReply
from rlm_worker.ports import DeltaSink

from .thoughts import ThoughtFilter

DECLINED = "content_filter"
# A double holds every decimal of so many digits.
_EXACT_DIGITS = 15


@dataclass(slots=True)
class Answer:
    """What has come of an answer to a request; `model` is the id of who answers.

    `opening` is the usage that some report before they write: what is written counts only when `usage` has come.
    """

    request: ModelRequest
    deltas: DeltaSink | None = None
    usage: CallUsage | None = None
    opening: CallUsage | None = None
    finish_reason: str = ""
    model: str = ""
    whole: bool = False
    _parts: list[str] = field(default_factory=list)
    _thoughts: ThoughtFilter | None = None

    @property
    def text(self) -> str:
        return "".join(self._parts)

    def say(self, piece: str) -> None:
        """Adds what the model says; thoughts among it are dropped."""
        if self._thoughts is None:
            self._thoughts = ThoughtFilter(bool(self.request.model.reasoning))
        spoken = self._thoughts.take(piece)
        if spoken.restart:
            self._restart()
        self._add(spoken.text)

    def reply(self) -> ModelReply:
        """The reply, if it says anything.

        Raises `Declined`, `OutputExhausted` where there was no room to begin, else `UnusableReply`.
        """
        if self._thoughts is not None:
            self._add(self._thoughts.rest())
        model = self.request.model
        reply = ModelReply(self.text, self.model or model.id, self.usage, self.finish_reason)
        reply = reply.with_finish_reason(self.request)
        if self.text.strip():
            return reply
        if self.finish_reason == DECLINED:
            raise Declined(f"{model.id} declined to answer this prompt", self.usage)
        allowed = self.request.max_output_tokens
        if reply.is_cut or (self.usage is not None and self.usage.output_tokens >= allowed):
            message = f"{model.id} used all {allowed} tokens that it may write before it began to answer"
            raise OutputExhausted(f"{message}: raise maxOutputTokens", self.usage)
        raise UnusableReply(f"{model.id} answered with nothing", usage=self.usage)

    def failed(self, error: ModelError) -> ModelError:
        """The error for one that comes in the midst of an answer: what can be asked again has cost what was said."""
        begun = bool(self._parts) or (self.usage or self.opening) is not None
        return self.broken(f": {error}") if begun and isinstance(error, RetryableError) else error

    def broken(self, why: str) -> UnusableReply:
        """The error for an answer that ends before it is whole; what came of it is billed."""
        return UnusableReply(f"{self.request.model.id} broke off its answer{why}", usage=self.usage, text=self.text)

    def _add(self, text: str) -> None:
        if not text:
            return
        self._parts.append(text)
        if self.deltas is not None:
            self.deltas.write(text)

    def _restart(self) -> None:
        if self._parts and self.deltas is not None:
            self.deltas.restart()
        self._parts.clear()


class Shape(Protocol):
    """One way in which providers are asked and answer: its bodies, answers and events, as JSON has them."""

    def body(self, request: ModelRequest, *, stream: bool) -> dict[str, object]: ...

    def take(self, answer: Answer, body: Mapping[str, object]) -> None: ...

    def take_event(self, answer: Answer, event: Mapping[str, object]) -> None: ...

    def error(self, body: Mapping[str, object]) -> ModelError | None: ...


def mapping(value: object) -> Mapping[str, object]:
    """A JSON object; an empty one where something else stands in its place."""
    return value if isinstance(value, Mapping) else {}


def string(value: object) -> str:
    return value if isinstance(value, str) else ""


def count(value: object) -> int | None:
    """A number of tokens; None where none is said."""
    number = amount(value)
    return None if number is None else int(number)


def amount(value: object) -> float | None:
    """A number that is not negative, nor infinite, nor none; None where something else stands in its place."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        return None
    return float(value)


def is_exact(value: object) -> bool:
    """Whether every number of a JSON value has few enough digits to have crossed JavaScript as it was written."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
        elif isinstance(part, int | float) and not isinstance(part, bool) and _digits(part) > _EXACT_DIGITS:
            return False
    return True


def _digits(number: float) -> int:
    """How many digits of a number count."""
    return len(repr(number).partition("e")[0].lstrip("-0.").replace(".", "").rstrip("0"))

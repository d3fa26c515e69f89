"""What a provider's stand-in serves, how it fails on order, and what it has charged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from scripts.local.scripted.calls import ChatCall

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model: window in tokens, US dollars per million tokens; `sampling`: it takes a temperature."""

    window: int = 200_000
    input_price: float = 1.0
    output_price: float = 5.0
    cached_price: float = 0.1
    write_price: float = 1.25
    sampling: bool = True


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a call is charged for: `plain`, `cached` and `written` are parts of the prompt, `thought` of the output."""

    plain: int
    output: int
    cached: int = 0
    written: int = 0
    thought: int = 0

    @property
    def prompt(self) -> int:
        return self.plain + self.cached + self.written

    def usd(self, model: ServedModel) -> float:
        read = self.plain * model.input_price + self.cached * model.cached_price + self.written * model.write_price
        return (read + self.output * model.output_price) / _MILLION


@dataclass(frozen=True, slots=True)
class Charge:
    """One line of the bill."""

    model: str
    tokens: Tokens
    usd: float


@dataclass(frozen=True, slots=True)
class Trouble:
    """A refusal: its HTTP status, and the words that the provider has for it.

    `kind` is Anthropic's type or OpenAI's code. With `late` generation has begun: the status is 200, and the error
    stands in the body, or in an event in the midst of a stream. It strikes `times` calls, those whose prompt holds
    `when` and whose model is `model`, where these are given. `error` adds fields to the error.
    """

    status: int
    kind: str = ""
    message: str = "scripted trouble"
    headers: Mapping[str, str] = field(default_factory=dict)
    times: int | None = None
    when: str = ""
    model: str = ""
    late: bool = False
    error: Mapping[str, object] = field(default_factory=dict)

    def concerns(self, call: ChatCall) -> bool:
        """Whether it may strike that call, apart from `times`."""
        if self.model and self.model != call.model:
            return False
        return not self.when or re.search(self.when, call.text) is not None


class Refused(Exception):
    """The request is refused with that trouble."""

    def __init__(self, trouble: Trouble) -> None:
        self.trouble = trouble
        super().__init__(trouble.message)

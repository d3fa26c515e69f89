"""What the scripted model is asked and what it answers, as values."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

_BYTES_PER_TOKEN = 4
_TOKENS_PER_MESSAGE = 4


@dataclass(frozen=True, slots=True)
class ChatCall:
    """One request: `number` counts from 1 in the order of arrival, `attempt` among those with the same prompt.

    `by_binding`: it came through the AI binding's stand-in.
    """

    number: int
    attempt: int
    model: str
    messages: tuple[tuple[str, object], ...]
    params: Mapping[str, object]
    options: Mapping[str, object]
    digest: str
    by_binding: bool = False

    @property
    def queues(self) -> bool:
        """Whether it waits where there is no room: the binding's requests do, unless they ask not to."""
        return self.by_binding and not self.options.get("rejectIfBusy")

    @property
    def text(self) -> str:
        """All messages, one after the other."""
        return "\n".join(str(content) for _, content in self.messages)

    @property
    def system(self) -> str:
        return "\n".join(str(content) for role, content in self.messages if role == "system")

    @property
    def user(self) -> str:
        """The last message of the user."""
        return next((str(content) for role, content in reversed(self.messages) if role == "user"), "")

    @property
    def streams(self) -> bool:
        return bool(self.params.get("stream"))

    @property
    def prompt_tokens(self) -> int:
        return sum(count_tokens(str(content)) + _TOKENS_PER_MESSAGE for _, content in self.messages)

    @property
    def max_tokens(self) -> int | None:
        wanted = self.params.get("max_tokens", self.params.get("max_completion_tokens"))
        return wanted if isinstance(wanted, int) else None


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: `content` is a string as a rule, anything JSON where a test wants the odd case; `usage` overrides."""

    content: object
    usage: Mapping[str, object] | None = None
    extra: Mapping[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class CallEntry:
    """One line of the log; times are seconds since the epoch, `ended` is None while the call is under way.

    `arrival` counts all calls that the server has ever met, in their order. `queued`: it waits for room.
    """

    call: ChatCall
    started: float
    arrival: int = 0
    ended: float | None = None
    outcome: str = "pending"
    answer: object = None
    queued: bool = False

    def as_json(self, *, with_text: bool) -> dict[str, object]:
        call = self.call
        entry: dict[str, object] = {
            "number": call.number,
            "attempt": call.attempt,
            "model": call.model,
            "digest": call.digest,
            "characters": sum(len(str(content)) for _, content in call.messages),
            "promptTokens": call.prompt_tokens,
            "params": dict(call.params),
            "options": dict(call.options),
            "started": self.started,
            "ended": self.ended,
            "outcome": self.outcome,
            "answer": self.answer,
        }
        if with_text:
            entry["messages"] = [{"role": role, "content": content} for role, content in call.messages]
        return entry


def count_tokens(text: str) -> int:
    """The scripted model's own tokenizer: one token for every four bytes of UTF-8, about right for English prose."""
    return math.ceil(len(text.encode("utf-8", "surrogatepass")) / _BYTES_PER_TOKEN)


def cut_to_tokens(text: str, limit: int | None) -> tuple[str, bool]:
    """The text within `limit` tokens, and whether something was cut off."""
    if limit is None or count_tokens(text) <= limit:
        return text, False
    kept = text.encode("utf-8", "surrogatepass")[: limit * _BYTES_PER_TOKEN]
    return kept.decode("utf-8", "ignore"), True


def digest_of(model: str, messages: tuple[tuple[str, object], ...]) -> str:
    """Hex SHA-256 of a prompt."""
    digest = hashlib.sha256(model.encode())
    for role, content in messages:
        text = content if isinstance(content, str) else json.dumps(content)
        digest.update(f"\0{role}\0".encode())
        digest.update(text.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()

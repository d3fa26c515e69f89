"""What providers' refusals mean: ask again, give up, or send less.

Statuses after the documentation of Anthropic, OpenAI and OpenRouter; `x-should-retry` and `retry-after-ms` after the
official SDKs, which obey them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from pydantic_core import from_json

from rlm_worker.errors import InputTooLarge, ModelError, RetryableError, SchemaRefused, TerminalError

from .answers import mapping, string

_NO_ROOM = frozenset({429, 503, 529})
_TIMED_OUT = frozenset({408, 504, 524})
_PASSING = frozenset({409, 500, 502})
_TOO_LARGE = re.compile(
    r"prompt is too long|context[ _](length|window|size)|maximum context|exceeds? (the )?context|too many tokens",
    re.IGNORECASE,
)
# Of a refusal as such: the provider does not take the schema, or no schema at all.
_SCHEMA = re.compile(r"response_format|json_schema|output_config|output_format|structured output", re.IGNORECASE)
# Of a refusal for too many calls: what no waiting mends.
_MONEY = re.compile(r"insufficient_quota|quota_exceeded|spend|billing|credit", re.IGNORECASE)
# Whatever is asked: a key that is no good, no credits, not allowed, no such model. But a prompt may be refused so too.
_UNAVAILABLE = frozenset({401, 402, 403, 404, 429})
_OF_THE_PROMPT = re.compile(r"moderation|flagged|content[ _]polic", re.IGNORECASE)
_IN_FLIGHT = "openrouter_in_flight_budget"
_MAX_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a provider says of an error: its kind, in whatever field it stands, and its sentence."""

    kind: str
    message: str
    limit_source: str = ""

    @classmethod
    def of(cls, body: Mapping[str, object]) -> Refusal:
        """Reads `{"error": {"type", "code", "message"}}`, as all of them send it, and a bare string in its place."""
        error = body.get("error", body)
        if isinstance(error, str):
            return cls("", error)
        told = mapping(error)
        details = mapping(told.get("details"))
        kinds = (told.get("type"), told.get("code"), told.get("error_code"), details.get("error_code"))
        kind = " ".join(word for word in kinds if isinstance(word, str))
        return cls(kind, string(told.get("message")), string(mapping(told.get("metadata")).get("limit_source")))


def http_failure(who: str, status: int, headers: Mapping[str, str], text: str) -> ModelError:
    """The error that a response with that status stands for; header names in lower case."""
    refusal = Refusal.of(_object(text)) if _object(text) else Refusal("", text)
    return failure(who, status, refusal, retry_after(headers), headers.get("x-should-retry", ""))


def failure(who: str, status: int, refusal: Refusal, wait: float = 0.0, advice: str = "") -> ModelError:
    """The error for a status, wherever it stands: in the response, in its body or in an event."""
    says = " ".join((refusal.message or refusal.kind or "no message").split())[:_MAX_CHARACTERS]
    message = f"{who}: {status} {says}"
    if status == 413 or (status in (400, 422) and _TOO_LARGE.search(f"{refusal.kind} {refusal.message}")):
        return InputTooLarge(message)
    if status in (400, 422) and _SCHEMA.search(f"{refusal.kind} {refusal.message}"):
        return SchemaRefused(message)
    if not _is_passing(status, refusal, advice):
        of_the_prompt = _OF_THE_PROMPT.search(f"{refusal.kind} {refusal.message}")
        return TerminalError(message, unavailable=status in _UNAVAILABLE and not of_the_prompt)
    if status in _TIMED_OUT:
        return RetryableError(message, 0, wait, work="unfinished")
    capacity = status in _NO_ROOM
    return RetryableError(message, 0, wait, capacity=capacity, fallback=capacity, work="none")


def late_failure(who: str, status: int, refusal: Refusal) -> ModelError:
    """The same for an error that stands in a body, or an event, whose status was 200: the prompt was read by then."""
    error = failure(who, status, refusal)
    if error.work == "none":
        error.work = "read"
    return error


def _is_passing(status: int, refusal: Refusal, advice: str) -> bool:
    if status == 402:
        return refusal.limit_source == _IN_FLIGHT
    if status == 429 and _MONEY.search(refusal.kind):
        return False
    if advice in ("true", "false"):
        return advice == "true"
    return status in _NO_ROOM | _TIMED_OUT | _PASSING or status >= 500


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that the provider asks for: `retry-after-ms`, else `retry-after` as seconds or a date; 0 without."""
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    told = headers.get("retry-after", "")
    seconds = _number(told)
    if seconds is not None:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(told).timestamp() - time.time())
    except ValueError:
        return 0.0


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < 86_400 else None


def _object(text: str) -> Mapping[str, object]:
    try:
        return mapping(from_json(text))
    except ValueError:
        return {}

"""Anthropic's Messages, direct or through the gateway."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rlm_worker.errors import ModelError
from rlm_worker.messages import CallUsage, Effort, Message, ModelRequest

from .answers import DECLINED, Answer, count, mapping, string
from .failures import Refusal, late_failure
from .schema_forms import anthropic_form

# Why it stops, in OpenAI's words.
_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": DECLINED,
}
# The status that an error in a stream would have had.
_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_UNKNOWN_STATUS = 500
# Tokens to think with, for models that take a number instead of an effort; fewer are refused.
_BUDGETS: Mapping[Effort, int] = {"minimal": 1024, "low": 1024, "medium": 2048, "high": 8192}
_MIN_BUDGET, _MAX_BUDGET = 1024, 16_384
_CACHED = {"type": "ephemeral"}


@dataclass(frozen=True, slots=True)
class MessagesShape:
    """`who` names the provider in errors; `names_model`: the body says which model is meant."""

    who: str
    extra: Mapping[str, object] = field(default_factory=dict)
    names_model: bool = True

    def body(self, request: ModelRequest, *, stream: bool) -> dict[str, object]:
        body: dict[str, object] = {**self.extra, "max_tokens": request.max_output_tokens}
        body["messages"] = _conversation(request)
        if self.names_model:
            body["model"] = request.model.own_name
        if system := _system(request.messages):
            body["system"] = system
        body |= _thinking(request)
        if request.model.sampling and "thinking" not in body:
            body["temperature"] = min(1.0, request.temperature)
        if (schema := _output_schema(request)) is not None:
            form = {"type": "json_schema", "schema": schema}
            body["output_config"] = {**mapping(body.get("output_config")), "format": form}
        if stream:
            body["stream"] = True
        return body

    def take(self, answer: Answer, body: Mapping[str, object]) -> None:
        content = body.get("content")
        for block in content if isinstance(content, list) else ():
            if mapping(block).get("type") == "text":
                answer.say(string(mapping(block).get("text")))
        answer.usage = _usage(body.get("usage"), answer.usage)
        self._finish(answer, body)
        answer.whole = True

    def take_event(self, answer: Answer, event: Mapping[str, object]) -> None:
        match event.get("type"):
            case "message_start":
                answer.opening = _usage(mapping(event.get("message")).get("usage"), None)
            case "content_block_start":
                answer.say(string(mapping(event.get("content_block")).get("text")))
            case "content_block_delta":
                delta = mapping(event.get("delta"))
                answer.say(string(delta.get("text")) if delta.get("type") == "text_delta" else "")
            case "message_delta":
                answer.usage = _usage(event.get("usage"), answer.usage or answer.opening)
                self._finish(answer, mapping(event.get("delta")))
            case "message_stop":
                answer.whole = True

    def error(self, body: Mapping[str, object]) -> ModelError | None:
        """What stands in an event, or in a body, after a status of 200; None where all is well."""
        if body.get("type") != "error":
            return None
        kind = string(mapping(body.get("error")).get("type"))
        return late_failure(self.who, _STATUS.get(kind, _UNKNOWN_STATUS), Refusal.of(body))

    def _finish(self, answer: Answer, told: Mapping[str, object]) -> None:
        reason = string(told.get("stop_reason"))
        answer.finish_reason = _FINISH.get(reason, reason) or answer.finish_reason


def _system(messages: tuple[Message, ...]) -> list[dict[str, object]]:
    """What every call of a kind has in common; marked as what may be kept from one call to the next."""
    texts = [message.content for message in messages if message.role == "system"]
    blocks: list[dict[str, object]] = [{"type": "text", "text": text} for text in texts]
    if blocks:
        blocks[-1]["cache_control"] = _CACHED
    return blocks


def _conversation(request: ModelRequest) -> list[dict[str, object]]:
    """The messages; a conversation that goes on is kept up to here, because the next turn repeats it.

    Of a prompt about a text, all that comes before the question is kept.
    """
    said = [message for message in request.messages if message.role != "system"]
    turns: list[dict[str, object]] = [
        {"role": message.role, "content": _content(message) if request.cache_key else message.content}
        for message in said
    ]
    if request.kind == "turn" and turns:
        turns[-1]["content"] = [{"type": "text", "text": said[-1].content, "cache_control": _CACHED}]
    return turns


def _content(message: Message) -> object:
    """The text of a message; in two blocks, the first one marked, where others begin like it."""
    if message.prefix is None:
        return message.content
    shared, rest = message.content[: message.prefix.characters], message.content[message.prefix.characters :]
    return [{"type": "text", "text": shared, "cache_control": _CACHED}, {"type": "text", "text": rest}]


def _output_schema(request: ModelRequest) -> Mapping[str, object] | None:
    """The schema that the answer is held to; None where there is none, or none that can be said here."""
    if request.response_schema is None or request.model.json_mode == "none":
        return None
    return anthropic_form(request.response_schema)


def _thinking(request: ModelRequest) -> dict[str, object]:
    """How much to think: an effort where the model takes one, else tokens; nothing where nothing was asked for."""
    model, effort = request.model, request.effort
    if effort is None or not model.reasoning:
        return {}
    wanted = model.effort(effort)
    if wanted == "none":
        return {"thinking": {"type": "disabled"}}
    if model.efforts:
        return {"thinking": {"type": "adaptive"}, "output_config": {"effort": wanted}}
    budget = min(_BUDGETS.get(wanted, _MAX_BUDGET), request.max_output_tokens // 2)
    return {"thinking": {"type": "enabled", "budget_tokens": budget}} if budget >= _MIN_BUDGET else {}


def _usage(reported: object, before: CallUsage | None) -> CallUsage | None:
    """Anthropic's usage, cumulative in a stream; what was cached comes beside the input there, and is part of it here.

    An event that says nothing of the input leaves what an earlier one has said.
    """
    told = mapping(reported)
    written_out = count(told.get("output_tokens"))
    plain = count(told.get("input_tokens"))
    if written_out is None:
        return before
    if plain is None:
        return None if before is None else _with_output(before, written_out, told)
    cached = _told(told, "cache_read_input_tokens", before.cached_tokens if before else 0)
    written = _told(told, "cache_creation_input_tokens", before.written_tokens if before else 0)
    usage = CallUsage(plain + cached + written, written_out, cached_tokens=cached, written_tokens=written)
    return _with_output(usage, written_out, told)


def _told(reported: Mapping[str, object], name: str, otherwise: int) -> int:
    found = count(reported.get(name))
    return otherwise if found is None else found


def _with_output(usage: CallUsage, tokens: int, told: Mapping[str, object]) -> CallUsage:
    thought = count(mapping(told.get("output_tokens_details")).get("thinking_tokens")) or usage.reasoning_tokens
    return CallUsage(
        usage.input_tokens,
        tokens,
        cached_tokens=usage.cached_tokens,
        written_tokens=usage.written_tokens,
        reasoning_tokens=min(tokens, thought),
    )

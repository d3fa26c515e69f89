"""OpenAI's chat completions, as OpenAI, OpenRouter, the gateway and a great many servers speak them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from rlm_worker.errors import ModelError
from rlm_worker.messages import CallUsage, ModelRequest

from .answers import DECLINED, Answer, amount, count, mapping, string
from .failures import Refusal, late_failure
from .schema_forms import is_strict

_SCHEMA_NAME = "answer"
_FAILED = "error"
_UNKNOWN_STATUS = 502


@dataclass(frozen=True, slots=True)
class ChatShape:
    """`who` names the provider in errors; `names_model`: the body says which model is meant.

    `reports_cost`: what `usage.cost` says is the bill. `cache_key_field` is its name for the key that sends prompts
    which begin alike to the same place; empty where it knows none.
    """

    who: str
    output_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    extra: Mapping[str, object] = field(default_factory=dict)
    names_model: bool = True
    reports_cost: bool = False
    cache_key_field: str = ""

    def body(self, request: ModelRequest, *, stream: bool) -> dict[str, object]:
        model = request.model
        body: dict[str, object] = {
            **self.extra,
            "messages": [{"role": message.role, "content": message.content} for message in request.messages],
            self.output_limit: request.max_output_tokens,
        }
        if self.names_model:
            body["model"] = model.own_name
        if model.sampling:
            body["temperature"] = request.temperature
        if request.effort is not None and model.efforts:
            body["reasoning_effort"] = model.effort(request.effort)
        if self.cache_key_field and request.cache_key:
            body.setdefault(self.cache_key_field, request.cache_key)
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        if request.response_schema is not None and model.json_mode != "none":
            strict = is_strict(request.response_schema)
            schema = {"name": _SCHEMA_NAME, "schema": dict(request.response_schema), "strict": strict}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body

    def take(self, answer: Answer, body: Mapping[str, object]) -> None:
        choice = first_choice(body)
        answer.say(content_text(mapping(choice.get("message")).get("content")))
        self._take_common(answer, body, choice)
        answer.whole = True

    def take_event(self, answer: Answer, event: Mapping[str, object]) -> None:
        choice = first_choice(event)
        answer.say(content_text(mapping(choice.get("delta")).get("content")))
        self._take_common(answer, event, choice)

    def error(self, body: Mapping[str, object]) -> ModelError | None:
        """What stands in a body or an event after a status of 200; None where all is well."""
        told = body.get("error") or first_choice(body).get("error")
        if not told and first_choice(body).get("finish_reason") != _FAILED:
            return None
        status = count(mapping(told).get("code")) or _UNKNOWN_STATUS
        return late_failure(self.who, status, Refusal.of({"error": told or "the generation failed"}))

    def _take_common(self, answer: Answer, body: Mapping[str, object], choice: Mapping[str, object]) -> None:
        answer.usage = self._usage(body.get("usage")) or answer.usage
        answer.finish_reason = string(choice.get("finish_reason")) or answer.finish_reason
        if string(mapping(choice.get("message") or choice.get("delta")).get("refusal")):
            answer.finish_reason = DECLINED
        answered = string(body.get("model"))
        if answered and self.names_model and not _is_same(answered, answer.request.model.own_name):
            answer.model = f"{answer.request.model.provider}:{answered}"

    def _usage(self, reported: object) -> CallUsage | None:
        usage = chat_usage(reported)
        if usage is None or not self.reports_cost:
            return usage
        told = mapping(reported)
        cost = amount(told.get("cost"))
        if cost is not None and told.get("is_byok") is True:
            cost += amount(mapping(told.get("cost_details")).get("upstream_inference_cost")) or 0.0
        return CallUsage(
            usage.input_tokens,
            usage.output_tokens,
            cached_tokens=usage.cached_tokens,
            written_tokens=usage.written_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            billed_usd=cost,
        )


def chat_usage(reported: object) -> CallUsage | None:
    """OpenAI's usage; what was cached is part of the prompt there."""
    told = mapping(reported)
    read, written = count(told.get("prompt_tokens")), count(told.get("completion_tokens"))
    if read is None or written is None:
        return None
    prompt, completion = mapping(told.get("prompt_tokens_details")), mapping(told.get("completion_tokens_details"))
    return CallUsage(
        read,
        written,
        cached_tokens=min(read, count(prompt.get("cached_tokens")) or 0),
        written_tokens=min(read, count(prompt.get("cache_write_tokens")) or 0),
        reasoning_tokens=min(written, count(completion.get("reasoning_tokens")) or 0),
    )


def first_choice(body: Mapping[str, object]) -> Mapping[str, object]:
    choices = body.get("choices")
    return mapping(choices[0]) if isinstance(choices, list) and choices else {}


def content_text(content: object) -> str:
    """The text of a message's content; of parts, those that are text: thoughts are parts too."""
    if isinstance(content, list):
        return "".join(string(mapping(part).get("text")) for part in content if mapping(part).get("type") == "text")
    return string(content)


def _is_same(answered: str, asked: str) -> bool:
    """A dated version of what was asked for is what was asked for."""
    return answered == asked or answered.startswith((f"{asked}-", f"{asked}:"))

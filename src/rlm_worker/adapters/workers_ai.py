"""The `Model` port on Workers AI's own models.

Two shapes of answer, three of streams, and errors whose message starts with a number: Cloudflare's Workers AI
documentation; what is read here is what was seen.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import js
from pyodide.ffi import JsException, to_js

from rlm_worker.errors import ModelError
from rlm_worker.messages import InexactReply, ModelReply, ModelRequest, UnusableReply
from rlm_worker.ports import DeltaSink

from .bindings import look_for_end
from .providers.ai_binding import AIBinding, as_python
from .providers.answers import Answer, is_exact, mapping, string
from .providers.chat_shape import chat_usage, first_choice
from .providers.streams import read_stream
from .workers_ai_errors import as_model_error, told_error

_SCHEMA_NAME = "answer"
# Prompts that begin alike are kept where one of them was read: Cloudflare, Workers AI, "Prompt caching".
_AFFINITY = "x-session-affinity"


class WorkersAI:
    """Asks models through the binding `AI`."""

    def __init__(self, binding: AIBinding) -> None:
        self._binding = binding
        self._shape = _WorkersAIShape()

    async def complete(self, request: ModelRequest, deltas: DeltaSink | None = None) -> ModelReply:
        abort = js.AbortController.new()
        try:
            inputs = _inputs(self._shape.body(request, stream=deltas is not None))
            found = await self._binding.run(request.model.id, inputs, abort.signal, _options(request))
            answer = Answer(request, deltas)
            if deltas is not None and hasattr(found, "getReader"):
                return await read_stream(found, self._shape, answer)
            return self._whole(as_python(found), answer)
        except (JsException, OSError) as error:
            look_for_end(error)
            raise as_model_error(str(error)) from None
        except asyncio.CancelledError:
            abort.abort()  # nobody waits for the answer any more: the model need not write it
            raise

    def _whole(self, found: object, answer: Answer) -> ModelReply:
        if not isinstance(found, Mapping):
            raise UnusableReply(f"{answer.request.model.id} answered with something that is not an object")
        if (error := self._shape.error(found)) is not None:
            raise error
        self._shape.take(answer, found)
        return answer.reply()


class _WorkersAIShape:
    """The older shape, `response`, and the newer one, `choices`."""

    def body(self, request: ModelRequest, *, stream: bool) -> dict[str, object]:
        model = request.model
        body: dict[str, object] = {
            "messages": [{"role": message.role, "content": message.content} for message in request.messages],
            "max_tokens": request.max_output_tokens,
            "temperature": request.temperature,
            **_effort(request),
        }
        if request.response_schema is not None and model.json_mode != "none":  # JSON mode does not stream
            body["response_format"] = {"type": "json_schema", "json_schema": _schema(request)}
        elif stream:
            body["stream"] = True
        return body

    def take(self, answer: Answer, body: Mapping[str, object]) -> None:
        message = mapping(first_choice(body).get("message"))
        content = body["response"] if "response" in body else message.get("content")
        self._take_common(answer, body)
        if answer.request.response_schema is not None and not is_exact(content):
            raise InexactReply(f"{answer.request.model.id} gave numbers of more than 15 digits as JSON", answer.usage)
        answer.say(_as_text(content))
        answer.whole = True

    def take_event(self, answer: Answer, event: Mapping[str, object]) -> None:
        delta = mapping(first_choice(event).get("delta"))
        answer.say(_as_text(event["response"] if "response" in event else delta.get("content")))
        self._take_common(answer, event)

    def error(self, body: Mapping[str, object]) -> ModelError | None:
        told = told_error(body)
        return as_model_error(told) if told else None

    def _take_common(self, answer: Answer, body: Mapping[str, object]) -> None:
        answer.usage = chat_usage(body.get("usage")) or answer.usage
        reason = first_choice(body).get("finish_reason") or body.get("finish_reason")
        answer.finish_reason = string(reason) or answer.finish_reason
        # Said by the binding's stand-in on a developer's machine, where another model plays this one's part.
        answer.model = string(body.get("answered_by")) or answer.model


def _options(request: ModelRequest) -> dict[str, object]:
    """The binding's options: whether to wait, and where the prompt's beginning may still be kept."""
    options: dict[str, object] = {"rejectIfBusy": True} if request.reject_if_busy else {}
    if request.cache_key:
        options["extraHeaders"] = {_AFFINITY: request.cache_key}
    return options


def _effort(request: ModelRequest) -> dict[str, object]:
    """How much to think, for models that can be told."""
    model, effort = request.model, request.effort
    if effort is None or not model.reasoning:
        return {}
    if model.thinking_switch:
        return {"chat_template_kwargs": {"enable_thinking": effort != "none"}}
    return {"reasoning_effort": model.effort(effort)} if model.efforts else {}


def _schema(request: ModelRequest) -> dict[str, object]:
    """The schema in the shape that the model takes."""
    schema = dict(request.response_schema or {})
    return schema if request.model.json_mode == "bare" else {"name": _SCHEMA_NAME, "schema": schema, "strict": True}


def _inputs(body: dict[str, object]) -> Any:
    """The inputs as JavaScript has them: long texts cross as they are, because they are slow to parse."""
    small = {name: value for name, value in body.items() if name != "messages"}
    inputs = js.JSON.parse(json.dumps(small))  # as JSON, whose null is one in JavaScript too
    inputs.messages = to_js(body["messages"], dict_converter=js.Object.fromEntries)
    return inputs


def _as_text(value: object) -> str:
    """A model's words; JSON mode gives objects and some models numbers where text is expected."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

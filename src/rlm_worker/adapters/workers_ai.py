"""The `Model` port on the Workers AI binding.

Two shapes of answer, three of streams, and errors whose message starts with a number: Cloudflare's Workers AI
documentation; what is read here is what was seen.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import js
from pydantic_core import from_json
from pyodide.ffi import JsException, to_js

from rlm_worker.errors import InputTooLarge, ModelError, RetryableError, TerminalError
from rlm_worker.ports import CallUsage, DeltaSink, ModelReply, ModelRequest

from .bindings import binding

_CODE = re.compile(r"\b(\d{4}):\s*(.*)", re.DOTALL)
_RETRY_AFTER = re.compile(r"retry[- ]after:?\s*(\d+(?:\.\d+)?)", re.IGNORECASE)
# Capacity, per-minute limit, time-out, aborted, and the failures inside the service that it asks to repeat.
_RETRYABLE = frozenset({3040, 3021, 3007, 3008, 3043, 1031})
_TOO_LARGE = frozenset({3006, 5021})
_SCHEMA_NAME = "answer"


class WorkersAI:
    """Asks models through the binding `AI`."""

    def __init__(self, env: Any) -> None:
        self._env = env

    async def complete(self, request: ModelRequest, deltas: DeltaSink | None = None) -> ModelReply:
        ai = binding(self._env, "AI")
        if ai is None:
            raise TerminalError("the binding AI is missing")
        try:
            # The plain binding: the SDK's wrapper looks at every argument and result several times, across the border.
            plain = getattr(ai, "_binding", ai)
            answer = await plain.run(request.model.id, _inputs(request, deltas is not None))
            if deltas is not None and hasattr(answer, "getReader"):
                return await _streamed(answer, request, deltas)
            return _reply(_as_python(answer), request)
        except (JsException, OSError) as error:
            raise as_model_error(str(error)) from None


def as_model_error(message: str) -> ModelError:
    """The error that a message of the binding stands for."""
    match = _CODE.search(message)
    if match is None:
        return RetryableError(_first_line(message))
    code, text = int(match[1]), _first_line(match[2])
    if code in _TOO_LARGE:
        return InputTooLarge(text, code)
    if code in _RETRYABLE:
        wait = _RETRY_AFTER.search(message)
        return RetryableError(text, code, float(wait[1]) if wait else 0.0)
    return TerminalError(text, code)


def _first_line(message: str) -> str:
    return (message.strip().splitlines() or ["no message"])[0][:300]


def _inputs(request: ModelRequest, stream: bool) -> Any:
    inputs: dict[str, Any] = {
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "max_tokens": request.max_output_tokens,
        "temperature": request.temperature,
    }
    if stream:
        inputs["stream"] = True
    if request.response_schema is not None:
        schema = {"name": _SCHEMA_NAME, "schema": dict(request.response_schema)}
        # As JSON, whose null is one in JavaScript too. The rest crosses as it is: long texts are slow to parse.
        inputs["response_format"] = js.JSON.parse(json.dumps({"type": "json_schema", "json_schema": schema}))
    return to_js(inputs, dict_converter=js.Object.fromEntries)


def _as_python(answer: Any) -> object:
    """An answer as JSON would give it; None for what JSON cannot hold."""
    text = js.JSON.stringify(answer)
    try:
        return from_json(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _reply(answer: object, request: ModelRequest) -> ModelReply:
    if not isinstance(answer, Mapping):
        raise RetryableError(f"{request.model.id} answered with something that is not an object")
    text = _text(answer)
    if not text.strip():
        raise RetryableError(f"{request.model.id} answered with nothing")
    return ModelReply(text, request.model.id, _usage(answer.get("usage")))


def _text(answer: Mapping[str, object]) -> str:
    if "response" in answer:
        return _as_text(answer["response"])
    choices = answer.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else {}
    message = first.get("message", {}) if isinstance(first, Mapping) else {}
    return _as_text(message.get("content") if isinstance(message, Mapping) else None)


def _as_text(value: object) -> str:
    """A model's words; JSON mode gives objects and some models numbers where text is expected."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _usage(reported: object) -> CallUsage | None:
    if not isinstance(reported, Mapping):
        return None
    read, written = reported.get("prompt_tokens"), reported.get("completion_tokens")
    if not isinstance(read, int | float) or not isinstance(written, int | float) or min(read, written) < 0:
        return None
    return CallUsage(int(read), int(written))


async def _streamed(stream: Any, request: ModelRequest, deltas: DeltaSink) -> ModelReply:
    parts: list[str] = []
    usage: CallUsage | None = None
    finished = False
    async for data in _event_data(stream):
        if data == "[DONE]":
            finished = True
            break
        event = _parsed(data)
        usage = _usage(event.get("usage")) or usage
        if delta := _delta(event):
            parts.append(delta)
            deltas.write(delta)
    if not finished or not "".join(parts).strip():
        raise RetryableError(f"{request.model.id} broke off its answer")
    return ModelReply("".join(parts), request.model.id, usage)


async def _event_data(stream: Any) -> AsyncIterator[str]:
    """The data of each event in a stream of bytes."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    reader = stream.getReader()
    rest = ""
    while not (block := await reader.read()).done:
        rest += decoder.decode(block.value.to_bytes())
        *lines, rest = rest.split("\n")
        for line in lines:
            if line.startswith("data:"):
                yield line[5:].strip()


def _parsed(data: str) -> Mapping[str, object]:
    try:
        parsed = from_json(data)
    except ValueError:
        return {}
    if not isinstance(parsed, dict):
        return {}
    if parsed.get("error"):
        raise as_model_error(str(parsed["error"]))
    return parsed


def _delta(event: Mapping[str, object]) -> str:
    if "response" in event:
        return _as_text(event["response"])
    choices = event.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else {}
    delta = first.get("delta", {}) if isinstance(first, Mapping) else {}
    return _as_text(delta.get("content") if isinstance(delta, Mapping) else None)

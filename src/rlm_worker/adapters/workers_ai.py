"""The `Model` port on the Workers AI binding.

Two shapes of answer, three of streams, and errors whose message starts with a number: Cloudflare's Workers AI
documentation; what is read here is what was seen.
"""

from __future__ import annotations

import asyncio
import codecs
import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import js
from pydantic_core import from_json
from pyodide.ffi import JsException, to_js

from rlm_worker.errors import InputTooLarge, ModelError, RetryableError, TerminalError
from rlm_worker.messages import CallUsage, ModelReply, ModelRequest, OutputExhausted, UnusableReply
from rlm_worker.ports import DeltaSink

from .bindings import binding, first_line, look_for_end

_CODE = re.compile(r"\b(\d{4}):\s*(.*)", re.DOTALL)
_RETRY_AFTER = re.compile(r"retry[- ]after:?\s*(\d+(?:\.\d+)?)", re.IGNORECASE)
# Capacity, per-minute limit, three time-outs, and the failures inside the service that it asks to repeat.
_RETRYABLE = frozenset({3040, 3021, 3007, 3008, 3046, 3043, 1031})
_TOO_LARGE = frozenset({3006, 5021})
_SCHEMA_NAME = "answer"


class WorkersAI:
    """Asks models through the binding `AI`."""

    def __init__(self, env: Any) -> None:
        self._env = env
        self._abortable = True

    async def complete(self, request: ModelRequest, deltas: DeltaSink | None = None) -> ModelReply:
        ai = binding(self._env, "AI")
        if ai is None:
            raise TerminalError("the binding AI is missing")
        # The plain binding: the SDK's wrapper looks at every argument and result several times, across the border.
        plain = getattr(ai, "_binding", ai)
        abort = js.AbortController.new()
        try:
            answer = await self._sent(plain, request, _inputs(request, deltas is not None), abort.signal)
            if deltas is not None and hasattr(answer, "getReader"):
                return await _streamed(answer, request, deltas)
            return _reply(_as_python(answer), request)
        except (JsException, OSError) as error:
            look_for_end(error)
            raise as_model_error(str(error)) from None
        except asyncio.CancelledError:
            abort.abort()  # nobody waits for the answer any more: the model need not write it
            raise

    async def _sent(self, ai: Any, request: ModelRequest, inputs: Any, signal: Any) -> Any:
        if not self._abortable:
            return await ai.run(request.model.id, inputs)
        options = js.Object.new()
        options.signal = signal
        try:
            return await ai.run(request.model.id, inputs, options)
        except JsException as error:
            if not str(error).startswith("DataCloneError"):
                raise
        # A binding that is reached by RPC, in a runtime where a signal cannot cross that: nothing was sent.
        self._abortable = False
        return await ai.run(request.model.id, inputs)


def as_model_error(message: str) -> ModelError:
    """The error that a message of the binding stands for."""
    match = _CODE.search(message)
    if match is None:
        return RetryableError(first_line(message))
    code, text = int(match[1]), first_line(match[2])
    if code in _TOO_LARGE:
        return InputTooLarge(text, code)
    if code in _RETRYABLE:
        wait = _RETRY_AFTER.search(message)
        return RetryableError(text, code, float(wait[1]) if wait else 0.0)
    return TerminalError(text, code)


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
        raise UnusableReply(f"{request.model.id} answered with something that is not an object")
    return _usable(_text(answer), _usage(answer.get("usage")), _finish_reason(answer), request)


def _usable(text: str, usage: CallUsage | None, finish_reason: str, request: ModelRequest) -> ModelReply:
    """The reply, if it says anything; raises `OutputExhausted` where there was no room for it, else `UnusableReply`."""
    reply = ModelReply(text, request.model.id, usage, finish_reason).with_finish_reason(request)
    if text.strip():
        return reply
    allowed = request.max_output_tokens
    if reply.is_cut or (usage is not None and usage.output_tokens >= allowed):
        message = f"{request.model.id} used all {allowed} tokens that it may write before it began to answer"
        raise OutputExhausted(f"{message}: raise maxOutputTokens", usage)
    raise UnusableReply(f"{request.model.id} answered with nothing", usage=usage)


def _text(answer: Mapping[str, object]) -> str:
    if "response" in answer:
        return _as_text(answer["response"])
    message = _first_choice(answer).get("message")
    return _as_text(message.get("content") if isinstance(message, Mapping) else None)


def _finish_reason(answer: Mapping[str, object]) -> str:
    """Why an answer, or a stream, ends here; empty where that is not said."""
    reason = _first_choice(answer).get("finish_reason") or answer.get("finish_reason")
    return reason if isinstance(reason, str) else ""


def _first_choice(answer: Mapping[str, object]) -> Mapping[str, object]:
    choices = answer.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, Mapping) else {}


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
    answer = _Streamed()
    try:
        async for data in _event_data(stream):
            if data == "[DONE]":
                return _usable("".join(answer.parts), answer.usage, answer.finish_reason, request)
            if delta := answer.take(_parsed(data)):
                deltas.write(delta)
    except (JsException, OSError) as error:
        raise answer.broken(f"{request.model.id} broke off its answer: {first_line(error)}") from None
    raise answer.broken(f"{request.model.id} broke off its answer")


@dataclass(slots=True)
class _Streamed:
    """What has come of an answer."""

    parts: list[str] = field(default_factory=list)
    usage: CallUsage | None = None
    finish_reason: str = ""

    def take(self, event: Mapping[str, object]) -> str:
        """Adds what an event brings; gives the new text."""
        self.usage = _usage(event.get("usage")) or self.usage
        self.finish_reason = _finish_reason(event) or self.finish_reason
        if delta := _delta(event):
            self.parts.append(delta)
        return delta

    def broken(self, message: str) -> UnusableReply:
        return UnusableReply(message, usage=self.usage, text="".join(self.parts))


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
    delta = _first_choice(event).get("delta")
    return _as_text(delta.get("content") if isinstance(delta, Mapping) else None)

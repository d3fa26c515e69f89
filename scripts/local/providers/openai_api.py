"""OpenAI's chat completions on loopback, and OpenRouter's: `POST …/chat/completions`, `GET …/models`.

Form after the API references of both; tests/scripts/test_providers.py lets OpenAI's own SDK read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Literal

from aiohttp import web

from scripts.local.scripted.calls import CallEntry, ChatCall, count_tokens

from .prefixes import SharedPrefixes
from .schemas import openai_problem
from .served import Refused, ServedModel, Tokens, Trouble
from .server import ProviderServer, event_bytes, halves

_PIECE = 24
_CREATED = 1_790_000_000
Flavour = Literal["openai", "openrouter"]


class OpenAIServer(ProviderServer):
    """With `flavour` `openrouter` it is OpenRouter: `models` are tried in turn, and every usage carries its `cost`."""

    def __init__(
        self, *, key: str, models: Mapping[str, ServedModel], flavour: Flavour = "openai", port: int = 0
    ) -> None:
        self._flavour = flavour
        self._prefixes = SharedPrefixes()
        super().__init__(key=key, models=models, port=port)

    def reset(self) -> None:
        super().reset()
        self._prefixes = SharedPrefixes()

    def base_path(self) -> str:
        return "/v1" if self._flavour == "openai" else "/api/v1"

    def routes(self) -> Iterable[web.RouteDef]:
        base = self.base_path()
        return (web.post(f"{base}/chat/completions", self.play), web.get(f"{base}/models", self._models))

    def error(self, trouble: Trouble) -> dict[str, object]:
        if self._flavour == "openrouter":
            return {"error": {"code": trouble.status, "message": trouble.message, **trouble.error}}
        told = {"message": trouble.message, "type": trouble.kind, "param": None, "code": trouble.kind or None}
        return {"error": {**told, **trouble.error}}

    async def _models(self, request: web.Request) -> web.Response:
        try:
            if self._flavour == "openai":  # OpenRouter lists its models to everybody
                self.authenticate(request)
        except Refused as refusal:
            return self.refused(refusal.trouble)
        listed = [{"id": name, "object": "model", "created": _CREATED, "owned_by": "local"} for name in self.models]
        return web.json_response({"object": "list", "data": listed})

    async def answer(self, request: web.Request, entry: CallEntry, body: Mapping[str, object]) -> web.StreamResponse:
        call, trouble = self._routed(entry.call, body)
        if trouble is not None and not trouble.late:
            raise Refused(trouble)
        stream = await self.begin(request, entry)
        completion = self._completion(call, body)
        self.leave(entry, "ok" if trouble is None else f"late {trouble.status}", _text(completion))
        if stream is not None:
            return await self._stream(stream, completion, body, trouble)
        return web.json_response(completion if trouble is None else self.error(trouble))

    def _routed(self, call: ChatCall, body: Mapping[str, object]) -> tuple[ChatCall, Trouble | None]:
        """The call to the model that answers, or the last one's trouble: OpenRouter tries its `models` in turn."""
        others = body.get("models") if self._flavour == "openrouter" else None
        trouble = None
        for name in dict.fromkeys([call.model, *(others if isinstance(others, list) else [])]):
            tried = replace(call, model=str(name))
            self._check(body, tried, self.served(tried.model))
            trouble = self.strike(tried)
            if trouble is None or trouble.late:
                return tried, trouble
        return call, trouble

    def _check(self, body: Mapping[str, object], call: ChatCall, model: ServedModel) -> None:
        if self._flavour == "openai" and "max_tokens" in body and not model.sampling:
            message = "Unsupported parameter: 'max_tokens' is not supported with this model."
            raise Refused(Trouble(400, "unsupported_parameter", message))
        if "temperature" in body and not model.sampling:
            raise Refused(Trouble(400, "unsupported_value", "'temperature' does not support this value"))
        if problem := openai_problem(body.get("response_format")):
            raise Refused(Trouble(400, "invalid_request_error", problem))
        if call.prompt_tokens + (call.max_tokens or 0) > model.window:
            message = f"This model's maximum context length is {model.window} tokens."
            raise Refused(Trouble(400, "context_length_exceeded", message))

    def _completion(self, call: ChatCall, body: Mapping[str, object]) -> dict[str, object]:
        thinks = body.get("reasoning_effort") not in (None, "none")
        limit = call.max_tokens or 4_096
        thought = min(limit, self.thinking_tokens) if thinks else 0
        text, cut = self.answer_to(call, limit - thought) if limit > thought else ("", True)
        cached = self._prefixes.read(call.model, call.text)
        tokens = Tokens(call.prompt_tokens - cached, max(1, count_tokens(text) + thought), cached, 0, thought)
        usd = self.charge(call, tokens)
        message: dict[str, object] = {"role": "assistant", "content": text, "refusal": None}
        if thinks:
            message["reasoning" if self._flavour == "openrouter" else "reasoning_content"] = "Let me think. " * 3
        return {
            "id": f"chatcmpl-{call.number}",
            "object": "chat.completion",
            "created": _CREATED,
            "model": call.model,
            "choices": [
                {"index": 0, "message": message, "finish_reason": "length" if cut else "stop", "logprobs": None}
            ],
            "usage": self._usage(tokens, usd),
        }

    def _usage(self, tokens: Tokens, usd: float) -> dict[str, object]:
        usage: dict[str, object] = {
            "prompt_tokens": tokens.prompt,
            "completion_tokens": tokens.output,
            "total_tokens": tokens.prompt + tokens.output,
            "prompt_tokens_details": {"cached_tokens": tokens.cached, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": tokens.thought},
        }
        return {**usage, "cost": usd, "is_byok": False} if self._flavour == "openrouter" else usage

    async def _stream(
        self,
        response: web.StreamResponse,
        completion: Mapping[str, object],
        body: Mapping[str, object],
        trouble: Trouble | None,
    ) -> web.StreamResponse:
        options = body.get("stream_options")
        counts = self._flavour == "openrouter" or (isinstance(options, dict) and options.get("include_usage") is True)
        if self._flavour == "openrouter":
            await response.write(b": OPENROUTER PROCESSING\n\n")
        for _, data in halves([("", chunk) for chunk in _chunks(completion, counts=counts)], whole=trouble is None):
            await response.write(event_bytes("", data))
        await response.write(event_bytes("", "[DONE]" if trouble is None else self._late(completion, trouble)))
        await response.write_eof()
        return response

    def _late(self, completion: Mapping[str, object], trouble: Trouble) -> dict[str, object]:
        failed = {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
        return {**_head(completion), **self.error(trouble), "choices": [failed]}

    def messages_in(self, body: Mapping[str, object]) -> tuple[tuple[str, object], ...]:
        listed = body.get("messages")
        if not isinstance(listed, list) or not listed:
            raise Refused(Trouble(400, "invalid_request_error", "messages is required"))
        return tuple((str(message.get("role")), message.get("content")) for message in listed)

    def authenticate(self, request: web.Request) -> None:
        presented = request.headers.get("authorization", "").removeprefix("Bearer ")
        if presented != self.key:
            # As OpenAI does: it repeats what it was given.
            message = f"Incorrect API key provided: {presented}. You can find your API key in your account."
            raise Refused(Trouble(401, "invalid_api_key", message))


def _text(completion: Mapping[str, object]) -> str:
    choices = completion["choices"]
    assert isinstance(choices, list)
    return str(choices[0]["message"]["content"])


def _head(completion: Mapping[str, object]) -> dict[str, object]:
    shared = {name: completion[name] for name in ("id", "created", "model")}
    return {**shared, "object": "chat.completion.chunk"}


def _chunks(completion: Mapping[str, object], *, counts: bool) -> Iterable[object]:
    choices = completion["choices"]
    assert isinstance(choices, list)
    choice, head = choices[0], _head(completion)

    def chunk(delta: Mapping[str, object], reason: str | None = None) -> dict[str, object]:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}]}

    yield chunk({"role": "assistant", "content": ""})
    message = choice["message"]
    for name in ("reasoning", "reasoning_content", "content"):
        text = str(message.get(name) or "")
        for start in range(0, len(text), _PIECE):
            yield chunk({name: text[start : start + _PIECE]})
    yield chunk({}, choice["finish_reason"])
    if counts:
        yield {**head, "choices": [], "usage": completion["usage"]}

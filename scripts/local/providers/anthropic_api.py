"""Anthropic's Messages API on loopback: `POST /v1/messages`, `/v1/messages/count_tokens`, `GET /v1/models`.

Form after Anthropic's API reference; tests/scripts/test_providers.py lets Anthropic's own SDK read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from aiohttp import web

from scripts.local.scripted.calls import CallEntry, ChatCall, count_tokens

from .prefixes import MarkedPrefixes
from .schemas import anthropic_problem
from .served import Refused, ServedModel, Tokens, Trouble
from .server import ProviderServer, body_of, event_bytes, halves

_MAX_MARKS = 4
_MIN_BUDGET = 1_024
_REFUSED = "invalid_request_error"
_PIECE = 24


class AnthropicServer(ProviderServer):
    """`refuses` makes it decline prompts that hold that text, as a model does, with an empty answer."""

    def __init__(self, *, key: str, models: Mapping[str, ServedModel], port: int = 0) -> None:
        self.refuses = ""
        self._prefixes = MarkedPrefixes()
        super().__init__(key=key, models=models, port=port)

    def reset(self) -> None:
        super().reset()
        self.refuses, self._prefixes = "", MarkedPrefixes()

    def base_path(self) -> str:
        return ""

    def routes(self) -> Iterable[web.RouteDef]:
        return (
            web.post("/v1/messages", self.play),
            web.post("/v1/messages/count_tokens", self._count),
            web.get("/v1/models", self._models),
        )

    def error(self, trouble: Trouble) -> dict[str, object]:
        told = {"type": trouble.kind or "api_error", "message": trouble.message, **trouble.error}
        return {"type": "error", "error": told, "request_id": f"req_{len(self.calls)}"}

    async def _models(self, request: web.Request) -> web.Response:
        try:
            self.authenticate(request)
        except Refused as refusal:
            return self.refused(refusal.trouble)
        listed = [
            {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"}
            for name in self.models
        ]
        return web.json_response({"data": listed, "has_more": False, "first_id": None, "last_id": None})

    async def _count(self, request: web.Request) -> web.Response:
        try:
            self.authenticate(request)
            body = await body_of(request)
            return web.json_response({"input_tokens": self.call_of(body, self.messages_in(body)).prompt_tokens})
        except Refused as refusal:
            return self.refused(refusal.trouble)

    async def answer(self, request: web.Request, entry: CallEntry, body: Mapping[str, object]) -> web.StreamResponse:
        call = entry.call
        _check(body, call, self.served(call.model))
        trouble = self.strike(call)
        if trouble is not None and not trouble.late:
            raise Refused(trouble)
        stream = await self.begin(request, entry)
        message = self._message(call, body)
        self.leave(entry, "ok" if trouble is None else f"late {trouble.status}", _text(message))
        if stream is not None:
            return await self._stream(stream, message, trouble)
        return web.json_response(message if trouble is None else self.error(trouble))

    def _message(self, call: ChatCall, body: Mapping[str, object]) -> dict[str, object]:
        limit = call.max_tokens or 1
        thinks = _thinks(body)
        thought = min(limit, self.thinking_tokens) if thinks else 0
        text, cut = self.answer_to(call, limit - thought) if limit > thought else ("", True)
        declined = bool(self.refuses) and self.refuses in call.text
        if declined:
            text, cut = "", False
        cached, written = self._prefixes.read(call.model, _marks(body))
        output = max(1, count_tokens(text)) + thought if text else max(1, thought)
        tokens = Tokens(max(0, call.prompt_tokens - cached - written), output, cached, written, thought)
        self.charge(call, tokens)
        content: list[dict[str, object]] = []
        if thinks:
            content.append({"type": "thinking", "thinking": "Let me think. " * 3, "signature": "c2lnbmVk"})
        if text:
            content.append({"type": "text", "text": text})
        reason = "refusal" if declined else "max_tokens" if cut else "end_turn"
        return {
            "id": f"msg_{call.number:08}",
            "type": "message",
            "role": "assistant",
            "model": call.model,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": _usage(tokens),
        }

    async def _stream(
        self, response: web.StreamResponse, message: Mapping[str, object], trouble: Trouble | None
    ) -> web.StreamResponse:
        for name, data in halves(list(_events(message)), whole=trouble is None):
            await response.write(event_bytes(name, data))
        if trouble is not None:
            await response.write(event_bytes("error", self.error(trouble)))
        await response.write_eof()
        return response

    def messages_in(self, body: Mapping[str, object]) -> tuple[tuple[str, object], ...]:
        """The prompt as texts: the system's first."""
        listed = body.get("messages")
        if not isinstance(listed, list) or not listed:
            raise Refused(Trouble(400, _REFUSED, "messages: at least one message is required"))
        system = [("system", _content(body["system"]))] if body.get("system") else []
        return (*system, *((str(message.get("role")), _content(message.get("content"))) for message in listed))

    def authenticate(self, request: web.Request) -> None:
        # The API reference says x-api-key; Anthropic's SDK sends a bearer.
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        presented = request.headers.get("x-api-key", bearer)
        if presented != self.key:
            # Some servers repeat what they were given.
            raise Refused(Trouble(401, "authentication_error", f"invalid x-api-key: {presented}"))
        if "anthropic-version" not in request.headers:
            raise Refused(Trouble(400, _REFUSED, "anthropic-version: header is required"))


def _content(content: object) -> str:
    if isinstance(content, str):
        return content
    return "".join(str(block.get("text", "")) for block in content) if isinstance(content, list) else ""


def _check(body: Mapping[str, object], call: ChatCall, model: ServedModel) -> None:
    """Refuses what the API refuses."""
    if not isinstance(call.max_tokens, int) or call.max_tokens < 1:
        raise Refused(Trouble(400, _REFUSED, "max_tokens: Field required"))
    roles = [role for role, _ in call.messages if role != "system"]
    if roles[0] != "user" or not set(roles) <= {"user", "assistant"}:
        raise Refused(Trouble(400, _REFUSED, "messages: first message must use the user role"))
    if len(_blocks_marked(body)) > _MAX_MARKS:
        raise Refused(Trouble(400, _REFUSED, "A maximum of 4 blocks with cache_control may be provided"))
    if "temperature" in body and (not model.sampling or _thinks(body)):
        raise Refused(Trouble(400, _REFUSED, "temperature: is not supported by this model"))
    thinking = body.get("thinking")
    if isinstance(thinking, dict) and thinking.get("type") == "enabled":
        budget = thinking.get("budget_tokens")
        if not isinstance(budget, int) or not _MIN_BUDGET <= budget < call.max_tokens:
            raise Refused(Trouble(400, _REFUSED, "thinking.budget_tokens: must be ≥ 1024 and below max_tokens"))
    if problem := anthropic_problem(body.get("output_config")):
        raise Refused(Trouble(400, _REFUSED, problem))
    if call.prompt_tokens > model.window:
        message = f"prompt is too long: {call.prompt_tokens} tokens > {model.window} maximum"
        raise Refused(Trouble(400, _REFUSED, message))


def _thinks(body: Mapping[str, object]) -> bool:
    thinking = body.get("thinking")
    return isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive")


def _blocks(body: Mapping[str, object]) -> list[Mapping[str, object]]:
    """All blocks of a prompt, in the order in which they are read."""
    listed = body.get("messages")
    messages = listed if isinstance(listed, list) else []
    contents = [body.get("system"), *(message.get("content") for message in messages)]
    blocks: list[Mapping[str, object]] = []
    for content in contents:
        if isinstance(content, str):
            blocks.append({"text": content})
        elif isinstance(content, list):
            blocks += content
    return blocks


def _blocks_marked(body: Mapping[str, object]) -> list[Mapping[str, object]]:
    return [block for block in _blocks(body) if block.get("cache_control")]


def _marks(body: Mapping[str, object]) -> list[tuple[str, int]]:
    """The prompt up to each mark, and its tokens."""
    marks: list[tuple[str, int]] = []
    text = ""
    for block in _blocks(body):
        text += str(block.get("text", ""))
        if block.get("cache_control"):
            marks.append((text, count_tokens(text)))
    return marks


def _usage(tokens: Tokens) -> dict[str, object]:
    return {
        "input_tokens": tokens.plain,
        "cache_creation_input_tokens": tokens.written,
        "cache_read_input_tokens": tokens.cached,
        "output_tokens": tokens.output,
        "output_tokens_details": {"thinking_tokens": tokens.thought},
        "service_tier": "standard",
    }


def _text(message: Mapping[str, object]) -> str:
    content = message["content"]
    assert isinstance(content, list)
    return "".join(str(block.get("text", "")) for block in content)


def _events(message: Mapping[str, object]) -> Iterable[tuple[str, object]]:
    usage, content = message["usage"], message["content"]
    assert isinstance(usage, dict)
    assert isinstance(content, list)
    read = {name: value for name, value in usage.items() if name != "output_tokens_details"}
    begun = {**message, "content": [], "stop_reason": None, "usage": {**read, "output_tokens": 1}}
    yield "message_start", {"type": "message_start", "message": begun}
    yield "ping", {"type": "ping"}
    for index, block in enumerate(content):
        yield from _block_events(index, block)
    last = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    told = {name: usage[name] for name in ("output_tokens", "output_tokens_details")}
    yield "message_delta", {"type": "message_delta", "delta": last, "usage": told}
    yield "message_stop", {"type": "message_stop"}


def _block_events(index: int, block: Mapping[str, object]) -> Iterable[tuple[str, object]]:
    thinks = block["type"] == "thinking"
    empty = {"type": "thinking", "thinking": "", "signature": ""} if thinks else {"type": "text", "text": ""}
    yield "content_block_start", {"type": "content_block_start", "index": index, "content_block": empty}
    kind, name = ("thinking_delta", "thinking") if thinks else ("text_delta", "text")
    deltas: Sequence[dict[str, object]] = [{"type": kind, name: piece} for piece in _pieces(str(block[name]))]
    if thinks:
        deltas = [*deltas, {"type": "signature_delta", "signature": block["signature"]}]
    for delta in deltas:
        yield "content_block_delta", {"type": "content_block_delta", "index": index, "delta": delta}
    yield "content_block_stop", {"type": "content_block_stop", "index": index}


def _pieces(text: str) -> list[str]:
    return [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)]

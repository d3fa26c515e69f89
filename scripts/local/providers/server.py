"""A provider's stand-in: a script that is played over the provider's own HTTP, and a bill of every answer."""

from __future__ import annotations

import asyncio
import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from aiohttp import web

from scripts.local.scripted.calls import CallEntry, ChatCall, Reply, cut_to_tokens, digest_of
from scripts.local.scripted.rules import nothing_found
from scripts.local.scripted.serving import ServedScript

from .served import Charge, Refused, ServedModel, Tokens, Trouble

_MAX_BODY_BYTES = 1 << 27


class ProviderServer(ServedScript):
    """Serves at `url`, the base URL that the provider's own SDK takes; `key` opens it.

    `thinking_tokens` is what a model that is told to think uses up before it says a word.
    """

    def __init__(self, *, key: str, models: Mapping[str, ServedModel], port: int = 0) -> None:
        self.models = dict(models)
        self.key = key
        self.thinking_tokens = 0
        self.charges: list[Charge] = []
        self._troubles: list[Trouble] = []
        self._struck: Counter[int] = Counter()
        super().__init__(port=port)

    def reset(self) -> None:
        super().reset()
        self.charges, self.troubles, self.thinking_tokens = [], [], 0

    @property
    def troubles(self) -> Sequence[Trouble]:
        return self._troubles

    @troubles.setter
    def troubles(self, troubles: Sequence[Trouble]) -> None:
        self._troubles, self._struck = list(troubles), Counter()

    def charged(self, model: str | None = None) -> float:
        """US dollars for all answers, or for those of one model."""
        return sum(charge.usd for charge in self.charges if model in (None, charge.model))

    @abstractmethod
    def routes(self) -> Iterable[web.RouteDef]:
        """The provider's own routes."""

    @abstractmethod
    def authenticate(self, request: web.Request) -> None:
        """Raises `Refused` for a request without the key."""

    @abstractmethod
    def messages_in(self, body: Mapping[str, object]) -> tuple[tuple[str, object], ...]:
        """Role and content of each message; raises `Refused` for what is none."""

    @abstractmethod
    async def answer(self, request: web.Request, entry: CallEntry, body: Mapping[str, object]) -> web.StreamResponse:
        """The answer to a call; raises `Refused`."""

    @abstractmethod
    def error(self, trouble: Trouble) -> dict[str, object]:
        """The body of a refusal."""

    # One request, from its body to its answer.

    def call_of(self, body: Mapping[str, object], messages: tuple[tuple[str, object], ...]) -> ChatCall:
        model = str(body.get("model", ""))
        digest = digest_of(model, messages)
        return ChatCall(
            number=len(self.calls) + 1,
            attempt=self.attempt(digest),
            model=model,
            messages=messages,
            params={name: value for name, value in body.items() if name not in {"messages", "model"}},
            options={},
            digest=digest,
        )

    def strike(self, call: ChatCall) -> Trouble | None:
        """The first trouble that a call falls under, counted."""
        for index, trouble in enumerate(self._troubles):
            if (trouble.times is None or self._struck[index] < trouble.times) and trouble.concerns(call):
                self._struck[index] += 1
                return trouble
        return None

    def served(self, name: str) -> ServedModel:
        """The model of that name; a dated version is the same model."""
        known = next((model for model in self.models if name == model or name.startswith(f"{model}-20")), None)
        if known is None:
            raise Refused(Trouble(404, "not_found_error", f"model: {name}"))
        return self.models[known]

    def answer_to(self, call: ChatCall, limit: int) -> tuple[str, bool]:
        """The words within that many tokens, and whether they were cut."""
        for rule in self.rules:
            found = rule(call)
            if found is not None:
                content = found.content if isinstance(found, Reply) else found
                return cut_to_tokens(str(content), limit)
        return cut_to_tokens(nothing_found(call), limit)

    def charge(self, call: ChatCall, tokens: Tokens) -> float:
        """Writes an answer down on the bill; gives its US dollars."""
        usd = tokens.usd(self.served(call.model))
        self.charges.append(Charge(call.model, tokens, usd))
        return usd

    async def begin(self, request: web.Request, entry: CallEntry) -> web.StreamResponse | None:
        """Takes its time; the headers of a stream come before that."""
        stream = None
        if entry.call.streams:
            stream = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
            await stream.prepare(request)
        await asyncio.sleep(self.latency(entry.call) if callable(self.latency) else self.latency)
        return stream

    def refused(self, trouble: Trouble) -> web.Response:
        return web.json_response(self.error(trouble), status=trouble.status, headers=dict(trouble.headers))

    async def play(self, request: web.Request) -> web.StreamResponse:
        """Answers a request for a completion."""
        try:
            self.authenticate(request)
            body = await body_of(request)
            call = self.call_of(body, self.messages_in(body))
        except Refused as refusal:
            return self.refused(refusal.trouble)
        entry, _ = self.enter(call)
        try:
            return await self.answer(request, entry, body)
        except Refused as refusal:
            self.leave(entry, f"error {refusal.trouble.status}")
            return self.refused(refusal.trouble)
        except (asyncio.CancelledError, ConnectionError):
            self.leave(entry, "cancelled")
            raise

    def app(self) -> web.Application:
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        app.add_routes(self.routes())
        return app


def halves(events: Sequence[tuple[str, object]], *, whole: bool) -> Iterator[tuple[str, object]]:
    """All events, or the first half of them."""
    yield from events if whole else events[: max(1, len(events) // 2)]


def event_bytes(name: str, data: object) -> bytes:
    """One server-sent event; without a name, its data alone."""
    text = data if isinstance(data, str) else json.dumps(data)
    return f"{f'event: {name}{chr(10)}' if name else ''}data: {text}\n\n".encode()


async def body_of(request: web.Request) -> dict[str, object]:
    """The request's JSON; raises `Refused`."""
    try:
        body = json.loads(await request.read())
    except ValueError:
        raise Refused(Trouble(400, "invalid_request_error", "the body is not JSON")) from None
    if not isinstance(body, dict):
        raise Refused(Trouble(400, "invalid_request_error", "the body is not an object"))
    return body

"""Providers that are reached over HTTP, with a key of the deployment's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import js
from pyodide.ffi import JsException, to_js

from rlm_worker.adapters.bindings import first_line, look_for_end, variable
from rlm_worker.errors import ModelError, RetryableError, TerminalError
from rlm_worker.messages import ModelReply, ModelRequest
from rlm_worker.ports import DeltaSink, Provider

from .answers import Answer, Shape
from .chat_shape import ChatShape
from .failures import http_failure
from .messages_shape import MessagesShape
from .secrets import redacted
from .streams import event_object, read_stream

Answered = TypeVar("Answered")
_OPENROUTER = "openrouter.ai"
_ANTHROPIC_VERSION = "2023-06-01"
_READ_HEADERS = ("retry-after", "retry-after-ms", "x-should-retry", "content-type")


class DirectModel:
    """The `Model` port on one provider.

    `secret_names` are those of all providers: read for each call, and taken out of what this one says of errors.
    """

    def __init__(self, env: Any, provider: Provider, secret_names: Iterable[str]) -> None:
        self._env = env
        self._provider = provider
        self._secret_names = tuple(secret_names)
        self._shape = _shape(provider)

    async def complete(self, request: ModelRequest, deltas: DeltaSink | None = None) -> ModelReply:
        return await self._guarded(lambda secrets, signal: self._asked(request, deltas, secrets, signal))

    async def check(self) -> None:
        """Raises `ModelError` where the provider cannot be reached or refuses the key; nothing is paid for that."""
        await self._guarded(self._listed)

    async def _guarded(self, ask: Callable[[Mapping[str, str], Any], Awaitable[Answered]]) -> Answered:
        """What a question brings, given up where nobody waits for it; no secret is in what is raised."""
        secrets = {name: variable(self._env, name) or "" for name in self._secret_names}
        abort = js.AbortController.new()
        try:
            return await ask(secrets, abort.signal)
        except ModelError as error:
            error.args = tuple(redacted(str(argument), secrets.values()) for argument in error.args)
            raise
        except (JsException, OSError) as error:
            look_for_end(error)
            message = redacted(f"{self._provider.name} cannot be reached: {first_line(error)}", secrets.values())
            raise RetryableError(message, fallback=True) from None
        except asyncio.CancelledError:
            abort.abort()  # nobody waits for the answer any more: the model need not write it
            raise

    async def _asked(
        self, request: ModelRequest, deltas: DeltaSink | None, secrets: Mapping[str, str], signal: Any
    ) -> ModelReply:
        streams = deltas is not None or self._provider.streams
        body = json.dumps(self._shape.body(request, stream=streams), ensure_ascii=False)
        response = await js.fetch(self._url(), self._options(body, secrets, signal))
        if int(response.status) != 200:
            text = redacted(str(await response.text()), secrets.values())
            raise http_failure(self._provider.name, int(response.status), _headers(response), text)
        answer = Answer(request, deltas)
        if streams and "event-stream" in _headers(response).get("content-type", ""):
            return await read_stream(response.body, self._shape, answer)
        return self._whole(event_object(str(await response.text())), answer)

    async def _listed(self, secrets: Mapping[str, str], signal: Any) -> None:
        options = self._options(None, secrets, signal)
        response = await js.fetch(f"{self._provider.url}{self._free_path()}", options)
        text = redacted(str(await response.text()), secrets.values())
        if int(response.status) != 200:
            raise http_failure(self._provider.name, int(response.status), _headers(response), text)

    def _free_path(self) -> str:
        """What costs nothing and needs the key; OpenRouter lists its models to everybody."""
        if self._provider.type == "anthropic":
            return "/v1/models"
        return "/key" if urlsplit(self._provider.url).hostname == _OPENROUTER else "/models"

    def _whole(self, body: Mapping[str, object], answer: Answer) -> ModelReply:
        if (error := self._shape.error(body)) is not None:
            raise error
        if not body:
            raise answer.broken(": it is not JSON")
        self._shape.take(answer, body)
        return answer.reply()

    def _url(self) -> str:
        path = "/v1/messages" if self._provider.type == "anthropic" else "/chat/completions"
        return f"{self._provider.url}{path}"

    def _options(self, body: str | None, secrets: Mapping[str, str], signal: Any) -> Any:
        options = js.Object.new()
        options.method = "GET" if body is None else "POST"
        options.headers = to_js(self._request_headers(secrets), dict_converter=js.Object.fromEntries)
        if body is not None:
            options.body = body
        options.signal = signal
        options.redirect = "manual"  # a key goes where ops have sent it, and nowhere else
        return options

    def _request_headers(self, secrets: Mapping[str, str]) -> dict[str, str]:
        provider = self._provider
        headers = {"content-type": "application/json"}
        if provider.type == "anthropic":
            headers["anthropic-version"] = _ANTHROPIC_VERSION
        if provider.key:
            name, scheme = ("x-api-key", "") if provider.type == "anthropic" else ("authorization", "Bearer ")
            headers[name] = f"{scheme}{_present(provider.key, secrets)}"
        if provider.gateway_key:
            headers["cf-aig-authorization"] = f"Bearer {_present(provider.gateway_key, secrets)}"
        return headers


def _present(name: str, secrets: Mapping[str, str]) -> str:
    """A secret, which may have been taken away since the run was begun."""
    if not secrets[name]:
        raise TerminalError(f"the secret {name} is not set: wrangler secret put {name}", unavailable=True)
    return secrets[name].strip()


def _shape(provider: Provider) -> Shape:
    if provider.type == "anthropic":
        return MessagesShape(provider.name, provider.body)
    return ChatShape(
        provider.name,
        provider.output_limit,
        provider.body,
        reports_cost=True,
        cache_key_field=provider.cache_key_field,
    )


def _headers(response: Any) -> dict[str, str]:
    """Those that are read, in lower case."""
    found = {name: response.headers.get(name) for name in _READ_HEADERS}
    return {name: str(value) for name, value in found.items() if isinstance(value, str)}

"""`/v1`: what OpenAI's clients call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol
from urllib.parse import unquote

from rlm_worker.errors import MethodNotAllowed, NotFound
from rlm_worker.http import SSE_HEADERS, HttpRequest, HttpResponse, check_json_bytes, read_body, require_json
from rlm_worker.ports import Clock
from rlm_worker.runs.job import Job
from rlm_worker.settings import Settings
from rlm_worker.wire.requests import RunRequest
from rlm_worker.wire.results import ErrorBody, RunResult

from .chat import completion, run_request
from .errors import RunFailed
from .models import model_entry, model_list
from .schemas import ChatRequest, parse_chat
from .stream import ChatHead, whole_stream

_PRIVATE = {"cache-control": "no-store"}
_MODEL_PREFIX = "/v1/models/"


class Streams(Protocol):
    """Gives a session's events in a form of the caller's choice."""

    async def stream(self, session_id: str, method: str, *arguments: object) -> object: ...


class Front(Protocol):
    """What `/v1` needs of the Worker's own routes."""

    @property
    def settings(self) -> Settings: ...

    @property
    def sessions(self) -> Streams: ...

    @property
    def clock(self) -> Clock: ...

    def owner(self, request: HttpRequest, entry: dict[str, object]) -> str: ...

    async def identified(self, request: HttpRequest, entry: dict[str, object]) -> str: ...

    async def ask(
        self, wanted: RunRequest, owner: str, idempotency_key: str | None, entry: dict[str, object]
    ) -> tuple[Job, RunResult | None]: ...


async def openai_route(front: Front, request: HttpRequest, entry: dict[str, object]) -> HttpResponse:
    """Answers a request under /v1; raises the errors of every other route."""
    if request.path == "/v1/chat/completions":
        return await _only("POST", request, lambda: _chat(front, request, entry))
    if request.path == "/v1/models":
        return await _only("GET", request, lambda: _models(front, request, entry))
    if request.path.startswith(_MODEL_PREFIX):
        name = unquote(request.path.removeprefix(_MODEL_PREFIX))
        return await _only("GET", request, lambda: _model(front, request, name, entry))
    raise NotFound(f"there is no route {request.path[:200]}")


async def _chat(front: Front, request: HttpRequest, entry: dict[str, object]) -> HttpResponse:
    owner = await front.identified(request, entry)
    require_json(request.headers)
    body = await read_body(request, front.settings.max_body_bytes, front.settings.body_idle_seconds)
    check_json_bytes(body)
    chat = parse_chat(body)
    wanted = run_request(chat, front.settings.defaults, front.settings.catalog)
    job, result = await front.ask(wanted, owner, request.headers.get("idempotency-key"), entry)
    created = int(front.clock.now())
    if chat.stream:
        return await _streamed(front, chat, job, result, created)
    assert result is not None
    if not result.success:
        raise RunFailed(result.error or ErrorBody(type="internal_error", message="the run brought no answer"))
    return HttpResponse.of_json_text(200, completion(result, job, created).model_dump_json(), _PRIVATE)


async def _streamed(front: Front, chat: ChatRequest, job: Job, result: RunResult | None, created: int) -> HttpResponse:
    wants_usage = chat.stream_options is not None and chat.stream_options.include_usage
    head = ChatHead.of(job, created, include_usage=wants_usage)
    if result is not None:
        return HttpResponse(200, whole_stream(head, result).encode(), dict(SSE_HEADERS))
    stream = await front.sessions.stream(job.session_id, "chat", job.owner, head.model_dump_json())
    return HttpResponse(200, stream, dict(SSE_HEADERS))


async def _models(front: Front, request: HttpRequest, entry: dict[str, object]) -> HttpResponse:
    front.owner(request, entry)
    return HttpResponse.of_json_text(200, model_list(front.settings.catalog).model_dump_json(), _PRIVATE)


async def _model(front: Front, request: HttpRequest, name: str, entry: dict[str, object]) -> HttpResponse:
    front.owner(request, entry)
    found = model_entry(name, front.settings.catalog, front.settings.defaults)
    return HttpResponse.of_json_text(200, found.model_dump_json(), _PRIVATE)


async def _only(method: str, request: HttpRequest, handler: Callable[[], Awaitable[HttpResponse]]) -> HttpResponse:
    if request.method != method:
        raise MethodNotAllowed([method])
    return await handler()

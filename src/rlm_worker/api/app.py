"""Parse, call, respond: every route of the Worker, and the one table from errors to statuses."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from rlm_worker import __version__
from rlm_worker.batches.routes import Batches, batch_route
from rlm_worker.budget.funding import Unlimited
from rlm_worker.errors import FieldProblem, InvalidRequest, MethodNotAllowed, NotFound, RateLimited, RLMError
from rlm_worker.http import (
    SSE_HEADERS,
    HttpRequest,
    HttpResponse,
    check_json_bytes,
    encode_event,
    in_time,
    read_body,
    require_json,
    require_text,
)
from rlm_worker.log import RequestLog, places
from rlm_worker.openai.errors import openai_error_response
from rlm_worker.openai.routes import openai_route
from rlm_worker.ports import Accounts, Clock, ContextStore, Metrics, RateLimiter, ResultCache
from rlm_worker.runs.job import Job
from rlm_worker.sessions.contexts import checked_name, delete_context, oldest_kept, store_context, stored_context_key
from rlm_worker.sessions.prepare import admit, digest_of
from rlm_worker.sessions.results import as_cache_hit, metrics_point, result_key
from rlm_worker.settings import Settings, public_limits
from rlm_worker.wire.requests import RunRequest, parse_request
from rlm_worker.wire.results import RunResult

from .auth import Unbraked, account_state, check_rate, owner_of
from .cors import cors_headers, preflight
from .openapi import openapi_json

STATUS_OF: Mapping[str, int] = {
    "bad_request": 400,
    "malformed_body": 400,
    "binding_missing": 400,
    "unauthenticated": 401,
    "not_found": 404,
    "method_not_allowed": 405,
    "request_timeout": 408,
    "conflict": 409,
    "payload_too_large": 413,
    "context_too_large": 413,
    "model_input_too_large": 413,
    "unsupported_media_type": 415,
    "invalid_request": 422,
    "usage_limit_exceeded": 422,
    "rate_limited": 429,
    "cancelled": 409,
    "nothing_read": 502,
    "model_error": 502,
    "model_refused": 502,
    "not_configured": 503,
    "storage_unavailable": 503,
    "model_unavailable": 503,
    "internal_error": 500,
}
_CONTEXT_PATH = re.compile(r"^/contexts/(ctx_[0-9a-f]{32})$")
_SESSION_PATH = re.compile(r"^/session/([0-9a-f]{32})(?:/(status|result|events|trajectory))?$")
_EVENT_ID = re.compile(r"^[0-9]{1,15}$")
_PRIVATE = {"cache-control": "no-store"}


class Sessions(Protocol):
    """Calls sessions by id; raises errors with the type that they had there."""

    async def call(self, session_id: str, method: str, *arguments: object) -> object: ...

    async def stream(self, session_id: str, method: str, *arguments: object) -> object: ...


class Probes(Protocol):
    """Exercises each binding; gives what is wrong with it, None where nothing is."""

    async def check(self) -> Mapping[str, str | None]: ...


@dataclass(frozen=True, slots=True)
class Api:
    """The Worker's routes over its ports."""

    settings: Settings
    sessions: Sessions
    store: ContextStore
    cache: ResultCache
    metrics: Metrics
    probes: Probes
    clock: Clock
    accounts: Accounts = field(default_factory=Unlimited)
    limiter: RateLimiter = field(default_factory=Unbraked)
    batches: Batches | None = None
    log: RequestLog = field(default_factory=RequestLog)

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Answers one request; an error becomes the one error form with its status."""
        entry = self.log.begin(request, self.clock.now())
        try:
            response = preflight(request, self.settings.cors_origins) or await self._route(request, entry)
        except RLMError as error:
            response = _refused(request, error)
            entry["error"] = error.type
        except Exception as error:  # noqa: BLE001 - the caller gets the one error form, the log gets the place
            response = _refused(request, RLMError("something went wrong on our side"))
            entry["error"] = f"internal_error: {type(error).__name__}"
            entry["trace"] = places(error)
        response = self._finished(request, response, entry)
        self.log.write(entry, response.status, self.clock.now())
        return response

    async def _route(self, request: HttpRequest, entry: dict[str, object]) -> HttpResponse:
        if request.path == "/health":
            return await _by_method(request, {"GET": lambda: self._health(request, entry)})
        if request.path == "/rlm":
            return await _by_method(request, {"POST": lambda: self._rlm(request, entry)})
        if request.path == "/contexts":
            return await _by_method(request, {"PUT": lambda: self._upload(request, entry)})
        if match := _CONTEXT_PATH.match(request.path):
            context_id = match[1]
            return await _by_method(request, {"DELETE": lambda: self._delete_context(request, context_id, entry)})
        if match := _SESSION_PATH.match(request.path):
            return await self._session(request, match[1], match[2] or "", entry)
        for prefix, route in _FAMILIES:
            if request.path.startswith(prefix):
                return await route(self, request, entry)
        if request.path == "/openapi.json":
            return await _by_method(request, {"GET": _openapi})
        raise NotFound(f"there is no route {request.path[:200]}")

    # The routes.

    async def _health(self, request: HttpRequest, entry: dict[str, object]) -> HttpResponse:
        known: dict[str, object] = {"status": "ok", "service": "rlm-worker", "version": __version__}
        owner = self._known_owner(request)
        if owner is not None:
            known["limits"] = public_limits(self.settings)
            if account := await account_state(self.accounts, owner):
                known["account"] = account
        if request.query.get("deep") not in ("1", "true"):
            return HttpResponse.of_json(200, known, _PRIVATE)
        await self.identified(request, entry)  # the probes cost money, and what they say is for ops
        checks = await self.probes.check()
        failing = sorted(name for name, problem in checks.items() if problem)
        known["bindings"] = {name: problem or "ok" for name, problem in checks.items()}
        if not failing:
            return HttpResponse.of_json(200, known, _PRIVATE)
        return HttpResponse.of_json(503, {**known, "status": "failing", "failing": failing}, _PRIVATE)

    async def _rlm(self, request: HttpRequest, entry: dict[str, object]) -> HttpResponse:
        owner = await self.identified(request, entry)
        require_json(request.headers)
        body = await read_body(request, self.settings.max_body_bytes, self.settings.body_idle_seconds)
        check_json_bytes(body)
        wanted = parse_request(body, self.settings.defaults)
        del body
        wanted = _as_asked(request, wanted)
        job, result = await self.ask(wanted, owner, request.headers.get("idempotency-key"), entry)
        if result is not None:
            return _answered(wanted, result)
        if wanted.background:
            return _accepted(job.session_id)
        stream = await self.sessions.stream(job.session_id, "events", job.owner, 0)
        return HttpResponse(200, stream, dict(SSE_HEADERS))

    async def _upload(self, request: HttpRequest, entry: dict[str, object]) -> HttpResponse:
        owner = await self.identified(request, entry)
        require_text(request.headers)
        limit = self.settings.max_context_bytes
        name = checked_name(request.query.get("name"))
        body = in_time(request.body, self.settings.body_idle_seconds)
        stored = await store_context(body, owner, self.store, self.clock, limit=limit, name=name)
        return HttpResponse.of_json(201, stored.model_dump(by_alias=True), _PRIVATE)

    async def _run(self, job: Job, content: list[bytes], method: str) -> RunResult | None:
        sent = job.model_dump_json(by_alias=True, exclude_none=True)
        answer = await self.sessions.call(job.session_id, method, sent, job.context_key is None)
        if answer == "needs_context":
            await self.store.write(job.context_key or "", _each(content))
            answer = await self.sessions.call(job.session_id, method, sent, True)
        return RunResult.model_validate(answer) if isinstance(answer, dict) else None

    async def _delete_context(self, request: HttpRequest, context_id: str, entry: dict[str, object]) -> HttpResponse:
        owner = await self.identified(request, entry)
        kept_since = oldest_kept(self.settings, self.clock.now())
        await delete_context(stored_context_key(owner, context_id), self.store, kept_since=kept_since)
        return HttpResponse(204, b"")

    async def _session(
        self, request: HttpRequest, session_id: str, part: str, entry: dict[str, object]
    ) -> HttpResponse:
        owner = self.owner(request, entry)
        entry["sessionId"] = session_id
        if not part:
            return await _by_method(request, {"DELETE": lambda: self._delete(session_id, owner)})
        routes = {
            "status": lambda: self._status(session_id, owner),
            "result": lambda: self._result(session_id, owner),
            "events": lambda: self._events(request, session_id, owner),
            "trajectory": lambda: self._trajectory(session_id, owner),
        }
        return await _by_method(request, {"GET": routes[part]})

    async def _status(self, session_id: str, owner: str) -> HttpResponse:
        return HttpResponse.of_json(200, await self.sessions.call(session_id, "status", owner), _PRIVATE)

    async def _result(self, session_id: str, owner: str) -> HttpResponse:
        found = await self.sessions.call(session_id, "result", owner)
        if found is None:
            return _accepted(session_id)
        return result_response(RunResult.model_validate(found))

    async def _events(self, request: HttpRequest, session_id: str, owner: str) -> HttpResponse:
        last = request.headers.get("last-event-id", request.query.get("after", "0"))
        if not _EVENT_ID.match(last):
            raise InvalidRequest([FieldProblem("Last-Event-ID", "must be the id of an event")])
        stream = await self.sessions.stream(session_id, "events", owner, int(last))
        return HttpResponse(200, stream, dict(SSE_HEADERS))

    async def _trajectory(self, session_id: str, owner: str) -> HttpResponse:
        calls = await self.sessions.call(session_id, "trajectory", owner)
        return HttpResponse.of_json(200, {"sessionId": session_id, "calls": calls}, _PRIVATE)

    async def _delete(self, session_id: str, owner: str) -> HttpResponse:
        await self.sessions.call(session_id, "remove", owner)
        return HttpResponse(204, b"")

    # What they share.

    async def identified(self, request: HttpRequest, entry: dict[str, object]) -> str:
        """The name of the key that a request to a paid route carries; raises `RateLimited` where it asks too often."""
        owner = self.owner(request, entry)
        if self.settings.keys:
            await check_rate(self.limiter, owner)
        return owner

    async def ask(
        self, wanted: RunRequest, owner: str, idempotency_key: str | None, entry: dict[str, object]
    ) -> tuple[Job, RunResult | None]:
        """Begins or joins a run; its result, or None where it goes on and this request does not wait for it."""
        job, content = await admit(wanted, owner, self.settings, self.store, idempotency_key, now=self.clock.now())
        entry["sessionId"] = job.session_id
        result = await self.outcome(job, content, waits=not (wanted.stream or wanted.background))
        entry.update(_numbers(result) if result is not None else {"status": "running"})
        return job, result

    async def outcome(self, job: Job, content: list[bytes], *, waits: bool) -> RunResult | None:
        """The result of a job, cached or run; None where it goes on and nobody waits for it here."""
        result = await self._cached(job)
        if result is None:
            return await self._run(job, content, "run" if waits else "start")
        self.metrics.record(metrics_point(job, result))
        return result

    async def ended(self, job: Job) -> RunResult | None:
        """The result of a job that has ended well before, with what it cost then."""
        try:
            found = await self.sessions.call(job.session_id, "result", job.owner)
        except RLMError as error:
            if error.type == NotFound.type:
                return None
            raise
        result = RunResult.model_validate(found) if found else None
        return result if result is not None and result.success else None

    def owner(self, request: HttpRequest, entry: dict[str, object]) -> str:
        """The name of the key that a request carries; for routes that cost nothing."""
        owner = owner_of(request.headers, self.settings.keys, local=self.settings.local)
        entry["key"] = owner
        return owner

    def _known_owner(self, request: HttpRequest) -> str | None:
        try:
            return owner_of(request.headers, self.settings.keys, local=self.settings.local)
        except RLMError:
            return None

    async def _cached(self, job: Job) -> RunResult | None:
        if not job.config.use_cache:
            return None
        text = await self.cache.get(result_key(job.session_id))
        found = _parsed_result(text)
        if found is None or json.loads(text or "{}").get("digest") != digest_of(job):
            return None
        return as_cache_hit(found)

    def _finished(self, request: HttpRequest, response: HttpResponse, entry: dict[str, object]) -> HttpResponse:
        always = {"x-content-type-options": "nosniff", "x-request-id": str(entry["requestId"])}
        headers = {**_PRIVATE, **response.headers, **always, **cors_headers(request, self.settings.cors_origins)}
        return HttpResponse(response.status, response.body, headers)


_Route = Callable[[Api, HttpRequest, dict[str, object]], Awaitable[HttpResponse]]
# Routes that live in modules of their own.
_FAMILIES: tuple[tuple[str, _Route], ...] = (("/rlm/batch", batch_route), ("/v1/", openai_route))


def error_response(error: RLMError) -> HttpResponse:
    """The one error form, with the status that belongs to its type."""
    body: dict[str, object] = {"type": error.type, "message": str(error)}
    headers = dict(_PRIVATE)
    if isinstance(error, InvalidRequest):
        body["detail"] = [{"path": problem.path, "message": problem.message} for problem in error.problems]
    if isinstance(error, MethodNotAllowed):
        headers["allow"] = ", ".join(error.allowed)
    if isinstance(error, RateLimited):
        headers["retry-after"] = str(error.retry_after)
    if error.type == "unauthenticated":
        headers["www-authenticate"] = "Bearer"
    return HttpResponse.of_json(STATUS_OF.get(error.type, 500), {"success": False, "error": body}, headers)


def result_response(result: RunResult) -> HttpResponse:
    """A result with the status that belongs to it."""
    status = 200 if result.success else STATUS_OF.get(result.error.type if result.error else "", 500)
    retry_after = result.error.retry_after if result.error else None
    headers = _PRIVATE if retry_after is None else {**_PRIVATE, "retry-after": str(retry_after)}
    return HttpResponse.of_json_text(status, result.to_json(), headers)


def _refused(request: HttpRequest, error: RLMError) -> HttpResponse:
    """An error in the form of the route that it belongs to."""
    response = error_response(error)
    if request.path.startswith("/v1/"):
        return openai_error_response(error, response.status, response.headers)
    return response


def _answered(wanted: RunRequest, result: RunResult) -> HttpResponse:
    if not wanted.stream:
        return result_response(result)
    session = json.dumps({"sessionId": result.session_id})
    kind = "result" if result.success else "error"
    events = encode_event(1, "session", session) + encode_event(2, kind, result.to_json())
    return HttpResponse(200, events.encode(), dict(SSE_HEADERS))


async def _openapi() -> HttpResponse:
    return HttpResponse.of_json_text(200, openapi_json())


async def _by_method(
    request: HttpRequest, handlers: Mapping[str, Callable[[], Awaitable[HttpResponse]]]
) -> HttpResponse:
    handler = handlers.get(request.method)
    if handler is None:
        raise MethodNotAllowed(list(handlers))
    return await handler()


def _as_asked(request: HttpRequest, wanted: RunRequest) -> RunRequest:
    """A caller may ask for events by header too."""
    if "text/event-stream" in request.headers.get("accept", ""):
        return wanted.model_copy(update={"stream": True})
    return wanted


def _accepted(session_id: str) -> HttpResponse:
    location = {"location": f"/session/{session_id}/status", **_PRIVATE}
    return HttpResponse.of_json(202, {"success": True, "sessionId": session_id, "status": "running"}, location)


def _parsed_result(text: str | None) -> RunResult | None:
    """A cached result; a corrupt entry is a miss."""
    try:
        parsed = json.loads(text) if text else None
        return RunResult.model_validate(parsed["result"]) if isinstance(parsed, dict) else None
    except (ValueError, KeyError):
        return None


def _numbers(result: RunResult) -> dict[str, object]:
    return {
        "status": "completed" if result.success else "failed",
        "strategy": result.strategy,
        "subCalls": result.sub_calls,
        "costUsd": result.cost_usd,
        "cacheHit": result.cache_hit,
        **({"error": result.error.type} if result.error else {}),
    }


async def _each(parts: list[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part

"""From a request to its handler and back: the table of operations says which route there is, and who may call it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from rlm_worker.anthropic.routes import AnthropicRoutes
from rlm_worker.batches.routes import BatchRoutes
from rlm_worker.errors import MethodNotAllowed, NotFound, RLMError
from rlm_worker.http import Call, Handler, HttpRequest, HttpResponse
from rlm_worker.log import RequestLog, RequestRecord, places
from rlm_worker.openai.routes import OpenAIRoutes
from rlm_worker.ports import Accounts, Keys, ObjectStubs, RateLimiter
from rlm_worker.sessions.runner import Runner

from .admin import AdminRoutes
from .auth import Gate
from .cors import cors_headers, preflight
from .operations import OPERATIONS, Operation
from .responses import refusal_response
from .routing import RoutingRoutes
from .runs import Probes, RunRoutes

_PARAMETER = re.compile(r"\{(\w+)\}")
_MAX_SHOWN_PATH = 200


class Api:
    """The Worker's routes over its ports."""

    def __init__(
        self,
        runner: Runner,
        *,
        accounts: Accounts,
        limiter: RateLimiter,
        probes: Probes,
        keys: Keys,
        admin: AdminRoutes,
        batches: ObjectStubs | None = None,
        log: RequestLog | None = None,
    ) -> None:
        self._settings = runner.settings
        self._clock = runner.clock
        self._gate = Gate(runner.settings, limiter, accounts, keys)
        self._log = log or RequestLog()
        self._handlers: Mapping[str, Handler] = {
            **RunRoutes(runner, self._gate, probes).handlers(),
            **RoutingRoutes(runner.settings).handlers(),
            **BatchRoutes(batches, runner.settings, runner.room).handlers(),
            **OpenAIRoutes(runner).handlers(),
            **AnthropicRoutes(runner).handlers(),
            **admin.handlers(),
        }

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Answers one request; an error becomes the one error form with its status."""
        record = RequestRecord.of(request.method, request.path, request.headers, self._clock.now())
        try:
            response = preflight(request, self._settings.cors_origins) or await self._answered(request, record)
        except RLMError as error:
            response = refusal_response(request, error)
            record.error = error.type
        except Exception as error:  # noqa: BLE001 - the caller gets the one error form, the log gets the place
            response = refusal_response(request, RLMError("something went wrong on our side"))
            record.error, record.trace = f"internal_error: {type(error).__name__}", places(error)
        response = self._finished(request, response, record)
        self._log.write(record, response.status, self._clock.now())
        return response

    async def _answered(self, request: HttpRequest, record: RequestRecord) -> HttpResponse:
        operation, parameters = find_operation(request.method, request.path)
        owner = await self._owner(operation, request, record)
        return await self._handlers[operation.name](Call(request, owner, parameters, record))

    async def _owner(self, operation: Operation, request: HttpRequest, record: RequestRecord) -> str:
        """Whose key a request carries; without one it comes no further than to routes that are open."""
        if operation.access == "open":
            return await self._gate.known_owner(request)
        if operation.access == "key":
            return await self._gate.owner(request, record)
        if operation.access == "admin":
            return await self._gate.admin(request, record)
        return await self._gate.paying_owner(request, record)

    def _finished(self, request: HttpRequest, response: HttpResponse, record: RequestRecord) -> HttpResponse:
        # The one name is the field's, the other Anthropic's, whose clients show it with their errors.
        always = {
            "x-content-type-options": "nosniff",
            "x-request-id": record.request_id,
            "request-id": record.request_id,
        }
        shared = cors_headers(request, self._settings.cors_origins)
        headers = {"cache-control": "no-store", **response.headers, **always, **shared}
        return HttpResponse(response.status, response.body, headers)


@dataclass(frozen=True, slots=True)
class _Route:
    """A path with its parameters as a pattern, and the operations on it by method."""

    pattern: re.Pattern[str]
    operations: dict[str, Operation] = field(default_factory=dict)


def find_operation(method: str, path: str) -> tuple[Operation, Mapping[str, str]]:
    """The operation that answers, with the parameters in the path; raises `NotFound` and `MethodNotAllowed`."""
    for route in _ROUTES:
        match = route.pattern.fullmatch(path)
        if match is None:
            continue
        operation = route.operations.get(method)
        if operation is None:
            raise MethodNotAllowed(list(route.operations))
        return operation, {name: unquote(value) for name, value in match.groupdict().items()}
    raise NotFound(f"there is no route {path[:_MAX_SHOWN_PATH]}")


def _routes() -> list[_Route]:
    routes: dict[str, _Route] = {}
    for operation in OPERATIONS:
        patterns = {parameter.name: parameter.pattern for parameter in operation.parameters}
        pattern = _PARAMETER.sub(lambda match: f"(?P<{match[1]}>{patterns[match[1]]})", operation.path)  # noqa: B023 - used at once
        routes.setdefault(operation.path, _Route(re.compile(pattern))).operations[operation.method] = operation
    return list(routes.values())


_ROUTES = _routes()

"""`GET /openapi.json`: the contract as OpenAPI 3.1, its schemas generated from the models that validate the wire."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from rlm_worker import __version__
from rlm_worker.wire.events import EVENTS

from .operations import OPERATIONS, Operation, Parameter, Reply

_REF = "#/components/schemas/{model}"
_DESCRIPTION = (
    "Answers questions about texts far longer than a model's window. Names on the wire are camelCase; requests may use "
    "snake_case too. A model's failure is never a 500."
)
_EVENTS = "An event's `id` is what `Last-Event-ID` refers to; its data is JSON, by kind of event as in `x-events`."
# One event, in the form of OpenAPI 3.2's `itemSchema`: 3.1 has no word of its own for a stream's parts.
_EVENT_SCHEMA: Mapping[str, object] = {
    "type": "object",
    "description": _EVENTS,
    "properties": {name: {"type": "string"} for name in ("id", "event", "data")},
    "required": ["data"],
}
_HEADERS: Mapping[str, str] = {
    "Location": "where the session's status is",
    "Retry-After": "seconds to wait before asking again",
    "Allow": "the methods that the route takes",
}


@functools.cache
def openapi_json() -> str:
    """The whole document: what callers may ask for."""
    told = (operation for operation in OPERATIONS if operation.access != "admin")
    return json.dumps(document(told), ensure_ascii=False)


def document(operations: Iterable[Operation]) -> dict[str, object]:
    """The document of some operations and of every model that they name."""
    described = list(operations)
    return {
        "openapi": "3.1.0",
        "info": {"title": "rlm-worker", "version": __version__, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"key": []}],
        "paths": _paths(described),
        "components": {
            "schemas": _schemas(described),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _paths(operations: list[Operation]) -> dict[str, dict[str, object]]:
    paths: dict[str, dict[str, object]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return paths


def _operation(operation: Operation) -> dict[str, object]:
    described: dict[str, object] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "responses": {str(reply.status): _response(reply) for reply in operation.replies},
    }
    if operation.parameters:
        described["parameters"] = [_parameter(parameter) for parameter in operation.parameters]
    if operation.body:
        described["requestBody"] = {"required": True, "content": _content(operation.body)}
    if operation.access == "open":
        described["security"] = []
    return described


def _response(reply: Reply) -> dict[str, object]:
    described: dict[str, object] = {"description": reply.description}
    if reply.content:
        described["content"] = _content(reply.content)
    if reply.headers:
        described["headers"] = {
            name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in reply.headers
        }
    return described


def _content(content: Mapping[str, tuple[type[BaseModel], ...]]) -> dict[str, object]:
    return {media: _media(media, models) for media, models in content.items()}


def _media(media: str, models: tuple[type[BaseModel], ...]) -> dict[str, object]:
    if media == "text/event-stream":
        events = {kind: _reference(model) for kind, model in EVENTS.items()}
        last = {"result": {"$ref": _REF.format(model="RunResult")}, "error": {"$ref": _REF.format(model="ErrorAnswer")}}
        described = _EVENT_SCHEMA
        return {"schema": described, "x-events": {**events, **last} if not models else _reference(models[0])}
    if not models:
        return {"schema": {"type": "string" if media.startswith("text/") else "object"}}
    if media == "application/x-ndjson":
        return {"schema": {"type": "string"}, "x-line": _reference(models[0])}
    return {"schema": _reference(models[0]) if len(models) == 1 else {"anyOf": [_reference(model) for model in models]}}


def _parameter(parameter: Parameter) -> dict[str, object]:
    return {
        "in": parameter.place,
        "name": parameter.name,
        "required": parameter.place == "path",
        "description": parameter.description,
        "schema": {"type": "string"},
    }


def _schemas(operations: list[Operation]) -> dict[str, dict[str, object]]:
    contents = [content for operation in operations for content in _contents(operation)]
    named = {model for content in contents for models in content.values() for model in models} | {*EVENTS.values()}
    ordered = sorted(named, key=lambda model: model.__name__)
    _, definitions = models_json_schema([(model, "validation") for model in ordered], ref_template=_REF)
    schemas: dict[str, dict[str, object]] = definitions["$defs"]
    # What a model's own code checks is not in its generated schema.
    schemas["RunRequest"]["oneOf"] = [{"required": [name]} for name in ("context", "contextId", "previousSessionId")]
    schemas["RunRequest"]["anyOf"] = [{"required": [name]} for name in ("query", "table")]
    return schemas


def _contents(operation: Operation) -> list[Mapping[str, tuple[type[BaseModel], ...]]]:
    return [operation.body or {}, *(reply.content for reply in operation.replies)]


def _reference(model: type[BaseModel]) -> dict[str, object]:
    return {"$ref": _REF.format(model=model.__name__)}

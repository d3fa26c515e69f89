"""`/rlm/batch`: many requests at once, answered in their own time."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

from rlm_worker.errors import BindingMissing, Conflict, MethodNotAllowed, NotFound, RLMError, UnsupportedMediaType
from rlm_worker.http import HttpRequest, HttpResponse
from rlm_worker.sessions.prepare import check_idempotency_key
from rlm_worker.settings import Settings
from rlm_worker.wire.batches import BatchAccepted

from .input import BatchInput

_PATH = re.compile(r"^/rlm/batch/([0-9a-f]{32})(/results)?$")
_MEDIA = ("application/json", "application/x-ndjson", "application/jsonl", "application/json-lines", "text/plain")
_PRIVATE = {"cache-control": "no-store"}


class Batches(Protocol):
    """Calls batches by id; raises errors with the type that they had there."""

    async def call(self, batch_id: str, method: str, *arguments: object) -> object: ...

    async def stream(self, batch_id: str, method: str, *arguments: object) -> object: ...


class Front(Protocol):
    """What batches need of the Worker's own routes."""

    @property
    def settings(self) -> Settings: ...

    @property
    def batches(self) -> Batches | None: ...

    def owner(self, request: HttpRequest, entry: dict[str, object]) -> str: ...

    async def identified(self, request: HttpRequest, entry: dict[str, object]) -> str: ...


async def batch_route(front: Front, request: HttpRequest, entry: dict[str, object]) -> HttpResponse:
    """Answers a request under /rlm/batch."""
    match = _PATH.match(request.path)
    if match is None and request.path != "/rlm/batch":
        raise NotFound(f"there is no route {request.path[:200]}")
    if match is None:
        routes: dict[str, _Handler] = {"POST": _submit}
    else:
        routes = {"GET": _results} if match[2] else {"GET": _status, "DELETE": _delete}
    if request.method not in routes:
        raise MethodNotAllowed(list(routes))
    owner = front.owner(request, entry) if match else await front.identified(request, entry)
    if front.batches is None:
        raise BindingMissing("RLM_BATCH_QUEUE", "a batch")
    batch_id = match[1] if match else _batch_id(owner, request.headers.get("idempotency-key"))
    entry["batchId"] = batch_id
    return await routes[request.method](front.batches, batch_id, owner, BatchInput(request, front.settings))


async def _submit(batches: Batches, batch_id: str, owner: str, given: BatchInput) -> HttpResponse:
    _require_media(given.request)
    token = uuid.uuid4().hex
    known = await batches.call(batch_id, "open", batch_id, owner, token)
    try:
        count = 0
        async for group in given.groups():
            if known is None:
                entries = [[entry.body, entry.error] for entry in group]
                await batches.call(batch_id, "add", token, count, json.dumps(entries, ensure_ascii=False))
            count += len(group)
    except BaseException:
        if known is None:
            with suppress(RLMError):
                await batches.call(batch_id, "discard", token)
        raise
    if known is None:
        known = await batches.call(batch_id, "seal", token, given.digest)
    assert isinstance(known, dict)
    if known.pop("digest") != given.digest:
        raise Conflict("this Idempotency-Key was used for a different batch")
    accepted = BatchAccepted.model_validate(known)
    location = {"location": f"/rlm/batch/{batch_id}", **_PRIVATE}
    return HttpResponse.of_json_text(202, accepted.model_dump_json(by_alias=True), location)


async def _status(batches: Batches, batch_id: str, owner: str, _: BatchInput) -> HttpResponse:
    return HttpResponse.of_json(200, await batches.call(batch_id, "status", owner), _PRIVATE)


async def _results(batches: Batches, batch_id: str, owner: str, _: BatchInput) -> HttpResponse:
    stream = await batches.stream(batch_id, "results", owner)
    return HttpResponse(200, stream, {"content-type": "application/x-ndjson; charset=utf-8", **_PRIVATE})


async def _delete(batches: Batches, batch_id: str, owner: str, _: BatchInput) -> HttpResponse:
    await batches.call(batch_id, "remove", owner)
    return HttpResponse(204, b"")


_Handler = Callable[[Batches, str, str, BatchInput], Awaitable[HttpResponse]]


def _batch_id(owner: str, idempotency_key: str | None) -> str:
    check_idempotency_key(idempotency_key)
    if idempotency_key is None:
        return uuid.uuid4().hex
    name = json.dumps(["batch", owner, idempotency_key])
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _require_media(request: HttpRequest) -> None:
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media not in _MEDIA:
        raise UnsupportedMediaType("send Content-Type: application/json or application/x-ndjson")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("compressed bodies are not read: send the body as it is")

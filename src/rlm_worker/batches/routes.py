"""`/rlm/batch`: many requests at once, answered in their own time."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from rlm_worker.errors import BindingMissing, Conflict, RLMError, UnsupportedMediaType
from rlm_worker.http import NDJSON, Call, Handler, HttpRequest, HttpResponse, announced_bytes
from rlm_worker.memory import MIB, SHARED, MemoryBudget
from rlm_worker.ports import ObjectStubs
from rlm_worker.sessions.prepare import check_idempotency_key
from rlm_worker.settings import Settings
from rlm_worker.wire.batches import BatchAccepted

from .input import MAX_BYTES, BatchInput

# What a group of items takes on its way into the batch, in its forms.
_GROUPS_BYTES = 8 * MIB
_MEDIA = ("application/json", "application/x-ndjson", "application/jsonl", "application/json-lines", "text/plain")


@dataclass(frozen=True, slots=True)
class BatchRoutes:
    """Handlers over the batches of a deployment; each is named as its operation."""

    batches: ObjectStubs | None
    settings: Settings
    room: MemoryBudget = SHARED

    def handlers(self) -> Mapping[str, Handler]:
        """By the names of their operations."""
        return {
            "submitBatch": self.submit,
            "batchStatus": self.status,
            "batchResults": self.results,
            "deleteBatch": self.delete,
        }

    async def submit(self, call: Call) -> HttpResponse:
        batches = self._batches()
        batch_id = _batch_id(call.owner, call.request.headers.get("idempotency-key"))
        call.record.batch_id = batch_id
        _require_media(call.request)
        # An array is held whole, of lines a group of them.
        held = await self.room.take(min(self.settings.max_body_bytes, _size(call.request)) + _GROUPS_BYTES)
        try:
            request = replace(call.request, body=held.kept(call.request.body))
            return await _submitted(batches, batch_id, call.owner, BatchInput(request, self.settings))
        finally:
            held.close()

    async def status(self, call: Call) -> HttpResponse:
        return HttpResponse.of_json(200, await self._batches().call(_named(call), "status", call.owner))

    async def results(self, call: Call) -> HttpResponse:
        stream = await self._batches().stream(_named(call), "results", call.owner)
        return HttpResponse(200, stream, {"content-type": f"{NDJSON}; charset=utf-8"})

    async def delete(self, call: Call) -> HttpResponse:
        await self._batches().call(_named(call), "remove", call.owner)
        return HttpResponse(204, b"")

    def _batches(self) -> ObjectStubs:
        if self.batches is None:
            raise BindingMissing("RLM_BATCH_QUEUE", "a batch")
        return self.batches


def _named(call: Call) -> str:
    """The batch that a path names."""
    call.record.batch_id = call.parameters["id"]
    return call.parameters["id"]


async def _submitted(batches: ObjectStubs, batch_id: str, owner: str, given: BatchInput) -> HttpResponse:
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
    return HttpResponse.of_json_text(202, accepted.to_json(), {"location": f"/rlm/batch/{batch_id}"})


def _size(request: HttpRequest) -> int:
    return announced_bytes(request.headers, MAX_BYTES)


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

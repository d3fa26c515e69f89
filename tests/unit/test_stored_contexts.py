"""Contexts that were put are kept for a while, and never taken from who reads them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from rlm_worker.errors import Conflict, InvalidRequest, NotFound
from rlm_worker.sessions.contexts import (
    delete_context,
    lease_key,
    oldest_kept,
    stored_context_key,
    stored_manifest,
)
from rlm_worker.sessions.prepare import prepare_job
from rlm_worker.sessions.uploads import Upload, UploadLimits, store_context
from rlm_worker.settings import Settings
from rlm_worker.testing import ManualClock, MemoryStore
from rlm_worker.text.context import ContextManifest, DocumentInfo, Documents
from rlm_worker.wire.requests import parse_request
from tests.unit.conftest import settings

DAY = 86_400


async def pieces(*texts: bytes) -> AsyncIterator[bytes]:
    for text in texts:
        yield text


async def put(store: MemoryStore, clock: ManualClock) -> str:
    upload = Upload(pieces(b"The sky ", b"is blue."), UploadLimits(100, 1))
    stored = await store_context(upload, "ada", store, clock)
    return stored.context_id


def keeping(days: float) -> Settings:
    return replace(settings(), session_ttl_days=days)


async def admitted(context_id: str, store: MemoryStore, clock: ManualClock, days: float) -> str | None:
    request = parse_request(json.dumps({"contextId": context_id, "query": "why?"}))
    job, _ = await prepare_job(request, "ada", keeping(days), store, None, now=clock.now())
    return job.context_key


@pytest.mark.parametrize("days", [7, 0.5])
async def test_age_is_refused(days: float) -> None:
    store, clock = MemoryStore(), ManualClock()
    context_id = await put(store, clock)
    clock.time += days * DAY
    assert await admitted(context_id, store, clock, days) == stored_context_key("ada", context_id)
    clock.time += 1
    with pytest.raises(InvalidRequest) as refused:
        await admitted(context_id, store, clock, days)
    assert refused.value.problems[0].path == "contextId"
    assert not store.objects


async def test_old_context_is_not_found() -> None:
    store, clock = MemoryStore(), ManualClock()
    key = stored_context_key("ada", await put(store, clock))
    with pytest.raises(NotFound):
        await delete_context(key, store, kept_since=clock.now() + 1)
    assert not store.objects


async def test_reader_keeps_context() -> None:
    """Refused when it is old, and yet there for the run that reads it; gone when that has ended."""
    store, clock = MemoryStore(), ManualClock()
    key = stored_context_key("ada", await put(store, clock))
    lease = lease_key(key, "session")
    await store.write(lease, pieces(b""))
    with pytest.raises(Conflict):
        await delete_context(key, store, kept_since=clock.now())
    for ask in (delete_context, stored_manifest):
        with pytest.raises(NotFound):
            await ask(key, store, kept_since=clock.now() + 1)
    assert set(store.objects) == {key, f"{key}.json", lease}
    await store.delete(lease)
    with pytest.raises(NotFound):
        await stored_manifest(key, store, kept_since=clock.now() + 1)
    assert not store.objects


async def test_retention_is_in_days() -> None:
    assert oldest_kept(keeping(0.25), 1_000_000.0) == 1_000_000.0 - DAY / 4


async def test_undated_context_stays() -> None:
    """One from before contexts were dated is left to the bucket's own rules."""
    store = MemoryStore()
    manifest = ContextManifest(Documents([DocumentInfo(None, 1, 1)]), "0" * 64)
    await store.write("contexts/o/ctx.json", pieces(manifest.to_json().encode()))
    assert await stored_manifest("contexts/o/ctx", store, kept_since=1e12) == manifest

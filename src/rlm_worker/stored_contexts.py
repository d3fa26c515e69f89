"""Contexts that were put: where they lie, who reads them, and how long they are kept."""

from __future__ import annotations

import hashlib
import json

from .context import ContextManifest
from .errors import Conflict, NotFound, RLMError
from .ports import ContextStore
from .settings import Settings

# The table of a context: one row for each document.
_MOST_MANIFEST_BYTES = 64_000_000
_SECONDS_PER_DAY = 86_400


def oldest_kept(settings: Settings, now: float) -> float:
    """What was stored before this time is gone; seconds since the epoch, as `now`."""
    return now - settings.session_ttl_days * _SECONDS_PER_DAY


def stored_context_key(owner: str, context_id: str) -> str:
    """Where a context that was put lies; each owner sees only its own."""
    digest = hashlib.sha256(json.dumps(owner).encode()).hexdigest()
    return f"contexts/{digest[:32]}/{context_id}"


def manifest_key(context_key: str) -> str:
    """Where the table of a stored context's documents lies; a context without one was never complete."""
    return f"{context_key}.json"


def lease_key(context_key: str, session_id: str) -> str:
    """What lies beside a stored context as long as that session reads it."""
    return f"{context_key}.read-by/{session_id}"


async def stored_manifest(context_key: str, store: ContextStore, *, kept_since: float) -> ContextManifest:
    """The table of a stored context; raises `NotFound` where there is none.

    One that was stored before `kept_since` counts as gone, and goes: at once, or when the last run that reads it has
    ended and somebody asks again.
    """
    try:
        manifest = _parsed(await store.read(manifest_key(context_key), 0, _MOST_MANIFEST_BYTES))
    except NotFound:
        raise NotFound("there is no such context") from None
    if manifest.stored_at is None or manifest.stored_at >= kept_since:
        return manifest
    if not await is_read(context_key, store):
        await store.delete(context_key)
    raise NotFound("there is no such context")


async def delete_context(context_key: str, store: ContextStore, *, kept_since: float) -> None:
    """Deletes a stored context; raises `NotFound` where there is none and `Conflict` while a run reads it."""
    await stored_manifest(context_key, store, kept_since=kept_since)
    if await is_read(context_key, store):
        raise Conflict("a running session reads this context: wait for its end, or delete the session first")
    await store.delete(context_key)


async def is_read(context_key: str, store: ContextStore) -> bool:
    """Whether a running session reads a stored context."""
    return await store.exists(lease_key(context_key, ""))


def _parsed(content: bytes) -> ContextManifest:
    try:
        return ContextManifest.from_json(content.decode())
    except (ValueError, KeyError, TypeError) as error:
        raise RLMError(f"the stored context's table is damaged: {error}") from None

"""Contexts: those that were put, where they lie and how long they are kept, and those of a session's job."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass

from rlm_worker.errors import Conflict, InvalidRequest, NotFound, PayloadTooLarge, RLMError
from rlm_worker.ports import ContextStore, pieces
from rlm_worker.runs.job import Job
from rlm_worker.settings import Settings
from rlm_worker.text.context import ContextManifest, ContextReader, InlineReader, StoredReader
from rlm_worker.wire.requests import MAX_NAME_CHARACTERS

# Of all documents together: their table goes along with every job that reads them.
MAX_NAMES_CHARACTERS = 8_000_000
# The table of a context: one row for each document.
_MAX_MANIFEST_BYTES = 64_000_000


def oldest_kept(settings: Settings, now: float) -> float:
    """What was stored before this time is gone; seconds since the epoch, as `now`."""
    return now - settings.retention_seconds


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


def session_prefix(session_id: str) -> str:
    """Where the texts lie that were sent with the requests of a session."""
    return f"sessions/{session_id}/"


async def stored_manifest(context_key: str, store: ContextStore, *, kept_since: float) -> ContextManifest:
    """The table of a stored context; raises `NotFound` where there is none.

    One that was stored before `kept_since` counts as gone, and goes: at once, or when the last run that reads it has
    ended and somebody asks again.
    """
    try:
        manifest = _parsed(await store.read(manifest_key(context_key), 0, _MAX_MANIFEST_BYTES))
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


@dataclass(frozen=True, slots=True)
class JobContext:
    """The context of a session's job: a text that was sent with it is the session's own, one that was put is leased."""

    store: ContextStore

    def reader(self, job: Job) -> ContextReader:
        manifest = ContextManifest.from_json(job.manifest)
        if job.context_key is None:
            return InlineReader(manifest, (job.context_text or "").encode())
        return StoredReader(manifest, self.store, job.context_key)

    async def hold(self, job: Job) -> None:
        """Holds a context that others may delete, as long as this job reads it."""
        if job.context_key is not None and not job.context_owned:
            await self.store.write(lease_key(job.context_key, job.session_id), pieces())

    async def release(self, job: Job) -> None:
        if job.context_key is not None and not job.context_owned:
            with suppress(RLMError):  # the context's own retention takes a lease along that could not be given back
                await self.store.delete(lease_key(job.context_key, job.session_id))

    async def delete(self, job: Job) -> None:
        """Deletes a text that was sent with the job; raises `StorageUnavailable`."""
        if job.context_key is not None and job.context_owned:
            await self.store.delete(job.context_key)

    async def delete_all(self, job: Job) -> None:
        """Deletes every text that was sent to the job's session, those included that it has refused."""
        if job.context_key is not None and job.context_owned:
            await self.store.delete(session_prefix(job.session_id))

    async def replace(self, known: Job | None, job: Job) -> None:
        """Deletes the text that an earlier run was sent where this one reads the same text from elsewhere."""
        if known is not None and known.context_key != job.context_key:
            with suppress(RLMError):  # it grows old in the bucket, whose own rules take it along
                await self.delete(known)


def _parsed(content: bytes) -> ContextManifest:
    try:
        return ContextManifest.from_json(content)
    except (ValueError, KeyError, TypeError) as error:
        raise RLMError(f"the stored context's table is damaged: {error}") from None


def check_names(manifest: ContextManifest) -> None:
    """Raises `PayloadTooLarge` for documents whose names are longer, all together, than a table of them may be."""
    if sum(len(name) for name in manifest.documents.names if name) > MAX_NAMES_CHARACTERS:
        raise PayloadTooLarge(MAX_NAMES_CHARACTERS, "characters in the documents' names")


def checked_name(name: str | None) -> str | None:
    """The name that a body is stored under; raises `InvalidRequest` for one that is too long."""
    if name and len(name) > MAX_NAME_CHARACTERS:
        raise InvalidRequest.at("name", f"must have at most {MAX_NAME_CHARACTERS} characters")
    return name or None

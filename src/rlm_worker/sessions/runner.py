"""The one way to a run, for every route and for batches: answered from the cache, joined where it goes on, or begun."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from pydantic import ValidationError

from rlm_worker.errors import Conflict, NotFound
from rlm_worker.log import RequestRecord
from rlm_worker.memory import SHARED, Held, MemoryBudget
from rlm_worker.ports import Clock, ContextStore, Metrics, ObjectStubs, ResultCache
from rlm_worker.runs.job import Job
from rlm_worker.settings import Settings
from rlm_worker.wire.requests import RunRequest
from rlm_worker.wire.results import RunResult

from .bodies import SentTexts
from .follow_ups import COPYING_BYTES, Parts, StoredParts, followed_session
from .prepare import prepare_job
from .results import CachedResult, as_cache_hit, metrics_point, result_key

_LONG_TABLE_CHARACTERS = 500_000


@dataclass(slots=True)
class Content:
    """The bytes of a context that is to be stored, and what holding them takes, until it is closed."""

    parts: Parts = ()
    texts: SentTexts | None = None
    held: Held | None = None

    @property
    def size(self) -> int:
        """How many bytes of the context are held; none of one that is copied from where it lies."""
        return 0 if isinstance(self.parts, StoredParts) else sum(len(part) for part in self.parts)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The bytes as they are read."""
        if isinstance(self.parts, StoredParts):
            async for part in self.parts:
                yield part
            return
        for part in self.parts:
            yield part

    def close(self) -> None:
        """Lets go of everything; may be repeated."""
        self.parts = ()
        if self.texts is not None:
            self.texts.close()
        if self.held is not None:
            self.held.close()


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs jobs in their sessions."""

    settings: Settings
    sessions: ObjectStubs
    store: ContextStore
    cache: ResultCache
    metrics: Metrics
    clock: Clock
    room: MemoryBudget = SHARED

    async def ask(
        self,
        wanted: RunRequest,
        owner: str,
        idempotency_key: str | None,
        record: RequestRecord,
        *,
        texts: SentTexts | None = None,
        held: Held | None = None,
    ) -> tuple[Job, RunResult | None]:
        """Begins or joins a run; its result, or None where it goes on and this request does not wait for it.

        What the body takes in memory, `held` and `texts`, is let go as soon as the run has it.
        """
        waits = not (wanted.stream or wanted.background)
        job, parts = await self.prepare(wanted, owner, idempotency_key, texts)
        del wanted
        content = Content(parts, texts, held)
        del parts
        record.session_id = job.session_id
        result = await self.outcome(job, content, waits=waits)
        _note(record, result)
        return job, result

    async def prepare(
        self, wanted: RunRequest, owner: str, idempotency_key: str | None, texts: SentTexts | None = None
    ) -> tuple[Job, Parts]:
        """The job of a request, and the bytes to store where its context does not travel with it.

        Raises `NotFound` for a follow-up of a session that is not there, and `Conflict` while that one goes on.
        """
        now, previous = self.clock.now(), wanted.previous_session_id
        followed = None if previous is None else await followed_session(self.sessions, previous, owner)
        return await prepare_job(
            wanted, owner, self.settings, self.store, idempotency_key, now=now, texts=texts, followed=followed
        )

    async def outcome(self, job: Job, content: Content, *, waits: bool) -> RunResult | None:
        """The result of a job, cached or run; None where it goes on and nobody waits for it here."""
        result = await self._cached(job)
        if result is None:
            return await self._run(job, content, waits=waits)
        content.close()
        self.metrics.record(metrics_point(job, result))
        return result

    async def ended(self, job: Job) -> RunResult | None:
        """The result of a job that has ended well and whole before, with what it cost then."""
        try:
            found = await self.sessions.call(job.session_id, "result", job.owner)
        except NotFound:
            return None
        result = RunResult.model_validate(found) if found else None
        return result if result is not None and result.success and not result.incomplete else None

    async def _run(self, job: Job, content: Content, *, waits: bool) -> RunResult | None:
        if job.context_key is not None:  # what is held for the run goes before it is waited for
            answer = await self._started(job, content)
            content.close()
            if answer == "running" and waits:
                answer = await self.sessions.call(job.session_id, "wait")
        else:
            content.close()
            answer = await self.sessions.call(job.session_id, "run" if waits else "start", job.to_json(), True)
        return RunResult.model_validate(answer) if isinstance(answer, dict) else None

    async def _started(self, job: Job, content: Content) -> object:
        """Begins or joins a run that reads a stored text, and stores that text where it is not there yet."""
        # A job with a long table is not sent twice, nor beside its body: its text, whose place is named by what it
        # says, is stored first, even where it is there already.
        if not (job.context_owned and len(job.manifest) > _LONG_TABLE_CHARACTERS):
            answer = await self.sessions.call(job.session_id, "start", job.to_json(), False)
            if answer != "needs_context":
                return answer
        key = job.context_key or ""
        await self._store(key, content)
        content.close()
        try:
            return await self.sessions.call(job.session_id, "start", job.to_json(), True)
        except Conflict:  # another body came under the same name meanwhile
            await self.store.delete(key)
            raise

    async def _store(self, key: str, content: Content) -> None:
        """Stores a context; what a copy takes while it goes through is held only then: its request is long read."""
        if not isinstance(content.parts, StoredParts):
            await self.store.write(key, content.pieces())
            return
        if content.held is not None:
            content.held.close()
        held = content.held = await self.room.take(COPYING_BYTES)
        await self.store.write(key, held.kept(content.pieces()))

    async def _cached(self, job: Job) -> RunResult | None:
        if not job.config.use_cache:
            return None
        text = await self.cache.get(result_key(job.session_id))
        try:
            cached = CachedResult.model_validate_json(text) if text else None
        except ValidationError:  # a corrupt entry is a miss
            return None
        return as_cache_hit(cached.result) if cached is not None and cached.digest == job.digest else None


def _note(record: RequestRecord, result: RunResult | None) -> None:
    """Writes down how a run stands when its request is answered."""
    if result is None:
        record.status = "running"
        return
    record.status = "completed" if result.success else "failed"
    record.strategy = result.strategy
    record.sub_calls = result.sub_calls
    record.cost_usd = result.cost_usd
    record.models = [usage.model for usage in result.models] or None
    record.cache_hit = result.cache_hit
    record.error = result.error.type if result.error else None

"""The one way to a run, for every route and for batches: answered from the cache, joined where it goes on, or begun."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from rlm_worker.errors import Conflict, NotFound
from rlm_worker.log import RequestRecord
from rlm_worker.ports import Clock, ContextStore, Metrics, ObjectStubs, ResultCache, pieces
from rlm_worker.runs.job import Job
from rlm_worker.settings import Settings
from rlm_worker.wire.requests import RunRequest
from rlm_worker.wire.results import RunResult

from .prepare import prepare_job
from .results import CachedResult, as_cache_hit, metrics_point, result_key


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs jobs in their sessions."""

    settings: Settings
    sessions: ObjectStubs
    store: ContextStore
    cache: ResultCache
    metrics: Metrics
    clock: Clock

    async def ask(
        self, wanted: RunRequest, owner: str, idempotency_key: str | None, record: RequestRecord
    ) -> tuple[Job, RunResult | None]:
        """Begins or joins a run; its result, or None where it goes on and this request does not wait for it."""
        job, content = await self.prepare(wanted, owner, idempotency_key)
        record.session_id = job.session_id
        result = await self.outcome(job, content, waits=not (wanted.stream or wanted.background))
        _note(record, result)
        return job, result

    async def prepare(self, wanted: RunRequest, owner: str, idempotency_key: str | None) -> tuple[Job, list[bytes]]:
        """The job of a request, and the bytes to store where its context does not travel with it."""
        return await prepare_job(wanted, owner, self.settings, self.store, idempotency_key, now=self.clock.now())

    async def outcome(self, job: Job, content: list[bytes], *, waits: bool) -> RunResult | None:
        """The result of a job, cached or run; None where it goes on and nobody waits for it here."""
        result = await self._cached(job)
        if result is None:
            return await self._run(job, content, "run" if waits else "start")
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

    async def _run(self, job: Job, content: list[bytes], method: str) -> RunResult | None:
        sent = job.to_json()
        answer = await self.sessions.call(job.session_id, method, sent, job.context_key is None)
        if answer == "needs_context":
            key = job.context_key or ""
            await self.store.write(key, pieces(*content))
            try:
                answer = await self.sessions.call(job.session_id, method, sent, True)
            except Conflict:  # another body came under the same name meanwhile
                await self.store.delete(key)
                raise
        return RunResult.model_validate(answer) if isinstance(answer, dict) else None

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
    record.cache_hit = result.cache_hit
    record.error = result.error.type if result.error else None

"""One session: a run that survives crashes, and everyone who waits for it.

The session's object lives in a Durable Object. Whichever event comes first (a request, or the alarm after a crash)
starts or resumes the run; all others wait for the same one.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import product

from rlm_worker.budget.funding import RunAccount
from rlm_worker.errors import Cancelled, Conflict, InvocationSpent, NotFound, RLMError, RunAbandoned, StorageUnavailable
from rlm_worker.journal.session import SessionJournal
from rlm_worker.journal.tables import EXTRACTION
from rlm_worker.log import log_failure
from rlm_worker.pace.client import WatchedPace
from rlm_worker.ports import Alarm, ContextStore, Eraser, Metrics
from rlm_worker.repl.inherited import CellPage, has_repl, page_of
from rlm_worker.report.rows import RowsForm, wanted_table, written_rows
from rlm_worker.runs.job import Job
from rlm_worker.runs.run import RunPorts
from rlm_worker.strategies.execute import execute, failed_run
from rlm_worker.strategies.note_cache import NoteCache
from rlm_worker.strategies.standalone import asked_of_parts
from rlm_worker.wire.events import AnswerEvent, SessionEvent
from rlm_worker.wire.results import ErrorAnswer, RunResult, SessionState

from .contexts import JobContext
from .follow_ups import Followed
from .lives import AskingModel, Lives
from .record import SessionRecord
from .results import CachedResult, as_cache_hit, cancelled, failed, metrics_point, result_key, worth_keeping
from .trajectory import Asked, TrajectoryForm, attempt_row, call_rows, query_rows, sandbox_row, written

RESULT_TTL_SECONDS = 3_600
WATCH_SECONDS = 20.0
# A page that is loaded anew is back by then.
RELOAD_SECONDS = 2.0
# When an account that could not be reached is asked again: at first, and from then on.
SETTLE_AGAIN_SECONDS, SETTLE_LATER_SECONDS = 30.0, 300.0
# An alarm may last 15 minutes of wall time; leave in time to set the next one.
_ALARM_SECONDS = 14 * 60.0


class Session:
    """Runs one job, once at a time, and tells how it goes."""

    def __init__(
        self,
        journal: SessionJournal,
        ports: Callable[[SessionJournal], RunPorts],
        store: ContextStore,
        metrics: Metrics,
        *,
        alarm: Alarm,
        eraser: Eraser,
        retention_seconds: float,
    ) -> None:
        self._journal = journal
        self._record = SessionRecord(journal)
        self._lives = Lives(journal)
        self._ports = ports(journal)
        self._pace = WatchedPace(self._ports.pace, self._ports.clock)
        self._context = JobContext(store)
        self._account = RunAccount(self._ports.accounts)
        self._metrics = metrics
        self._alarm = alarm
        self._eraser = eraser
        self._retention_seconds = retention_seconds
        self._task: asyncio.Task[None] | None = None
        self._finished = asyncio.Event()
        self._starting = asyncio.Lock()
        # A run that is being stopped is none any more, and its last event is still to come.
        self._stopping = False
        # Who waits for the run here or reads its events, and when somebody last came.
        self._listeners = 0
        self._joined_at = 0.0

    # What callers ask for.

    async def start(self, job: Job, *, context_stored: bool) -> RunResult | str:
        """Begins or joins the run of a job.

        Gives the result where a fresh one is there already, `"needs_context"` where the caller must store the context
        first, else `"running"`. Raises `Conflict` when the session belongs to a different request, and `RateLimited`
        when the key may not begin a run now.
        """
        async with self._starting:
            return await self._started(job, context_stored=context_stored)

    async def _started(self, job: Job, *, context_stored: bool) -> RunResult | str:
        known = self._record.job()
        if known is not None and known.digest != job.digest:
            raise Conflict("this Idempotency-Key was used for a different request")
        self._joined_at = self._now()
        if known is not None and self.running:
            self._record.note_asker(job.batch_id)
            if not job.cancel_on_disconnect:
                self._record.keep_running()
            self._resume()
            return "running"
        reusable = job.config.use_cache or job.named_by_key
        if known is not None and reusable and (fresh := self._fresh_result()) is not None:
            self._record.note_asker(job.batch_id)
            return fresh
        if job.context_key is not None and job.context_owned and not context_stored:
            return "needs_context"
        await self._begin(job, anew=known is None or self._is_whole())
        return "running"

    async def wait(self) -> RunResult:
        """The result, when it is there; resumes the run where a crash has stopped it."""
        if self._record.job() is None:
            raise NotFound("there is no such session")
        if self.running:
            self._resume()
            with self._listening():
                await self._finished.wait()
        return self._record.result() or cancelled(self._record.job())

    async def revive(self) -> None:
        """Takes up a run that a crash has stopped, without waiting for the alarm."""
        if self._record.job() is not None and self.running:
            self._resume()

    def state(self) -> SessionState:
        """Where the run stands; raises `NotFound` for a session that never was or is gone."""
        state = self._record.state()
        waits = self.running and self._pace.keeps_waiting()
        return state.model_copy(update={"phase": "waiting"}) if waits else state

    def check_owner(self, owner: str) -> None:
        """Raises `NotFound` for a session of another key, just as for one that does not exist."""
        if self._record.required_job().owner != owner:
            raise NotFound("there is no such session")

    async def reader_left(self) -> None:
        """A reader of the events has gone: stops the run if its request asked for that and nobody else is there.

        A page that is loaded anew leaves and comes back, in whichever order the platform notices.
        """
        while True:
            await self._ports.clock.sleep(RELOAD_SECONDS)
            async with self._starting:
                if self._now() - self._joined_at < RELOAD_SECONDS:
                    continue
                job = self._record.job()
                if job is not None and self.running and not self._listeners and self._record.stops_unread(job):
                    await self._stop()
                return

    @contextmanager
    def _listening(self) -> Iterator[None]:
        self._listeners += 1
        try:
            yield
        finally:
            self._listeners -= 1

    def result(self) -> RunResult | None:
        """The result; None while the run goes on."""
        job = self._record.required_job()
        return None if self.running else self._record.result() or cancelled(job)

    def followed(self) -> Followed:
        """What it hands on to a session that follows it; raises `Conflict` while the run goes on."""
        job = self._record.required_job()
        if self.running:
            raise Conflict("the session to follow still runs: wait for its result, then ask again")
        result = self._record.result() or cancelled(job)
        return Followed.of(job, result, has_repl=has_repl(self._ports.cells, job))

    def repl_page(self, after: int) -> CellPage:
        """The cells of its REPL behind that one, for a session that takes its variables over; as `followed`."""
        job = self._record.required_job()
        if self.running:  # it was begun anew meanwhile: half of its variables would be worse than a word about it
            raise Conflict("the session to follow runs again: wait for its result, then ask again")
        cells = self._ports.cells
        return CellPage() if cells is None else page_of(cells, self._journal.recall, job, after)

    async def trajectory(self, form: TrajectoryForm) -> AsyncIterator[str]:
        """Every paid call, prompts included, and every attempt that was paid in vain; written row by row."""
        job = self._record.required_job()
        tables = self._journal.rows()
        question = asked_of_parts(job, self._journal.question(), self._journal.calls())
        cells = self._journal.cells(self._ports.clock.now)
        asked = Asked(question, job.owner, cells, tables.state(EXTRACTION))
        rows = call_rows(self._journal.calls(), asked, self._context.reader(job))
        attempts = (attempt_row(attempt) for attempt in self._journal.failed_attempts())
        sandboxes = (sandbox_row(sandbox) for sandbox in self._journal.sandboxes())
        result = self._record.result()
        queries, routing = query_rows(tables.queries()), (result and result.routing) or job.routing
        async for text in written(form, job.session_id, rows, attempts, sandboxes, queries=queries, routing=routing):
            yield text

    async def follow(self, after: int) -> AsyncIterator[tuple[int, str, str]]:
        """Events with an id above `after`, those to come included, until the run has ended: id, kind, JSON.

        Where the run is begun anew meanwhile they end too: what comes then is another run's, for who asks again.
        """
        self._record.required_job()
        if self.running:
            self._resume()
        generation = self._journal.generation
        news = asyncio.Event()
        with self._listening(), self._journal.watching(news.set):
            while self._journal.generation == generation:
                news.clear()
                ended = not self.running and not self._stopping
                met = after
                for number, kind, data in self._journal.events_after(after):
                    yield number, kind, data
                    after = number
                    if self._journal.generation != generation:
                        return
                if not ended:
                    await news.wait()
                elif met == after:
                    return

    async def leave(self, batch_id: str) -> None:
        """Deletes the session for a batch that goes; one that others have asked for too is left to them."""
        async with self._starting:
            self._record.required_job()
            others = self._record.askers() - {batch_id}
            if not others:
                await self._delete()
            elif others != self._record.askers():
                self._record.set_askers(others)

    async def delete(self) -> None:
        """Stops the run and deletes journal, stored context and cached results, whoever has asked for them."""
        async with self._starting:  # what is going is not begun anew meanwhile
            await self._delete()

    async def _delete(self) -> None:
        job = self._record.required_job()
        if self.running:
            await self._stop()
        await self._end_task()
        await self._let_go(job)
        await self._context.delete_all(job)
        await self._ports.cache.delete(result_key(job.session_id))
        from rlm_worker.strategies.table.memory import forget_memory  # noqa: PLC0415 -- late: an isolate that needs none of it has 128 MB for all else

        await forget_memory(self._ports.cache, self._journal.rows())
        question = asked_of_parts(job, self._journal.question(), self._journal.calls())
        readers = {job.config.sub_model, *(choice.sub_model for choice in job.by_task.values())}
        for text, reader in product({question, *self._journal.earlier_questions()}, readers):
            await NoteCache.delete(self._ports.cache, NoteCache.key_of(job.owner, text, reader))
        await self._eraser.erase()
        self._journal.forget_all()

    async def rows(self, table: str, form: RowsForm) -> AsyncIterator[str]:
        """The rows of the run's tables, of one of them where it is named; raises as `wanted_table` does."""
        wanted = wanted_table(self._ended(), table, form)
        for text in written_rows(self._journal.rows().lines(), wanted, form):
            yield text

    def check_rows(self, table: str, form: RowsForm) -> bool:
        """Whether the rows are there; False while the run goes on. Raises as `rows` does, and the run's own error."""
        if self.result() is None:
            return False
        wanted_table(self._ended(), table, form)
        return True

    def _ended(self) -> RunResult:
        result = self.result() or cancelled(None)
        if result.error is not None and result.table is None and result.error.type == Cancelled.type:
            raise result.error.to_error()
        return result

    async def report(self) -> AsyncIterator[str]:
        """A run that has ended as a page; raises `NotFound` where there is none or it goes on."""
        job, result = self._record.required_job(), self.result()
        if result is None:
            raise NotFound("the run goes on")
        from rlm_worker.report.build import report  # noqa: PLC0415 -- late: an isolate that needs none of it has 128 MB for all else

        spans, statuses = self._journal.spans(), self._journal.chunk_statuses()
        async for text in report(job, result, self._context.reader(job), spans, statuses):
            yield text

    async def on_alarm(self) -> None:
        """Resumes a run that a crash has stopped, stays with one that goes on, and deletes a session that is old."""
        job = self._record.job()
        if job is None:
            return
        if self.running:
            await self._watch(job)
            return
        await self._settle()
        await self._expire()

    @property
    def running(self) -> bool:
        return self._record.running

    def when_idle(self, call: Callable[[], None]) -> None:
        """Calls back when no run goes on here: now, or when the one that does has ended."""
        if self._task is None or self._task.done():
            call()
        else:
            self._task.add_done_callback(lambda _: call())

    # How it is done.

    async def _begin(self, job: Job, *, anew: bool) -> None:
        await self._end_task()
        run_id = self._run_id(anew=anew)
        granted = await self._account.open(job.owner, run_id, job.config.max_cost_usd)
        try:
            await self._context.replace(self._record.job(), job)
            await self._context.hold(job)
            await self._alarm.set(self._now() + WATCH_SECONDS)
        except BaseException:  # a run that never was keeps neither slot nor dollars
            await self._account.close(job.owner, run_id, 0.0 if anew else self._total_usd())
            raise
        # From here to the end nothing is waited for: nobody meets a run that is begun and has no task.
        now = self._now()
        if anew:
            self._journal.forget_run()
            self._journal.set_fact("cut_off_usd", "0")
        timeout = job.config.timeout_seconds
        deadline = None if timeout is None else now + timeout
        job = job.model_copy(update={"started_at": now, "deadline": deadline, "run_id": run_id, "granted_usd": granted})
        self._record.note_asker(job.batch_id)
        self._record.begin(job)
        self._journal.begin_events("session", _begun(job).to_wire())
        self._resume()

    def _is_whole(self) -> bool:
        """Whether the last run has come to all that it could; what another one has paid for is not paid again."""
        result = self._record.result()
        return self._record.status() == "completed" and not (result is not None and result.incomplete)

    def _run_id(self, *, anew: bool) -> str:
        """The name under which the key's account knows this run: the same as long as nothing paid is forgotten."""
        known = self._record.job()
        return known.run_id if known is not None and known.run_id and not anew else uuid.uuid4().hex

    async def _settle(self) -> None:
        """Books what the run has cost; where the account cannot be reached the alarm tries again."""
        job = self._record.job()
        if job is None or self._record.settled(job):
            return
        if await self._account.close(job.owner, job.run_id, self._total_usd()):
            self._record.set_settled(job)

    def _total_usd(self) -> float:
        return self._journal.paid_usd() + self._journal.cut_off_usd()

    def _resume(self) -> None:
        if self._task is None or self._task.done():
            self._finished.clear()
            self._task = asyncio.create_task(self._run(self._record.required_job()))

    async def _run(self, job: Job) -> None:
        if self._journal.last_event("answer"):  # an earlier life was cut off in the middle of its answer
            self._journal.emit("answer", AnswerEvent(delta="", restart=True).to_wire())
        try:
            result = await self._result_of(job)
        except InvocationSpent:
            await self._alarm.set(self._now())  # which is an invocation of its own: the run goes on there
            return
        await self._finish(job, result)

    async def _result_of(self, job: Job) -> RunResult:
        """What comes of the run; whatever goes wrong is in the result, so that those who wait hear of it.

        Raises `InvocationSpent` where the run has to go on in another invocation.
        """
        ports = replace(self._ports, model=AskingModel(self._ports.model, self._lives), pace=self._pace)
        try:
            if deaths := self._lives.begin():
                return self._failed(job, RunAbandoned(f"given up: its host has ended {deaths} times at the same point"))
            return await execute(job, self._context.reader(job), ports)
        except InvocationSpent:
            raise
        except RLMError as error:
            return self._failed(job, error)
        except Exception as error:  # noqa: BLE001 - a defect of ours, as the log says
            log_failure(job.session_id, error)
            return self._failed(job, RLMError(f"something went wrong on our side ({type(error).__name__})"))

    def _failed(self, job: Job, error: RLMError) -> RunResult:
        """The result of a run that did not come to its end, with what it has paid."""
        try:
            return failed_run(job, self._context.reader(job), self._ports, error)
        except Exception:  # noqa: BLE001 - a model that it paid for is not in the catalogue any more, or worse
            return failed(job, error).model_copy(update={"cost_usd": round(self._journal.paid_usd(), 10)})

    async def _finish(self, job: Job, result: RunResult) -> None:
        await self._let_go(job)  # before anyone hears of the end: the next run may want the slot
        self._conclude(job, result)
        await self._attempt(job, self._put_away(job, result))
        await self._alarm.set(self._look_again_at(SETTLE_AGAIN_SECONDS))

    async def _let_go(self, job: Job) -> None:
        """Gives back what the run holds of others, and books what it has cost; may be repeated."""
        await self._attempt(job, self._context.release(job))
        await self._attempt(job, self._settle())

    def _conclude(self, job: Job, result: RunResult) -> None:
        """Writes down how the run has ended and wakes all who wait, whatever happens."""
        try:
            self._keep(result)
        except Exception as error:  # noqa: BLE001 - the storage's own errors
            log_failure(job.session_id, error)
            self._keep(failed(job, StorageUnavailable("the result could not be written down")))
        finally:
            self._finished.set()

    def _keep(self, result: RunResult) -> None:
        self._record.set_result(result)
        self._record.set_status("completed" if result.success else "failed", self._now())
        self._journal.emit("result" if result.success else "error", result.to_wire())

    async def _put_away(self, job: Job, result: RunResult) -> None:
        self._metrics.record(metrics_point(job, result))
        if worth_keeping(result) and job.config.use_cache:
            kept = CachedResult(digest=job.digest, result=result).to_json()
            await self._ports.cache.put(result_key(job.session_id), kept)

    async def _attempt(self, job: Job, work: Awaitable[None]) -> None:
        """Does what belongs to the end of a run and must not keep anyone from hearing of it."""
        try:
            await work
        except Exception as error:  # noqa: BLE001 - whatever it is
            log_failure(job.session_id, error)

    async def _stop(self) -> None:
        job = self._record.required_job()
        self._record.set_status("cancelled", self._now())
        self._stopping = True
        try:
            await self._end_task()
            await self._let_go(job)
        finally:
            self._stopping = False
        try:
            self._record.set_result(self._failed(job, Cancelled("the run was cancelled")))
        finally:
            self._finished.set()
        self._journal.emit("error", ErrorAnswer.of(Cancelled("the run was cancelled")).to_wire())

    async def _end_task(self) -> None:
        """A run that goes on is cancelled; one that has ended and still puts things away does that first."""
        task, self._task = self._task, None
        if task is None or task.done():
            return
        if not self._finished.is_set():
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _expire(self) -> None:
        """Deletes a session that is old; one that was begun anew or deleted meanwhile is let be."""
        async with self._starting:
            if self._record.job() is None or self.running:
                return
            if self._now() >= self._expires_at():
                # Set first: should deleting fail half-way, the alarm comes again.
                await self._alarm.set(self._now() + SETTLE_LATER_SECONDS)
                await self._delete()
            else:
                await self._alarm.set(self._look_again_at(SETTLE_LATER_SECONDS))

    async def _watch(self, job: Job) -> None:
        self._resume()
        await self._account.renew(job.owner, job.run_id)
        if not self.running:
            return  # whatever has ended or deleted it meanwhile has seen to the alarm too
        # It fires when this handler has ended; or, should a crash end the handler first, soon after the crash.
        await self._alarm.set(self._now() + WATCH_SECONDS)
        await self._stay()

    async def _stay(self) -> None:
        """Waits for the run to end, or for its invocation to be spent."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=_ALARM_SECONDS)
        if self.running:
            await self._alarm.set(self._now() + 1)

    def _fresh_result(self) -> RunResult | None:
        result = self._record.result()
        if result is None or not worth_keeping(result) or self._now() - self._record.updated_at() > RESULT_TTL_SECONDS:
            return None
        return as_cache_hit(result)

    def _look_again_at(self, unsettled_seconds: float) -> float:
        """When the alarm has something to do: soon where the run's costs are not booked yet, else when it is old."""
        job = self._record.job()
        if job is None or self._record.settled(job):
            return self._expires_at()
        return min(self._expires_at(), self._now() + unsettled_seconds)

    def _expires_at(self) -> float:
        return self._record.updated_at() + self._retention_seconds

    def _now(self) -> float:
        return self._ports.clock.now()


def _begun(job: Job) -> SessionEvent:
    session = SessionEvent(session_id=job.session_id)
    return session if job.routing is None else SessionEvent(session_id=job.session_id, routing=job.routing)

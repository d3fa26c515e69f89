"""What a session's journal says about the session as a whole: its job, its status, its result, who has asked."""

from __future__ import annotations

import json

from rlm_worker.errors import NotFound
from rlm_worker.journal.session import SessionJournal
from rlm_worker.runs.job import Job
from rlm_worker.wire.base import timestamp
from rlm_worker.wire.results import RunResult, SessionState, SessionStatus


class SessionRecord:
    """Reads and writes the facts of one session; nothing is kept in memory, so that a crash forgets nothing."""

    def __init__(self, journal: SessionJournal) -> None:
        self._journal = journal

    def job(self) -> Job | None:
        text = self._journal.fact("job")
        return Job.model_validate_json(text) if text else None

    def required_job(self) -> Job:
        """The job; raises `NotFound` where there is none."""
        job = self.job()
        if job is None:
            raise NotFound("there is no such session")
        return job

    def begin(self, job: Job) -> None:
        """A run begins, or begins anew."""
        self._journal.set_fact("job", job.model_dump_json(by_alias=True, exclude_none=True))
        for name in ("settled", "lives", "kept", "result"):
            self._journal.set_fact(name, "")
        self.set_status("running", job.started_at)

    def keep_running(self) -> None:
        """Notes that somebody wants this run whose leaving would not stop it."""
        self._journal.set_fact("kept", "1")

    def stops_unread(self, job: Job) -> bool:
        """Whether the run is to be stopped when nobody reads its events any more."""
        return job.cancel_on_disconnect and not self._journal.fact("kept")

    def settled(self, job: Job) -> bool:
        """Whether the costs of the job's run have been booked."""
        return self._journal.fact("settled") == job.run_id

    def set_settled(self, job: Job) -> None:
        self._journal.set_fact("settled", job.run_id)

    @property
    def running(self) -> bool:
        return self._journal.fact("status") == "running"

    def status(self) -> SessionStatus:
        return self._journal.fact("status") or "running"  # type: ignore[return-value] # written by set_status

    def set_status(self, status: SessionStatus, now: float) -> None:
        self._journal.set_fact("status", status)
        self._journal.set_fact("updated_at", str(now))

    def updated_at(self) -> float:
        """When the status last changed, in seconds since the epoch; 0 where there is none."""
        return float(self._journal.fact("updated_at") or 0)

    def result(self) -> RunResult | None:
        text = self._journal.fact("result")
        return RunResult.model_validate_json(text) if text else None

    def set_result(self, result: RunResult) -> None:
        self._journal.set_fact("result", result.to_json())

    def askers(self) -> frozenset[str]:
        """Who has asked for this run: batches by their ids, and the empty word for requests of their own."""
        kept = self._journal.fact("askers")
        if kept is None:  # nobody yet, or somebody before this was written down
            return frozenset() if self.job() is None else frozenset({""})
        return frozenset(json.loads(kept))

    def note_asker(self, batch_id: str) -> None:
        if batch_id not in self.askers():
            self.set_askers(self.askers() | {batch_id})

    def set_askers(self, askers: frozenset[str]) -> None:
        self._journal.set_fact("askers", json.dumps(sorted(askers)))

    def state(self) -> SessionState:
        """Where the run stands; raises `NotFound` for a session that never was or is gone."""
        job = self.required_job()
        plan, last = self._journal.last_event("plan"), self._journal.last_event("subcall")
        paid = list(self._journal.paid())
        result = self.result()
        return SessionState(
            session_id=job.session_id,
            status=self.status(),
            phase=self._phase(plan, last),
            strategy=str(plan.get("strategy", "")),
            chunks_done=_number(last.get("done")),
            chunks=_number(last.get("chunks")) or _number(plan.get("chunks")),
            iterations=sum(1 for role, _, _ in paid if role == "root"),
            sub_calls=sum(1 for role, _, _ in paid if role == "sub"),
            cost_usd=round(self._journal.paid_usd() if result is None else result.cost_usd, 10),
            started_at=timestamp(job.started_at),
            updated_at=timestamp(self.updated_at() or job.started_at),
            previous_session_id=job.previous_session_id,
        )

    def _phase(self, plan: dict[str, object], last: dict[str, object]) -> str:
        if not self.running:
            return self.status()
        if plan.get("strategy") not in ("map_reduce", "table"):
            return "answering" if plan else "starting"
        return "answering" if last and last.get("done") == last.get("chunks") else "reading"


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0

"""The way in: two requests under one name never meet in one text."""

from __future__ import annotations

import json

import pytest

from rlm_worker.errors import Conflict
from rlm_worker.log import RequestRecord
from rlm_worker.runs.job import Job
from rlm_worker.sessions.prepare import prepare_job
from rlm_worker.sessions.runner import Content, Runner
from rlm_worker.testing import ManualClock, MemoryCache, MemoryMetrics, MemoryStore
from rlm_worker.wire.requests import RunRequest, parse_request
from tests.unit.conftest import settings

LARGE = "The sky is blue. " * 10_000


class OneSession:
    """Takes the first job that has brought its context, and refuses any other."""

    def __init__(self) -> None:
        self.digest = ""

    async def call(self, name: str, method: str, *arguments: object) -> object:
        sent, stored = arguments
        job = Job.model_validate_json(str(sent))
        if self.digest and self.digest != job.digest:
            raise Conflict("this Idempotency-Key was used for a different request")
        if not stored:
            return "needs_context"
        self.digest = job.digest
        return "running"

    async def stream(self, name: str, method: str, *arguments: object) -> object:
        raise AssertionError(method)


def asking(text: str) -> RunRequest:
    return parse_request(json.dumps({"context": text, "query": "why?", "background": True}))


async def test_two_bodies_two_texts() -> None:
    """They may both be stored before the session has seen either."""
    store = MemoryStore()
    jobs = [
        (await prepare_job(asking(text), "ada", settings(), store, "same", now=0.0))[0] for text in (LARGE, LARGE[1:])
    ]
    assert jobs[0].session_id == jobs[1].session_id
    assert jobs[0].context_key != jobs[1].context_key
    assert all(str(job.context_key).startswith(f"sessions/{job.session_id}/") for job in jobs)


async def test_refused_body_leaves_nothing() -> None:
    store, session = MemoryStore(), OneSession()
    runner = Runner(settings(), session, store, MemoryCache(), MemoryMetrics(), ManualClock())
    first, _ = await runner.ask(asking(LARGE), "ada", "same", RequestRecord("1", "POST", "/rlm", 0.0))
    second, content = await runner.prepare(asking(LARGE[1:]), "ada", "same")

    session.digest, known = "", session.digest  # it had not begun when the second request asked

    async def begun_meanwhile(name: str, method: str, *arguments: object) -> object:
        answer = await OneSession.call(session, name, method, *arguments)
        session.digest = known
        return answer

    session.call = begun_meanwhile  # type: ignore[method-assign]
    with pytest.raises(Conflict):
        await runner.outcome(second, Content(content), waits=False)
    assert set(store.objects) == {first.context_key}


@pytest.mark.parametrize("names", [("a.txt", "b.txt"), (None, "a.txt")])
async def test_stored_name_is_part_of_question(names: tuple[str | None, str | None]) -> None:
    """The same bytes under another name are another document: a model sees the name."""
    from rlm_worker.sessions.uploads import Upload, UploadLimits, store_context
    from tests.unit.test_stored_contexts import pieces

    store, clock, digests = MemoryStore(), ManualClock(), set()
    for name in names:
        upload = Upload(pieces(b"The sky is blue."), UploadLimits(100, 1), name)
        stored = await store_context(upload, "ada", store, clock)
        request = parse_request(json.dumps({"contextId": stored.context_id, "query": "why?"}))
        job, _ = await prepare_job(request, "ada", settings(), store, None, now=clock.now())
        digests.add(job.digest)
    assert len(digests) == 2

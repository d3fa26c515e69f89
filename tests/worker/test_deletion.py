"""What is deleted is gone: the deployment's state folder is read, R2, KV, Durable Objects and alarms."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.model import ScriptedModel
from tests.worker.conftest import StartWorker
from tests.worker.stored_state import NOTHING, StoredState, stored_state
from tests.worker.test_batch import awaited, item, submitted
from tests.worker.test_repl import cell, plays
from tests.worker.texts import haystack, needle

pytestmark = pytest.mark.worker
LARGE = haystack(150_000, needle())
TABLES = {"facts", "calls", "spans", "events", "cells", "asked", "sandboxes"}
SECONDS_PER_DAY = 86_400
# Longer than a write that was under way at a deletion takes to arrive.
SETTLED = 1.5


@pytest.fixture(scope="module")
def shared(scripted_server: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevProcess]:
    with DevProcess(tmp_path_factory.mktemp("state"), ai=scripted_server.url) as process:
        yield process


@pytest.fixture
def worker(shared: DevProcess, start_worker: StartWorker) -> DevProcess:
    """A deployment with nothing in it: the shared one, unless a test that failed has left something."""
    return shared if stored_state(shared.state) == NOTHING else start_worker()


@pytest.fixture
def http(worker: DevProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=worker.url, timeout=120) as client:
        yield client


def left(worker: DevProcess) -> StoredState:
    """What lies on the disk of the deployment: workerd answers nobody before it has written what it has done."""
    time.sleep(SETTLED)
    return stored_state(worker.state)


def put(http: httpx.Client, text: str = LARGE) -> str:
    answer = http.put("/contexts", content=text.encode(), headers={"content-type": "text/plain"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["contextId"])


def asked(http: httpx.Client, **body: object) -> str:
    answer = http.post("/rlm", json={"query": "number for amber-fox?", **body})
    assert answer.status_code in (200, 202), answer.text
    return str(answer.json()["sessionId"])


def until(reached: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, "that did not come"
        time.sleep(0.1)


def test_sessions_leave_nothing(worker: DevProcess, http: httpx.Client, scripted: ScriptedModel) -> None:
    """Over a context sent along, over one that was put, and with a REPL; their caches too."""
    stored = put(http)
    sessions = [asked(http, context=LARGE), asked(http, contextId=stored, query="amber-fox's number?")]
    scripted.rules = plays(cell("print(llm_query('what is it?'))"), cell("FINAL('done')"))
    sessions.append(asked(http, context=LARGE, query="how many?", config={"strategy": "repl"}))
    before = left(worker)
    assert {name.split("/")[0] for name in before.objects} == {"contexts", "sessions"}
    assert {name.split(":")[0] for name in before.entries} == {"map", "result"}
    assert before.alarms == set(sessions)
    assert {table for _, _, table in before.rows} == TABLES
    for session in sessions:
        assert http.delete(f"/session/{session}").status_code == 204
    assert http.delete(f"/contexts/{stored}").status_code == 204
    assert left(worker) == NOTHING


def test_running_session_leaves_nothing(worker: DevProcess, http: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.latency = 0.3
    stored = put(http)
    config = {"chunkSize": 2_000, "maxSubCalls": 500}
    session = asked(http, contextId=stored, background=True, config=config)
    other = asked(http, context=LARGE, query="amber-fox?", background=True, config=config)
    scripted.wait_for_calls(10)
    assert http.delete(f"/contexts/{stored}").status_code == 409
    for running in (session, other):
        assert http.delete(f"/session/{running}").status_code == 204
    assert http.delete(f"/contexts/{stored}").status_code == 204
    assert left(worker) == NOTHING


def test_end_and_deletion_at_once(worker: DevProcess, http: httpx.Client) -> None:
    """A run that has just ended still puts its result into the cache: the deletion waits for it."""
    for number in range(20):
        query = f"number {number} for amber-fox?"
        assert http.delete(f"/session/{asked(http, context=LARGE, query=query)}").status_code == 204
    assert left(worker) == NOTHING


def test_replaced_context_goes(worker: DevProcess, http: httpx.Client) -> None:
    """The same request again, first with its text, then by the id of the same text: one session, two contexts."""
    uncached = {"useCache": False}
    session, stored = asked(http, context=LARGE, config=uncached), put(http)
    assert asked(http, contextId=stored, config=uncached) == session
    assert http.delete(f"/session/{session}").status_code == 204
    assert http.delete(f"/contexts/{stored}").status_code == 204
    assert left(worker) == NOTHING


def test_refused_upload_leaves_nothing(worker: DevProcess, http: httpx.Client) -> None:
    def broken() -> Iterator[bytes]:
        for _ in range(20):
            yield b"The grass is green. " * 50_000
        yield b"\xff"

    answer = http.put("/contexts", content=broken(), headers={"content-type": "text/plain"})
    assert answer.status_code == 400, answer.text
    assert left(worker) == NOTHING


def test_batch_leaves_only_others(worker: DevProcess, http: httpx.Client) -> None:
    """Its sessions go, with contexts and caches; those that somebody else has asked for too stay theirs."""
    before, after = item("before"), item("after")
    mine = [asked(http, **before)]
    items = [
        {"context": LARGE, "query": "number for amber-fox?"},
        before,
        after,
        item("fresh", config={"useCache": False}),
        *[item("twice")] * 2,
    ]
    batches = [submitted(http, items), submitted(http, [item("twice"), item("other")])]
    for batch in batches:
        assert awaited(http, batch)["failed"] == 0
    mine.append(asked(http, **{**after, "config": {"useCache": False}}))
    kept = left(worker)
    assert kept.classes() == {"RLMSession", "RLMBatch"}
    assert any(name.startswith("sessions/") for name in kept.objects)
    for batch in batches:
        assert http.delete(f"/rlm/batch/{batch}").status_code == 204
        until(lambda batch=batch: http.get(f"/rlm/batch/{batch}").status_code == 404)  # type: ignore[misc]
    kept = left(worker)
    assert kept.alarms == set(mine)
    assert kept.entries == {f"result:{session}" for session in mine}
    assert not kept.objects
    assert kept.classes() == {"RLMSession"}
    assert len({name for _, name, _ in kept.rows}) == len(mine)
    for session in mine:
        assert http.delete(f"/session/{session}").status_code == 204
    assert left(worker) == NOTHING


def test_running_batch_leaves_nothing(worker: DevProcess, http: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.latency = 0.3
    batch = submitted(http, [{"context": LARGE, "query": "amber-fox?"}, *(item(f"go{number}") for number in range(60))])
    awaited(http, batch, until=lambda state: int(str(state["completed"])) >= 5)
    assert http.delete(f"/rlm/batch/{batch}").status_code == 204

    def gone() -> bool:
        return left(worker) == NOTHING

    until(gone)


def test_age_takes_everything(start_worker: StartWorker, tmp_path: Path, scripted: ScriptedModel) -> None:
    """Sessions go by their alarms; a context that was put is refused when it is old, and goes at that."""
    keeps = 4.0
    worker = start_worker(vars={"SESSION_TTL_DAYS": str(keeps / SECONDS_PER_DAY)})
    with httpx.Client(base_url=worker.url, timeout=60) as http:
        stored, forgotten = put(http), put(http)
        sessions = [asked(http, context=LARGE), asked(http, contextId=stored, query="amber-fox's number?")]
        time.sleep(keeps)
        refused = http.post("/rlm", json={"contextId": stored, "query": "and now?"})
        assert (refused.status_code, refused.json()["error"]["detail"][0]["path"]) == (422, "contextId")
        assert http.delete(f"/contexts/{forgotten}").status_code == 404
        for session in sessions:
            until(lambda session=session: http.get(f"/session/{session}/status").status_code == 404)  # type: ignore[misc]
    assert left(worker) == NOTHING


def test_old_context_outlives_its_reader(start_worker: StartWorker, scripted: ScriptedModel) -> None:
    """Nobody begins to read it any more, and who reads it already reads it to the end."""
    keeps = 2.0
    scripted.latency = lambda call: 0.5 if "slow" in call.text else 0.0
    worker = start_worker(vars={"SESSION_TTL_DAYS": str(keeps / SECONDS_PER_DAY), "MAX_CONCURRENCY": "2"})
    with httpx.Client(base_url=worker.url, timeout=60) as http:
        stored = put(http)
        config = {"chunkSize": 7_000}
        session = asked(http, contextId=stored, query="slow: amber-fox?", background=True, config=config)
        time.sleep(keeps + 0.5)
        assert http.post("/rlm", json={"contextId": stored, "query": "late?"}).status_code == 422
        assert http.get(f"/session/{session}/status").json()["status"] == "running"
        until(lambda: http.get(f"/session/{session}/result").status_code == 200)
        assert "is: 7481932." in http.get(f"/session/{session}/result").json()["answer"]
        assert http.post("/rlm", json={"contextId": stored, "query": "last?"}).status_code == 422
        until(lambda: http.get(f"/session/{session}/status").status_code == 404)
    assert left(worker) == NOTHING

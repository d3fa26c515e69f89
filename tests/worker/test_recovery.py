"""A power failure at any moment: the run goes on, its answer is the same, and nothing journalled is paid again."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.model import ScriptedModel
from tests.worker.conftest import StartWorker
from tests.worker.stored_state import databases, opened
from tests.worker.texts import haystack, needle, unheard

pytestmark = pytest.mark.worker
CONTEXT = haystack(600_000, needle(), at=0.8)
BODY = {"context": CONTEXT, "query": "number for amber-fox?", "config": {"chunkSize": 10_000, "maxSubCalls": 100}}
# So many calls are in flight at the most: what a crash may cost.
WIDTH = 4
FAST = {"MAX_CONCURRENCY": str(WIDTH), "FIRST_CONCURRENCY": str(WIDTH), "MODEL_BACKOFF_SECONDS": "0.05"}
# One kill late, one early, one in the middle; the rest of the series with --full.
SEEDS = [seed if seed in (0, 1, 5) else pytest.param(seed, marks=pytest.mark.full) for seed in range(10)]


def submit(worker: DevProcess) -> str:
    answer = httpx.post(f"{worker.url}/rlm", json={**BODY, "background": True}, timeout=60)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/session/{answer.json()['sessionId']}/status"
    return str(answer.json()["sessionId"])


def result_of(worker: DevProcess, session: str, *, seconds: float = 120) -> dict[str, object]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = httpx.get(f"{worker.url}/session/{session}/result", timeout=60)
        if answer.status_code == 200:
            result: dict[str, object] = answer.json()
            return result
        assert answer.status_code == 202, answer.text
        time.sleep(0.1)
    raise TimeoutError("the run did not end")


def journalled_chunks(state: Path) -> list[str]:
    """The chunks whose calls are in the journal on disk, as workerd will find them when it starts again."""
    (database,) = (path for path in databases(state / "do" / "rlm-worker-RLMSession") if path.stem != "metadata")
    with opened(database) as journal:
        spans = [json.loads(span) for (span,) in journal.execute("SELECT span FROM calls WHERE span IS NOT NULL")]
    return [CONTEXT[start:end] for _, start, end, _, _ in spans]


@pytest.fixture(scope="module")
def undisturbed(scripted_server: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    scripted_server.reset()
    with DevProcess(tmp_path_factory.mktemp("state"), ai=scripted_server.url, variables=FAST) as worker:
        return result_of(worker, submit(worker))


@pytest.mark.parametrize("seed", SEEDS)
def test_power_failure_loses_nothing(
    start_worker: StartWorker, scripted: ScriptedModel, undisturbed: dict[str, object], seed: int
) -> None:
    scripted.latency = 0.03
    worker = start_worker(vars=FAST)
    session = submit(worker)
    point = random.Random(seed).randrange(2, 58)
    scripted.wait_for_calls(point)
    worker.kill()
    before, journalled = len(scripted.calls), journalled_chunks(worker.state)
    worker.start()
    result = result_of(worker, session)
    asked = Counter(entry.call.digest for entry in scripted.calls)
    again = {digest for digest, times in asked.items() if times > 1}
    kept = {entry.call.digest for entry in scripted.calls if any(chunk in entry.call.text for chunk in journalled)}
    equal = all(result[part] == undisturbed[part] for part in ("answer", "subCalls", "coverage", "costUsd"))
    print(
        f"kill -9 at call {point} of {undisturbed['subCalls']}: {len(journalled)} chunks journalled before,"
        f" {len(again)} calls repeated ({len(again & kept)} of them journalled),"
        f" answer {'equal' if equal else 'DIFFERENT'}"
    )
    assert before < len(scripted.calls)
    assert len(kept) == len(journalled) >= point - WIDTH
    assert not again & kept
    assert len(again) <= WIDTH
    assert all(asked[digest] == 2 for digest in again)
    assert equal


def test_alarm_resumes_unasked(start_worker: StartWorker, scripted: ScriptedModel) -> None:
    scripted.latency = 0.05
    worker = start_worker(vars=FAST)
    submit(worker)
    scripted.wait_for_calls(10)
    worker.kill()
    before = len(scripted.calls)
    worker.start()
    scripted.wait_for_calls(before + 20, seconds=90)


def test_waiting_caller_gets_answer(
    start_worker: StartWorker, scripted: ScriptedModel, undisturbed: dict[str, object]
) -> None:
    """The same request again after the crash: the caller of a synchronous run is served from what was paid."""
    scripted.latency = 0.03
    worker = start_worker(vars=FAST)
    broken: list[object] = []

    def call() -> None:
        try:
            broken.append(httpx.post(f"{worker.url}/rlm", json=BODY, timeout=60).json())
        except httpx.TransportError as error:
            broken.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    scripted.wait_for_calls(30)
    worker.crash_workerd()
    caller.join()
    paid = len(scripted.answered)
    again = httpx.post(f"{worker.url}/rlm", json=BODY, timeout=120).json()
    assert again["answer"] == undisturbed["answer"]
    assert paid >= 30 - WIDTH
    assert len(scripted.answered) <= int(str(undisturbed["subCalls"])) + 1 + WIDTH


def test_hundred_callers_pay_once(start_worker: StartWorker, scripted: ScriptedModel) -> None:
    scripted.latency = 0.2
    worker = start_worker()
    answers: list[dict[str, object]] = []
    body = {"context": haystack(60_000, needle()), "query": "number for amber-fox?", "config": {"chunkSize": 20_000}}

    def call() -> None:
        answers.append(httpx.post(f"{worker.url}/rlm", json=body, timeout=120).json())

    callers = [threading.Thread(target=call) for _ in range(100)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(answers) == 100
    assert len({str(answer["answer"]) for answer in answers}) == 1
    assert all(answer["success"] for answer in answers)
    assert max(Counter(entry.call.digest for entry in scripted.calls).values()) == 1


def test_idempotency_key_is_one_run(http: httpx.Client, scripted: ScriptedModel) -> None:
    headers = {"idempotency-key": f"key-{time.time_ns()}"}
    key = unheard("amber-fox")
    body = {"context": haystack(800, needle(key)), "query": f"number for {key}?"}
    first = http.post("/rlm", json=body, headers=headers).json()
    second = http.post("/rlm", json=body, headers=headers).json()
    assert first["sessionId"] == second["sessionId"]
    assert len(scripted.calls) == 1
    uncached = http.post("/rlm", json={**body, "config": {"useCache": False}}, headers=headers).json()
    assert uncached["answer"] == first["answer"]
    assert len(scripted.calls) == 1
    other = http.post("/rlm", json={**body, "query": "something else?"}, headers=headers)
    assert other.status_code == 409
    assert other.json()["error"]["type"] == "conflict"


@pytest.mark.parametrize("attempt", range(5))
def test_two_texts_under_one_key(http: httpx.Client, attempt: int) -> None:
    """Two large bodies under one Idempotency-Key at once: one is answered from its own text, the other refused."""
    keys = [unheard(f"twin-{attempt}-{name}") for name in ("a", "b")]
    headers = {"idempotency-key": f"twins-{time.time_ns()}"}
    answers: dict[str, httpx.Response] = {}

    def ask(key: str) -> None:
        body = {"context": haystack(150_000, needle(key, key)), "query": f"number for {keys[0]} or {keys[1]}?"}
        answers[key] = httpx.post(f"{http.base_url}/rlm", json=body, headers=headers, timeout=120)

    callers = [threading.Thread(target=ask, args=(key,)) for key in keys]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert sorted(answer.status_code for answer in answers.values()) == [200, 409]
    (key,) = [key for key, answer in answers.items() if answer.status_code == 200]
    assert key in answers[key].json()["answer"]


def test_background_outlives_client(http: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.latency = 0.2
    key = unheard("jade-cat")
    body = {"context": haystack(70_000, needle(key, "5")), "query": f"{key}?", "config": {"chunkSize": 9_000}}
    session = http.post("/rlm", json={**body, "background": True}).json()["sessionId"]
    assert http.get(f"/session/{session}/result").status_code == 202
    phases = set()
    while (state := http.get(f"/session/{session}/status").json())["status"] == "running":
        phases.add(state["phase"])
        assert state["chunksDone"] <= max(1, state["chunks"])
        time.sleep(0.05)
    assert state["status"] == "completed"
    assert "reading" in phases
    result = http.get(f"/session/{session}/result").json()
    assert state["costUsd"] == pytest.approx(result["costUsd"])
    calls = http.get(f"/session/{session}/trajectory").json()["calls"]
    assert len(calls) == result["subCalls"] + result["iterations"]
    assert sum(call["costUsd"] for call in calls) == pytest.approx(result["costUsd"])
    sent = {entry.call.user for entry in scripted.calls}
    assert {call["prompt"][-1]["content"] for call in calls} == sent


def test_deletion_stops_a_run(http: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.latency = 0.2
    body = {"context": haystack(200_000, needle("opal-elk", "6")), "query": "opal-elk?", "config": {"chunkSize": 3_000}}
    session = http.post("/rlm", json={**body, "background": True}).json()["sessionId"]
    scripted.wait_for_calls(3)
    assert http.delete(f"/session/{session}").status_code == 204
    time.sleep(1.0)
    calls = len(scripted.calls)
    time.sleep(1.0)
    assert len(scripted.calls) == calls
    for part in ("status", "result", "events", "trajectory"):
        assert http.get(f"/session/{session}/{part}").status_code == 404
    assert http.delete(f"/session/{session}").status_code == 404


@pytest.fixture
def mortal(scripted: ScriptedModel, tmp_path: Path) -> Iterator[DevProcess]:
    """A deployment whose sessions can be aborted from inside."""
    front = Path(__file__).with_name("crashing_entry.py")
    with DevProcess(tmp_path / "state", ai=scripted.url, variables=FAST, front=front) as worker:
        yield worker


def test_aborted_session_goes_on(mortal: DevProcess, scripted: ScriptedModel, undisturbed: dict[str, object]) -> None:
    """Ten aborts from inside; the caller of the synchronous request waits through all of them and gets its answer."""
    scripted.latency = 0.05
    session = submit(mortal)
    answers: list[httpx.Response] = []
    caller = threading.Thread(
        target=lambda: answers.append(httpx.post(f"{mortal.url}/rlm", json=BODY, timeout=120)), daemon=True
    )
    caller.start()
    for calls in range(5, 55, 5):
        scripted.wait_for_calls(calls)
        assert httpx.put(f"{mortal.url}/crash/{session}", timeout=30).status_code == 200
    caller.join()
    asked = Counter(entry.call.digest for entry in scripted.calls)
    assert answers[0].status_code == 200
    assert answers[0].json()["answer"] == undisturbed["answer"]
    assert answers[0].json()["costUsd"] == undisturbed["costUsd"]
    assert sum(times - 1 for times in asked.values()) <= 10 * WIDTH


def test_context_in_use_stays(http: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.latency = 0.3
    key = unheard("onyx-owl")
    text = haystack(150_000, needle(key, "8")).encode()
    stored = http.put("/contexts", content=text, headers={"content-type": "text/plain"}).json()["contextId"]
    body = {"contextId": stored, "query": f"number for {key}?", "config": {"chunkSize": 9_000}, "background": True}
    session = http.post("/rlm", json=body).json()["sessionId"]
    refused = http.delete(f"/contexts/{stored}")
    assert (refused.status_code, refused.json()["error"]["type"]) == (409, "conflict")
    while http.get(f"/session/{session}/status").json()["status"] == "running":
        time.sleep(0.1)
    assert "is: 8." in http.get(f"/session/{session}/result").json()["answer"]
    assert http.delete(f"/contexts/{stored}").status_code == 204
    assert http.delete(f"/contexts/{stored}").status_code == 404
    told = http.get(f"/session/{session}/trajectory").json()["calls"]
    assert all(call["response"] for call in told)
    assert [bool(call["prompt"]) for call in told] == [call["chunk"] is None for call in told]
    again = http.post("/rlm", json={**body, "query": "another?", "background": False})
    assert again.status_code == 422

"""Who may call, how much, and what is another key's: in the real runtime."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator

import httpx
import pytest

from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.faults import Fault
from scripts.local.scripted.model import ScriptedModel
from tests.worker.conftest import StartWorker

pytestmark = pytest.mark.worker

KEYS = {name: f"secret-of-{name}" for name in ("ann", "ann2", "bob", "poor", "busy", "noisy")}
_numbers = itertools.count()


def entry(name: str, key: str) -> str:
    return f"{name}:{hashlib.sha256(key.encode()).hexdigest()}"


@pytest.fixture(scope="module")
def guarded(scripted_server: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevProcess]:
    """A deployment with keys: one slot each, a cent a day; `ann` has two keys, as while one replaces the other."""
    entries = [entry(name.removesuffix("2"), key) for name, key in KEYS.items()]
    variables = {"RLM_API_KEYS": ",".join(entries), "KEY_DAILY_USD": "0.01", "KEY_CONCURRENT_RUNS": "1"}
    with DevProcess(tmp_path_factory.mktemp("keys"), ai=scripted_server.url, variables=variables) as process:
        yield process


@pytest.fixture
def of(guarded: DevProcess, scripted: ScriptedModel) -> Iterator[dict[str, httpx.Client]]:
    """A client for each key."""
    clients = {
        name: httpx.Client(base_url=guarded.url, timeout=60, headers={"authorization": f"Bearer {key}"})
        for name, key in KEYS.items()
    }
    yield clients
    for client in clients.values():
        client.close()


def question(**more: object) -> dict[str, object]:
    """A request that no test has sent before."""
    text = f"Note {next(_numbers)}. One of the special magic numbers for tower is: 8123456."
    return {"context": text, "query": "What is the special magic number for tower?", **more}


def test_no_key_no_service(guarded: DevProcess, scripted: ScriptedModel) -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}, {"x-api-key": ""}, {"authorization": "Basic eDp5"}):
        answer = httpx.post(f"{guarded.url}/rlm", json=question(), headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"]["type"] == "unauthenticated"
    assert not scripted.calls


def test_health_tells_strangers_nothing(guarded: DevProcess, of: dict[str, httpx.Client]) -> None:
    assert httpx.get(f"{guarded.url}/health").json().keys() == {"status", "service", "version"}
    assert httpx.get(f"{guarded.url}/health?deep=1").status_code == 401
    known = of["ann"].get("/health").json()
    assert known["limits"]["keyDailyUsd"] == 0.01
    assert known["account"]["concurrentRuns"] == 1


def test_both_keys_during_rotation(of: dict[str, httpx.Client]) -> None:
    answer = of["ann"].post("/rlm", json=question()).json()
    status = of["ann2"].get(f"/session/{answer['sessionId']}/status")
    assert status.status_code == 200


def test_either_header_carries_key(guarded: DevProcess, scripted: ScriptedModel) -> None:
    answer = httpx.post(f"{guarded.url}/rlm", json=question(), headers={"x-api-key": KEYS["ann"]}, timeout=60)
    assert answer.status_code == 200


def test_sessions_are_private(of: dict[str, httpx.Client]) -> None:
    session = of["ann"].post("/rlm", json=question()).json()["sessionId"]
    never = "0" * 32
    for part in ("status", "result", "events", "trajectory"):
        foreign, absent = (of["bob"].get(f"/session/{name}/{part}") for name in (session, never))
        assert foreign.status_code == absent.status_code == 404
        assert foreign.json() == absent.json()
    assert of["bob"].delete(f"/session/{session}").status_code == 404
    assert of["ann"].get(f"/session/{session}/result").status_code == 200


def test_results_are_not_shared(of: dict[str, httpx.Client], scripted: ScriptedModel) -> None:
    wanted = question()
    of["ann"].post("/rlm", json=wanted)
    assert of["ann"].post("/rlm", json=wanted).json()["cacheHit"]
    before = len(scripted.calls)
    assert not of["bob"].post("/rlm", json=wanted).json()["cacheHit"]
    assert len(scripted.calls) == before + 1


def test_idempotency_keys_are_private(of: dict[str, httpx.Client]) -> None:
    first = of["ann"].post("/rlm", json=question(), headers={"idempotency-key": "order-1"})
    second = of["bob"].post("/rlm", json=question(), headers={"idempotency-key": "order-1"})
    assert first.status_code == second.status_code == 200
    assert first.json()["sessionId"] != second.json()["sessionId"]


def test_contexts_are_private(of: dict[str, httpx.Client]) -> None:
    text = f"Note {next(_numbers)}. One of the special magic numbers for tower is: 5550001."
    stored = of["ann"].put("/contexts", content=text, headers={"content-type": "text/plain"}).json()["contextId"]
    wanted = {"contextId": stored, "query": "What is the special magic number for tower?"}
    foreign = of["bob"].post("/rlm", json=wanted)
    absent = of["bob"].post("/rlm", json={**wanted, "contextId": "ctx_" + "0" * 32})
    assert foreign.status_code == absent.status_code >= 400
    assert foreign.json() == absent.json()
    assert "5550001" in of["ann"].post("/rlm", json=wanted).json()["answer"]


def test_slots_are_exact(of: dict[str, httpx.Client], scripted: ScriptedModel) -> None:
    busy, wanted = of["busy"], question(background=True)
    scripted.faults = [Fault("hang", times=1)]
    running = busy.post("/rlm", json=wanted).json()["sessionId"]
    scripted.wait_for_calls(1)
    refused = busy.post("/rlm", json=question())
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limited")
    assert int(refused.headers["retry-after"]) > 0
    assert busy.post("/rlm", json=wanted).status_code == 202  # joins what is going on
    assert of["bob"].post("/rlm", json=question()).status_code == 200
    assert busy.delete(f"/session/{running}").status_code == 204
    assert busy.post("/rlm", json=question()).status_code == 200


def test_daily_cap_is_exact(of: dict[str, httpx.Client], scripted: ScriptedModel) -> None:
    poor, spent, answers = of["poor"], 0.0, []
    long = "The grass is green. " * 2_000
    for number in range(40):
        answer = poor.post("/rlm", json={"context": f"{number}. {long}", "query": "why?"})
        answers.append(answer)
        spent += answer.json().get("costUsd", 0.0)
        if answer.status_code == 429:
            break
    assert answers[0].status_code == 200
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) > 0
    assert 0.005 < spent <= 0.01
    account = poor.get("/health").json()["account"]
    assert account["spentTodayUsd"] == pytest.approx(spent, abs=1e-8)
    assert account["runs"] == 0
    calls = len(scripted.calls)
    assert poor.post("/rlm", json={"context": f"0. {long}", "query": "why?"}).json()["cacheHit"]
    assert len(scripted.calls) == calls


def test_requests_are_braked(of: dict[str, httpx.Client], scripted: ScriptedModel) -> None:
    served = 0
    while (answer := of["noisy"].post("/rlm", json={})).status_code == 422 and served < 602:
        served += 1  # two periods at most, should one end meanwhile
    assert served >= 300
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
    assert of["noisy"].get("/health").status_code == 200
    assert of["bob"].post("/rlm", json={}).status_code == 422
    assert not scripted.calls


def test_guests_need_a_configured_key(start_worker: StartWorker, scripted: ScriptedModel) -> None:
    worker = start_worker(vars={"RLM_LOCAL": ""})
    for method, path in (("POST", "/rlm"), ("PUT", "/contexts"), ("GET", f"/session/{'0' * 32}/status")):
        answer = httpx.request(method, f"{worker.url}{path}", json=question() if method == "POST" else None)
        assert (answer.status_code, answer.json()["error"]["type"]) == (503, "not_configured")
        assert "RLM_API_KEYS" in answer.json()["error"]["message"]
    assert httpx.get(f"{worker.url}/health").status_code == 200
    assert httpx.get(f"{worker.url}/health?deep=1").status_code == 503
    assert not scripted.calls

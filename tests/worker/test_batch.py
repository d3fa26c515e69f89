"""Batches: items validated one by one, run through the queue, paid once, told in the order of the input."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable

import httpx
import pytest

from rlm_client import RLMClient
from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.faults import Fault
from scripts.local.scripted.model import ScriptedModel
from tests.worker.conftest import StartWorker

pytestmark = pytest.mark.worker
ROOT = "@cf/meta/llama-3.3-70b-instruct-fp8-fast"
# One attempt at a model for each attempt of the queue, and no pause between these.
EAGER = {
    "BATCH_RETRY_SECONDS": "0.1",
    "MODEL_ATTEMPTS": "1",
    "MODEL_PATIENCE_SECONDS": "0",
    "KEY_CONCURRENT_RUNS": "0",
    "KEY_DAILY_USD": "0",
}
State = dict[str, object]


def item(key: str, **more: object) -> dict[str, object]:
    text = f"One of the special magic numbers for {key} is: {key}-value."
    return {"context": text, "query": f"What is the special magic number for {key}?", **more}


def submitted(http: httpx.Client, items: object, **headers: str) -> str:
    answer = http.post("/rlm/batch", json=items, headers=headers)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/rlm/batch/{answer.json()['batchId']}"
    return str(answer.json()["batchId"])


def awaited(
    http: httpx.Client, batch: str, until: Callable[[State], bool] | None = None, seconds: float = 300
) -> State:
    deadline = time.monotonic() + seconds
    while True:
        state: State = http.get(f"/rlm/batch/{batch}").json()
        if until(state) if until else state["status"] == "completed":
            return state
        assert time.monotonic() < deadline, state
        time.sleep(0.2)


def lines(http: httpx.Client, batch: str) -> list[dict[str, object]]:
    answer = http.get(f"/rlm/batch/{batch}/results")
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in answer.text.splitlines()]


def paid(scripted: ScriptedModel) -> Counter[str]:
    return Counter(entry.call.digest for entry in scripted.answered)


@pytest.mark.slow
def test_thousand_items_paid_once(start_worker: StartWorker, scripted: ScriptedModel) -> None:
    process = start_worker(vars=EAGER)
    scripted.faults = [Fault(3040, rate=0.05)]
    keys = [f"key{number}" for number in range(1_000)]
    with httpx.Client(base_url=process.url, timeout=120) as http:
        batch = submitted(http, [item(key) for key in keys])
        state = awaited(http, batch)
        found = lines(http, batch)
    assert (state["total"], state["completed"], state["failed"]) == (1_000, 1_000, 0)
    assert [line["index"] for line in found] == list(range(1_000))
    for key, line in zip(keys, found, strict=True):
        assert f"{key}-value" in str(line["answer"])
    refused = [entry for entry in scripted.calls if entry.outcome != "ok"]
    assert len(refused) >= 20
    assert len(paid(scripted)) == 1_000
    assert set(paid(scripted).values()) == {1}
    costs = sum(float(str(line["costUsd"])) for line in found)
    assert state["costUsd"] == pytest.approx(costs)


def test_items_stand_alone(http: httpx.Client) -> None:
    items = [
        item("good"),
        {"query": "no context"},
        item("typo", config={"rootModle": "x"}),
        item("model", config={"rootModel": "gpt-9"}),
        "not an object",
        item("also"),
    ]
    answer = http.post("/rlm/batch", json=items).json()
    assert (answer["total"], answer["accepted"], answer["rejected"]) == (6, 2, 4)
    state = awaited(http, answer["batchId"])
    assert (state["completed"], state["failed"], state["rejected"]) == (2, 4, 4)
    found = lines(http, answer["batchId"])
    assert [line["success"] for line in found] == [True, False, False, False, False, True]
    refused = [line["error"] for line in found if not line["success"]]
    assert {error["type"] for error in refused} == {"invalid_request"}  # type: ignore[index]
    assert refused[1]["detail"][0]["path"] == "config.rootModle"  # type: ignore[index]
    assert refused[2]["detail"][0]["path"] == "config.rootModel"  # type: ignore[index]


def test_lines_of_json(http: httpx.Client) -> None:
    body = json.dumps(item("line")) + "\n\n" + "{broken\n" + json.dumps(item("last"))
    answer = http.post("/rlm/batch", content=body, headers={"content-type": "application/x-ndjson"}).json()
    assert (answer["total"], answer["rejected"]) == (3, 1)
    awaited(http, answer["batchId"])
    found = lines(http, answer["batchId"])
    assert "line-value" in str(found[0]["answer"])
    assert found[1]["error"]["type"] in {"malformed_body", "invalid_request"}  # type: ignore[index]
    assert "last-value" in str(found[2]["answer"])


def test_large_item_travels(http: httpx.Client) -> None:
    filler = "The grass is green and the sky is blue. " * 12_000
    large = item("large")
    large["context"] = filler + str(large["context"])
    batch = submitted(http, [large, item("small")])
    awaited(http, batch)
    found = lines(http, batch)
    assert "large-value" in str(found[0]["answer"])
    assert found[0]["strategy"] == "map_reduce"
    assert "small-value" in str(found[1]["answer"])


def test_equal_items_one_payment(http: httpx.Client, scripted: ScriptedModel) -> None:
    batch = submitted(http, [item("equal")] * 20)
    state = awaited(http, batch)
    found = lines(http, batch)
    assert len(scripted.answered) == 1
    assert len({str(line["answer"]) for line in found}) == 1
    assert state["costUsd"] == max(line["costUsd"] for line in found)  # type: ignore[type-var]


def test_key_makes_one_batch(http: httpx.Client, scripted: ScriptedModel) -> None:
    items = [item("keyed1"), item("keyed2", config={"useCache": False})]
    first = submitted(http, items, **{"idempotency-key": "batch-1"})
    assert submitted(http, items, **{"idempotency-key": "batch-1"}) == first
    awaited(http, first)
    assert len(scripted.answered) == 2
    other = http.post("/rlm/batch", json=[item("other")], headers={"idempotency-key": "batch-1"})
    assert other.status_code == 409
    assert len(lines(http, first)) == 2


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"", 422, "invalid_request"),
        (b"[]", 422, "invalid_request"),
        (b'[{"query": "x"}', 400, "malformed_body"),
        (b'[{"query": "x"},]', 400, "malformed_body"),
        (b"[1] 2", 400, "malformed_body"),
        (b"[\xff]", 400, "malformed_body"),
        (b"[" + b"1," * 10_000 + b"1]", 413, "payload_too_large"),
        (b"1\n" * 10_001, 413, "payload_too_large"),
    ],
)
def test_broken_batch_is_refused(http: httpx.Client, body: bytes, status: int, kind: str) -> None:
    key = {"content-type": "application/json", "idempotency-key": f"broken {hash(body)}"}
    answer = http.post("/rlm/batch", content=body, headers=key)
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)
    # Nothing is left of it: the key is free for a whole batch.
    assert http.post("/rlm/batch", json=[item("after")], headers=key).status_code == 202


def test_dead_letters_are_told(start_worker: StartWorker, scripted: ScriptedModel) -> None:
    process = start_worker(vars=EAGER)
    scripted.faults = [Fault(3040, when="doomed")]
    with httpx.Client(base_url=process.url, timeout=60) as http:
        batch = submitted(http, [item("fine"), item("doomed"), item("well")])
        state = awaited(http, batch, seconds=120)
        found = lines(http, batch)
    assert (state["completed"], state["failed"]) == (2, 1)
    assert found[1]["status"] == "failed"
    assert found[1]["error"]["type"] == "model_unavailable"  # type: ignore[index]
    # The first delivery and the queue's five retries, each with the model and its fallback at most.
    tried = [entry for entry in scripted.calls if "doomed" in entry.call.text]
    assert len(tried) >= 6
    assert [line["success"] for line in found] == [True, False, True]


def test_refusal_is_not_repeated(http: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.faults = [Fault(5004, when="refused")]
    batch = submitted(http, [item("refused"), item("taken")])
    state = awaited(http, batch)
    assert (state["completed"], state["failed"]) == (1, 1)
    assert len([entry for entry in scripted.calls if "refused" in entry.call.text]) == 1
    assert lines(http, batch)[0]["error"]["type"] == "model_refused"  # type: ignore[index]


def test_deletion_stops_and_deletes(http: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.latency = 0.3
    batch = submitted(http, [item(f"going{number}") for number in range(200)])
    awaited(http, batch, until=lambda state: int(str(state["completed"])) >= 5)
    sessions = [str(line["sessionId"]) for line in lines(http, batch) if line["success"]]
    began = time.monotonic()
    assert http.delete(f"/rlm/batch/{batch}").status_code == 204
    assert time.monotonic() - began < 30
    for path in ("", "/results"):
        assert http.get(f"/rlm/batch/{batch}{path}").status_code == 404
    assert http.delete(f"/rlm/batch/{batch}").status_code == 404
    time.sleep(1.5)
    calls = len(scripted.calls)
    time.sleep(1.5)
    assert len(scripted.calls) == calls < 150
    for session in sessions:
        assert http.get(f"/session/{session}/status").status_code == 404


def test_results_while_running(http: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.faults = [Fault("hang", when="slow")]
    batch = submitted(http, [item("quick"), item("slow")])
    awaited(http, batch, until=lambda state: state["completed"] == 1 and state["running"] == 1)
    found = lines(http, batch)
    assert [line["status"] for line in found] == ["completed", "running"]
    assert not found[1]["success"]
    assert http.delete(f"/rlm/batch/{batch}").status_code == 204


def test_other_key_sees_nothing(start_worker: StartWorker) -> None:
    digests = {"foo": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
               "bar": "fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9"}  # fmt: skip
    process = start_worker(vars={"RLM_API_KEYS": f"ada:{digests['foo']},bob:{digests['bar']}"})
    mine, theirs = ({"authorization": f"Bearer {key}"} for key in ("foo", "bar"))
    with httpx.Client(base_url=process.url, timeout=60) as http:
        batch = submitted(http, [item("mine")], **mine)
        for method, path in (("GET", ""), ("GET", "/results"), ("DELETE", "")):
            assert http.request(method, f"/rlm/batch/{batch}{path}").status_code == 401
            assert http.request(method, f"/rlm/batch/{batch}{path}", headers=theirs).status_code == 404
        assert http.get(f"/rlm/batch/{batch}", headers=mine).status_code == 200


def test_crash_loses_nothing(start_worker: StartWorker, scripted: ScriptedModel) -> None:
    process = start_worker(vars={**EAGER, "BATCH_STALL_SECONDS": "2"})
    scripted.latency = 0.05
    with httpx.Client(base_url=process.url, timeout=60) as http:
        batch = submitted(http, [item(f"crash{number}") for number in range(60)])
        awaited(http, batch, until=lambda state: int(str(state["completed"])) >= 10)
        process.crash_workerd()
        state = awaited(http, batch, seconds=120)
        found = lines(http, batch)
    assert (state["completed"], state["failed"]) == (60, 0)
    assert all(f"crash{number}-value" in str(line["answer"]) for number, line in enumerate(found))
    # Only what was in flight when the power went may be asked again: one delivery of ten.
    assert len(scripted.calls) <= 70


def test_client_speaks_batch(worker: DevProcess, http: httpx.Client) -> None:
    with RLMClient(base_url=worker.url, api_key="any") as client:
        sent = client.batch([item("client"), {"query": "no context"}])
        state = client.wait_batch(sent.batch_id, timeout=60)
        found = client.batch_results(sent.batch_id)
        client.cancel_batch(sent.batch_id)
    assert (state.total, state.completed, state.failed) == (2, 1, 1)
    assert state.cost_usd > 0
    assert [one.index for one in found] == [0, 1]
    assert "client-value" in (found[0].answer or "")
    assert found[1].error is not None

"""Each binding absent, throwing, slow, wrong, or failing at its n-th use: what callers see; what is lost: nothing."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.model import ScriptedModel
from scripts.local.scripted.rules import fixed

pytestmark = pytest.mark.worker

FRONT = Path(__file__).with_name("faulty_entry.py")
KEY = "the key"
QUERY = "What is the special magic number for tower?"
NEEDLE = "One of the special magic numbers for tower is: 8123456."
MODES = ("absent", "throwing", "slow", "wrong", "nth")
_numbers = itertools.count()


@dataclass(frozen=True)
class Promise:
    """What one binding's failure may do: the status and error type by mode; a mode that is not named harms nobody."""

    binding: str
    harm: dict[str, tuple[int, str]]
    large: bool = False
    strategy: str = "auto"
    uses: tuple[int, ...] = (1, 2, 3)


DOWN = (503, "storage_unavailable")
PROMISES = [
    Promise("RLM_CACHE", {}),
    Promise("RLM_CACHE", {}, large=True),
    Promise("RLM_ANALYTICS", {}),
    Promise("RLM_RATE_LIMITER", {}),
    Promise("RLM_BATCH_QUEUE", {}),
    Promise("RLM_LOADER", {}),
    Promise("RLM_PACE", {}),
    Promise("RLM_PACE", {}, large=True),
    Promise("RLM_CONTEXT_STORAGE", {}),
    Promise("RLM_CONTEXT_STORAGE", {"absent": DOWN, "throwing": DOWN, "wrong": DOWN}, large=True, uses=(1, 2, 3, 4)),
    Promise("RLM_SESSIONS", {"absent": DOWN, "throwing": DOWN, "wrong": DOWN}),
    Promise("RLM_SESSIONS", {"absent": DOWN, "throwing": DOWN, "wrong": DOWN}, large=True),
    Promise("RLM_KEYS", {}),
    Promise("RLM_ACCOUNTS", {"absent": DOWN, "throwing": DOWN, "wrong": DOWN}),
    Promise(
        "AI",
        {
            "absent": (502, "model_refused"),
            "throwing": (503, "model_unavailable"),
            "slow": (503, "model_unavailable"),
            "wrong": (503, "model_unavailable"),
        },
    ),
    Promise(
        "AI",
        {
            "absent": (502, "model_refused"),
            "throwing": (503, "model_unavailable"),
            "slow": (503, "model_unavailable"),
            "wrong": (503, "model_unavailable"),
        },
        large=True,
    ),
]


def _cases() -> Iterator[object]:
    for promise in PROMISES:
        for mode in MODES:
            for use in promise.uses if mode == "nth" else (0,):
                size = "large" if promise.large else "small"
                yield pytest.param(promise, mode, use, id=f"{promise.binding}-{size}-{mode}{use or ''}")


@pytest.fixture(scope="module")
def faulty(scripted_server: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevProcess]:
    variables = {
        "RLM_API_KEYS": f"tester:{hashlib.sha256(KEY.encode()).hexdigest()}",
        "MODEL_ATTEMPTS": "3",
        "MODEL_BACKOFF_SECONDS": "0.01",
        "MODEL_TIMEOUT_SECONDS": "1",
        "BATCH_STALL_SECONDS": "3",
    }
    folder = tmp_path_factory.mktemp("faults")
    with DevProcess(folder, ai=scripted_server.url, variables=variables, front=FRONT) as process:
        yield process


@pytest.fixture
def client(faulty: DevProcess, scripted: ScriptedModel) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=faulty.url, timeout=120, headers=headers) as client:
        yield client
        client.put("/faults", json={})


def text_of(lines: int) -> str:
    """No two lines alike, in this text or in any other; the needle at the end."""
    mark = next(_numbers)
    return "".join(f"{mark}.{line}. The grass is green, the sky is blue.\n" for line in range(lines)) + NEEDLE


def question(*, large: bool) -> dict[str, object]:
    """A request that no test has sent before; a large one is read from R2 in chunks."""
    return {"context": text_of(3_000 if large else 1), "query": QUERY, "config": {"chunkSize": 20_000}}


@pytest.mark.parametrize(("promise", "mode", "use"), list(_cases()))
def test_fault_is_survived(
    promise: Promise, mode: str, use: int, client: httpx.Client, scripted: ScriptedModel
) -> None:
    wanted = question(large=promise.large)
    client.put("/faults", json={promise.binding: {"mode": mode, "n": use or None}})
    struck = client.post("/rlm", json=wanted)
    status, kind = promise.harm.get(mode, (200, ""))
    assert struck.status_code == status, struck.text[:400]
    assert kind in struck.text
    paid = len(scripted.answered)

    client.put("/faults", json={})
    healed = client.post("/rlm", json=wanted)
    assert healed.status_code == 200
    assert "8123456" in healed.json()["answer"]
    digests = [entry.call.digest for entry in scripted.answered]
    assert len(digests) == len(set(digests)), "a call was paid twice"
    assert len(digests) >= paid
    assert client.get("/health").status_code == 200


BATCH_HARM = {
    ("RLM_BATCHES", "absent"): (400, "binding_missing"),
    ("RLM_BATCHES", "throwing"): DOWN,
    ("RLM_BATCHES", "wrong"): DOWN,
    ("RLM_BATCH_QUEUE", "absent"): (400, "binding_missing"),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("binding", ["RLM_BATCHES", "RLM_BATCH_QUEUE"])
def test_batch_fault_is_survived(binding: str, mode: str, client: httpx.Client, scripted: ScriptedModel) -> None:
    items = [question(large=False) for _ in range(3)]
    client.put("/faults", json={binding: {"mode": mode, "n": 1}})
    struck = client.post("/rlm/batch", json=items)
    status, kind = BATCH_HARM.get((binding, mode), (202, ""))
    assert struck.status_code == status, struck.text[:400]
    assert kind in struck.text

    client.put("/faults", json={})
    again = client.post("/rlm/batch", json=items).json()["batchId"]
    for batch in {again, struck.json().get("batchId", again)}:
        _wait_for_batch(client, batch)
        assert client.get(f"/rlm/batch/{batch}/results").text.count("8123456") >= 3
    digests = [entry.call.digest for entry in scripted.answered]
    assert len(digests) == len(set(digests)) == 3


def _wait_for_batch(client: httpx.Client, batch: str) -> None:
    deadline = time.monotonic() + 90
    while (state := client.get(f"/rlm/batch/{batch}").json())["status"] != "completed":
        assert time.monotonic() < deadline, state
        time.sleep(0.1)


LOADER_HARM = {"absent": (400, "binding_missing"), "throwing": DOWN, "nth": DOWN}


@pytest.mark.parametrize("mode", ["absent", "throwing", "nth"])
def test_loader_fault_is_survived(mode: str, client: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.rules = [fixed("```repl\nFINAL('forty-two')\n```")]
    wanted = {**question(large=False), "config": {"strategy": "repl"}}
    client.put("/faults", json={"RLM_LOADER": {"mode": mode, "n": 1}})
    struck = client.post("/rlm", json=wanted)
    status, kind = LOADER_HARM.get(mode, (200, ""))
    assert struck.status_code == status, struck.text[:400]
    assert kind in struck.text
    if mode == "absent":
        assert not scripted.calls

    client.put("/faults", json={})
    healed = client.post("/rlm", json=wanted).json()
    assert healed["answer"] == "forty-two", healed
    digests = [entry.call.digest for entry in scripted.answered]
    assert len(digests) == len(set(digests))


def test_storage_lost_midway(client: httpx.Client, scripted: ScriptedModel) -> None:
    """R2 goes down while chunks are being read; what was read is not read again."""
    wanted = question(large=True)
    wanted["context"] = text_of(50_000)
    scripted.latency = 0.05
    client.put("/faults", json={})
    running = client.post("/rlm", json={**wanted, "background": True}).json()["sessionId"]
    scripted.wait_for_calls(3)
    client.put("/faults", json={"RLM_CONTEXT_STORAGE": {"mode": "throwing"}})
    while (failed := client.get(f"/session/{running}/result")).status_code == 202:
        pass
    assert (failed.status_code, failed.json()["error"]["type"]) == DOWN
    client.put("/faults", json={})
    healed = client.post("/rlm", json=wanted)
    assert "8123456" in healed.json()["answer"]
    assert healed.json()["coverage"] == 1.0
    digests = [entry.call.digest for entry in scripted.answered]
    assert len(digests) - len(set(digests)) <= scripted.peak  # at most what was under way when it stopped
    assert len(set(digests)) > 2 * scripted.peak


def test_corrupt_cache_is_a_miss(client: httpx.Client, scripted: ScriptedModel) -> None:
    wanted = question(large=False)
    first = client.post("/rlm", json=wanted).json()
    client.put("/faults", json={"RLM_CACHE": {"mode": "wrong"}})
    again = client.post("/rlm", json=wanted)
    assert again.status_code == 200
    assert again.json()["answer"] == first["answer"]
    assert len(scripted.answered) == 1  # the session still knows its result


def test_deep_health_names_culprit(client: httpx.Client) -> None:
    for binding in (
        "AI",
        "RLM_CACHE",
        "RLM_CONTEXT_STORAGE",
        "RLM_SESSIONS",
        "RLM_ANALYTICS",
        "RLM_ACCOUNTS",
        "RLM_PACE",
    ):
        client.put("/faults", json={binding: {"mode": "absent"}})
        answer = client.get("/health?deep=1")
        assert (answer.status_code, answer.json()["failing"]) == (503, [binding])
    client.put("/faults", json={})
    assert client.get("/health?deep=1").status_code == 200

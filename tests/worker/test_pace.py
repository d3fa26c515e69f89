"""All runs of a deployment share the account's rate: nothing is lost, small questions pass, a crash changes nothing."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.faults import Fault
from scripts.local.scripted.model import ScriptedModel
from scripts.local.scripted.rate import Rate, Window
from scripts.local.scripted.rules import fixed
from tests.worker.conftest import StartWorker

pytestmark = pytest.mark.worker

SUB = "@cf/meta/llama-3.1-8b-instruct-fp8-fast"
# A minute of six seconds: what is asked of the model in the platform's time takes a tenth of it here.
CALLS, SECONDS = 60, 6.0
RATE = {"MODEL_CALLS_PER_MINUTE": json.dumps({SUB: CALLS}), "MODEL_RATE_SECONDS": str(SECONDS)}
QUICK = {"MODEL_ATTEMPTS": "2", "MODEL_BACKOFF_SECONDS": "0.05"}
KEYS = ("ada", "bea")
KEYED = {
    "RLM_API_KEYS": ",".join(f"{name}:{hashlib.sha256(name.encode()).hexdigest()}" for name in KEYS),
    "KEY_DAILY_USD": "0",
}
Result = dict[str, object]


def text_of(mark: str, chunks: int) -> str:
    """Chunks of 2,000 characters, none like another."""
    return "".join(f"{mark} {number}. The grass is green and the sky is blue.\n" for number in range(chunks * 38))


def question(mark: str, chunks: int, **config: object) -> dict[str, object]:
    wanted = {"strategy": "map_reduce", "chunkSize": 2_000, "maxSubCalls": 500, **config}
    return {"context": text_of(mark, chunks), "query": f"What is said of {mark}?", "config": wanted}


def ask(worker: DevProcess, body: Mapping[str, object], key: str = "ada") -> Result:
    headers = {"authorization": f"Bearer {key}"}
    answer = httpx.post(f"{worker.url}/rlm", json=body, timeout=300, headers=headers)
    result: Result = answer.json()
    return result


def all_of(worker: DevProcess, bodies: list[dict[str, object]]) -> list[Result]:
    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(lambda body: ask(worker, body), bodies))


def refused(scripted: ScriptedModel) -> int:
    return sum(entry.outcome == "error 3021" for entry in scripted.calls)


def most_in_window(scripted: ScriptedModel) -> int:
    times = sorted(entry.started for entry in scripted.calls if entry.call.model == SUB)
    return max((sum(at - SECONDS < other <= at for other in times) for at in times), default=0)


@pytest.fixture(scope="module")
def paced(scripted_server: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevProcess]:
    with DevProcess(
        tmp_path_factory.mktemp("pace"), ai=scripted_server.url, variables={**RATE, **QUICK, **KEYED}
    ) as process:
        yield process


@pytest.fixture
def model(scripted: ScriptedModel) -> ScriptedModel:
    scripted.rules, scripted.latency = [fixed("NONE")], 0.1
    return scripted


@pytest.mark.parametrize("window", ["sliding", "fixed"])
def test_ten_runs_lose_nothing(paced: DevProcess, model: ScriptedModel, window: Window) -> None:
    model.rate = Rate(CALLS, SECONDS, window)
    results = all_of(paced, [question(f"{window}{number}", 20) for number in range(10)])
    assert [result["coverage"] for result in results] == [1.0] * 10
    assert not any(result["incomplete"] for result in results)
    assert refused(model) == 0


def test_small_question_passes(paced: DevProcess, model: ScriptedModel) -> None:
    """A question of one call, sent while ten runs wait for theirs, is answered before any of them."""
    model.rate = Rate(CALLS, SECONDS)
    ended: list[str] = []

    def asked(mark: str, body: dict[str, object], key: str) -> None:
        assert ask(paced, body, key)["success"]
        ended.append(mark)

    with ThreadPoolExecutor(12) as pool:
        for number in range(10):
            pool.submit(asked, "large", question(f"large{number}", 20), "ada")
        model.wait_for_calls(CALLS // 2 + 1)
        small = {"context": "The sky is amber.", "query": "What colour?", "config": {"rootModel": "llama-3.1-8b"}}
        for key in KEYS:
            pool.submit(asked, "small", {**small, "query": f"What colour, {key}?"}, key)
    assert ended[:2] == ["small", "small"]
    assert ended.count("large") == 10


def test_rate_of_others_is_waited_for(paced: DevProcess, model: ScriptedModel) -> None:
    """The account's other Workers may use the same rate: what is refused is asked again until it is let in."""
    model.rate = Rate(CALLS // 3, SECONDS)
    results = all_of(paced, [question(f"shared{number}", 20) for number in range(3)])
    assert [result["coverage"] for result in results] == [1.0] * 3
    assert refused(model) > 0


def test_incomplete_result_is_not_cached(start_worker: StartWorker, model: ScriptedModel) -> None:
    worker = start_worker(vars={**QUICK, "MODEL_PATIENCE_SECONDS": "0"})
    model.faults = [Fault(3021, model=SUB, when=r"partly [1-9]\d\d\.")]
    body = question("partly", 10)
    partial = ask(worker, body)
    assert (partial["success"], partial["incomplete"], partial["cacheHit"]) == (True, True, False)
    assert any("passing reasons" in warning for warning in partial["warnings"])  # type: ignore[attr-defined]
    model.faults = []
    before = len(model.answered)
    whole = ask(worker, body)
    assert (whole["coverage"], whole["incomplete"], whole["cacheHit"]) == (1.0, False, False)
    chunks = int(str(whole["chunks"]))
    assert len(model.answered) - before < chunks
    assert len({entry.call.digest for entry in model.answered if entry.call.model == SUB}) == chunks
    assert ask(worker, body)["cacheHit"]


def test_batch_item_is_put_off(start_worker: StartWorker, model: ScriptedModel) -> None:
    """An item whose result lacks something is tried again, and told when it is whole."""
    worker = start_worker(vars={**QUICK, "MODEL_PATIENCE_SECONDS": "0", "BATCH_RETRY_SECONDS": "1"})
    model.faults = [Fault(3021, model=SUB, when=r"later [1-9]\d\d\.", attempts=2)]
    with httpx.Client(base_url=worker.url, timeout=60) as http:
        batch = http.post("/rlm/batch", json=[question("later", 10), question("now", 5)]).json()["batchId"]
        state = until(lambda: http.get(f"/rlm/batch/{batch}").json(), lambda found: found["status"] == "completed")
        lines = [json.loads(line) for line in http.get(f"/rlm/batch/{batch}/results").text.splitlines()]
    assert state["completed"] == 2
    assert [(line["coverage"], line["incomplete"]) for line in lines] == [(1.0, False)] * 2
    assert refused(model) > 0


def until(look: Callable[[], Result], holds: Callable[[Result], bool], seconds: float = 120) -> Result:
    deadline = time.monotonic() + seconds
    while not holds(found := look()):
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    return found


def phase(worker: DevProcess, sessions: list[str]) -> list[str]:
    headers = {"authorization": "Bearer ada"}
    states = [httpx.get(f"{worker.url}/session/{session}/status", timeout=60, headers=headers) for session in sessions]
    return [str(state.json()["phase"]) for state in states]


def test_crash_keeps_the_pace(start_worker: StartWorker, model: ScriptedModel) -> None:
    """A power failure forgets no more than a little of what was granted, and every run comes to its end."""
    worker = start_worker(vars={**RATE, **QUICK, **KEYED})
    model.rate = Rate(CALLS, SECONDS)
    headers = {"authorization": "Bearer ada"}
    bodies = [{**question(f"crash{number}", 20), "background": True} for number in range(6)]
    sessions = [
        httpx.post(f"{worker.url}/rlm", json=body, timeout=60, headers=headers).json()["sessionId"] for body in bodies
    ]
    model.wait_for_calls(CALLS - 10)
    until(lambda: {"phase": phase(worker, sessions)}, lambda found: "waiting" in str(found["phase"]))
    worker.restart()
    with httpx.Client(base_url=worker.url, timeout=60, headers=headers) as http:
        for session in sessions:
            state = until(
                lambda path=f"/session/{session}/status": http.get(path).json(),  # type: ignore[misc]
                lambda found: found["status"] != "running",
            )
            assert state["status"] == "completed"
            assert http.get(f"/session/{session}/result").json()["coverage"] == 1.0
    assert most_in_window(model) <= CALLS * 1.25

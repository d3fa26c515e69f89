"""Whatever the models do, no chunk is lost without a word."""

from __future__ import annotations

import httpx
import pytest

from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.faults import Fault, FaultKind
from scripts.local.scripted.model import ScriptedModel
from tests.worker.conftest import StartWorker
from tests.worker.texts import haystack, needle

pytestmark = pytest.mark.worker
ROOT = "@cf/meta/llama-3.3-70b-instruct-fp8-fast"
FALLBACK = "@cf/meta/llama-3.1-8b-instruct-fp8"
SUB = "@cf/meta/llama-3.1-8b-instruct-fp8-fast"
CONTEXT = haystack(240_000, needle(), at=0.9)
PASSING: list[int | FaultKind] = [
    3040,
    3021,
    3007,
    3008,
    3046,
    2021,
    "empty",
    "null",
    "numeric",
    "truncated",
    "disconnect",
    "garbage",
]
TERMINAL = [3006, 3036, 4006, 3042, 5007, 5004, 3003, 5016, 5018, 5035]


@pytest.fixture(scope="module")
def impatient(scripted_server: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> object:
    """A deployment that waits a second for an answer and hardly at all before it asks again."""
    variables = {"MODEL_TIMEOUT_SECONDS": "1", "MODEL_BACKOFF_SECONDS": "0.02", "MODEL_ATTEMPTS": "8"}
    with DevProcess(tmp_path_factory.mktemp("state"), ai=scripted_server.url, variables=variables) as process:
        yield process


def run(worker: DevProcess, **config: object) -> dict[str, object]:
    chosen = {"chunkSize": 10_000, "useCache": False, **config}
    body = {"context": CONTEXT, "query": "What is the number for amber-fox?", "config": chosen}
    answer = httpx.post(f"{worker.url}/rlm", json=body, timeout=120)
    assert answer.status_code < 600
    assert answer.status_code != 500, answer.text
    result: dict[str, object] = answer.json()
    return result


def lost_chunks_are_told(result: dict[str, object], scripted: ScriptedModel) -> None:
    """Either everything was read, or warnings and coverage say what was not."""
    warnings = result["warnings"]
    assert isinstance(warnings, list)
    if result["coverage"] == 1:
        return
    assert any("characters were read" in warning for warning in warnings)


@pytest.mark.parametrize("rate", [0.1, 0.5])
@pytest.mark.parametrize("fails", PASSING)
def test_passing_faults_are_overcome(
    impatient: DevProcess, scripted: ScriptedModel, fails: int | FaultKind, rate: float
) -> None:
    scripted.faults = [Fault(fails, rate=rate, model=SUB)]
    result = run(impatient)
    assert result["success"] is True, result
    assert "7481932" in str(result["answer"]) or result["coverage"] != 1 or fails == "numeric"
    lost_chunks_are_told(result, scripted)
    if fails != "numeric":
        assert float(str(result["coverage"])) > 0.9


@pytest.mark.parametrize("rate", [0.1, 0.5])
@pytest.mark.parametrize("code", TERMINAL)
def test_terminal_faults_are_told(impatient: DevProcess, scripted: ScriptedModel, code: int, rate: float) -> None:
    scripted.faults = [Fault(code, rate=rate, model=SUB)]
    result = run(impatient)
    lost_chunks_are_told(result, scripted)
    if code != 3006:
        failed = [entry for entry in scripted.calls if entry.outcome == f"error {code}"]
        assert failed
        assert len({entry.call.digest for entry in failed}) == len(failed), "a terminal error was asked again"
        assert str(code) in str(result["warnings"])


def test_hanging_call_is_ended(impatient: DevProcess, scripted: ScriptedModel) -> None:
    scripted.faults = [Fault("hang", rate=0.1, model=SUB)]
    result = run(impatient)
    assert result["coverage"] == 1
    assert "7481932" in str(result["answer"])


def test_no_capacity_goes_to_fallback(impatient: DevProcess, scripted: ScriptedModel) -> None:
    scripted.faults = [Fault(3040, model=SUB)]
    result = run(impatient)
    assert result["coverage"] == 1
    assert FALLBACK in {usage["model"] for usage in result["models"]}  # type: ignore[attr-defined]
    assert SUB not in {usage["model"] for usage in result["models"]}  # type: ignore[attr-defined]


def test_retry_after_is_honoured(impatient: DevProcess, scripted: ScriptedModel) -> None:
    scripted.faults = [Fault(3021, model=SUB, times=1, retry_after=1)]
    result = run(impatient)
    assert result["coverage"] == 1
    refused = next(entry for entry in scripted.calls if entry.outcome == "error 3021")
    again = next(e for e in scripted.calls if e.call.digest == refused.call.digest and e.outcome == "ok")
    assert again.started - refused.started >= 1


def test_everything_failing_is_told(impatient: DevProcess, scripted: ScriptedModel) -> None:
    scripted.faults = [Fault(3007)]
    body = {"context": CONTEXT, "query": "anything?", "config": {"useCache": False}}
    answer = httpx.post(f"{impatient.url}/rlm", json=body, timeout=120)
    assert answer.status_code == 503
    assert answer.json()["error"]["type"] == "model_unavailable"


def test_broken_stream_is_asked_again(impatient: DevProcess, scripted: ScriptedModel) -> None:
    scripted.faults = [Fault("truncated", model=ROOT, times=1)]
    body = {"context": haystack(900, needle()), "query": "number for amber-fox?", "stream": True}
    with httpx.stream("POST", f"{impatient.url}/rlm", json=body, timeout=60) as answer:
        text = "".join(answer.iter_text())
    assert '"restart": true' in text
    assert "event: result" in text


def test_deadline_ends_a_run(start_worker: StartWorker, scripted: ScriptedModel) -> None:
    scripted.latency = lambda call: 0.4 if call.model == SUB else 0.0
    worker = start_worker(vars={"MAX_CONCURRENCY": "4", "FIRST_CONCURRENCY": "2"})
    result = run(worker, timeoutSeconds=2.0)
    assert result["success"] is True
    assert result["truncated"] is True
    assert 0 < float(str(result["coverage"])) < 1
    assert "timeoutSeconds" in str(result["warnings"])


@pytest.mark.parametrize("limit", [0.0003, 0.001, 0.004])
def test_cost_limit_is_never_passed(impatient: DevProcess, scripted: ScriptedModel, limit: float) -> None:
    result = run(impatient, maxCostUsd=limit)
    spent = sum(
        (entry.call.prompt_tokens * (0.293 if entry.call.model == ROOT else 0.045) + 512 * 0) / 1e6
        for entry in scripted.answered
    )
    assert spent <= limit
    assert 0 < float(str(result["costUsd"])) <= limit
    assert result["truncated"] is True
    assert "maxCostUsd" in str(result["warnings"])


def test_deadline_ends_a_single_call(impatient: DevProcess, scripted: ScriptedModel) -> None:
    scripted.faults = [Fault("hang")]
    body = {"context": haystack(900), "query": "anything?", "config": {"timeoutSeconds": 0.5, "useCache": False}}
    answer = httpx.post(f"{impatient.url}/rlm", json=body, timeout=60)
    assert (answer.status_code, answer.json()["error"]["type"]) == (422, "usage_limit_exceeded")
    assert "timeoutSeconds" in answer.json()["error"]["message"]
    assert len(scripted.calls) == 1

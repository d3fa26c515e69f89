"""What the models were paid is what the result tells, whatever came of each attempt."""

from __future__ import annotations

import json
import time

import httpx
import pytest

from rlm_worker.models.catalog import Catalog
from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.calls import CallEntry, Reply, count_tokens
from scripts.local.scripted.faults import Fault
from scripts.local.scripted.model import ScriptedModel
from scripts.local.scripted.rules import fixed, for_model
from tests.worker.conftest import StartWorker
from tests.worker.texts import haystack, needle, unheard

pytestmark = pytest.mark.worker
ROOT = "@cf/meta/llama-3.3-70b-instruct-fp8-fast"
SUB = "@cf/meta/llama-3.1-8b-instruct-fp8-fast"
NEWER = "@cf/openai/gpt-oss-20b"
# Tokens that an answer may have at first: one that thinks before it gets room for that.
FIRST_ROOM = {ROOT: 1_024, NEWER: 2_048}
CONTEXT = haystack(120_000, needle(), at=0.9)
_CATALOG = Catalog.standard()


@pytest.fixture(scope="module")
def impatient(scripted_server: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> object:
    """A deployment that waits a second for an answer and hardly at all before it asks again."""
    variables = {"MODEL_TIMEOUT_SECONDS": "1", "MODEL_BACKOFF_SECONDS": "0.02", "MODEL_ATTEMPTS": "8"}
    with DevProcess(tmp_path_factory.mktemp("state"), ai=scripted_server.url, variables=variables) as process:
        yield process


def ask(worker: DevProcess, context: object = CONTEXT, **config: object) -> dict[str, object]:
    body = {
        "context": context,
        "query": f"What is the number for amber-fox? ({unheard('q')})",
        "config": {"chunkSize": 10_000, "useCache": False, **config},
    }
    answer = httpx.post(f"{worker.url}/rlm", json=body, timeout=120)
    assert answer.status_code != 500, answer.text
    result: dict[str, object] = answer.json()
    return result


def billed(entries: list[CallEntry]) -> float:
    """What a provider charges for these calls, in US dollars."""
    return sum(_price(entry) for entry in entries)


def _price(entry: CallEntry) -> float:
    model = _CATALOG.find(entry.call.model)
    assert model is not None
    return model.cost(entry.call.prompt_tokens, max(1, count_tokens(str(entry.answer))))


def billed_cut(entries: list[CallEntry], tokens: int) -> float:
    """The same for calls whose answers were cut at so many tokens."""
    return sum(
        found.cost(entry.call.prompt_tokens, tokens) for entry in entries if (found := _CATALOG.find(entry.call.model))
    )


def charged(scripted: ScriptedModel) -> list[CallEntry]:
    return [entry for entry in scripted.calls if entry.outcome in ("ok", "empty")]


def usd(result: dict[str, object]) -> float:
    return float(str(result["costUsd"]))


def test_empty_answers_are_booked(impatient: DevProcess, scripted: ScriptedModel) -> None:
    scripted.faults = [Fault("empty", rate=0.4, model=SUB)]
    result = ask(impatient)
    assert any(entry.outcome == "empty" for entry in scripted.calls)
    assert result["coverage"] == 1
    assert usd(result) == pytest.approx(billed(charged(scripted)), abs=1e-9)
    assert result["estimated"] is False
    found = httpx.get(f"{impatient.url}/session/{result['sessionId']}/trajectory").json()
    empty = [entry for entry in scripted.calls if entry.outcome == "empty"]
    assert len(found["failedAttempts"]) == len(empty)
    paid = [*found["calls"], *found["failedAttempts"]]
    assert sum(call["costUsd"] for call in paid) == pytest.approx(usd(result), abs=1e-9)


def test_empty_answers_keep_cap(impatient: DevProcess, scripted: ScriptedModel) -> None:
    scripted.faults = [Fault("empty")]
    result = ask(impatient, maxCostUsd=0.004)
    assert result["success"] is False
    assert usd(result) == pytest.approx(billed(charged(scripted)), abs=1e-9)
    assert 0 < usd(result) <= 0.004


@pytest.mark.parametrize("fails", ["garbage", "truncated", "disconnect"])
def test_broken_answers_are_estimated(impatient: DevProcess, scripted: ScriptedModel, fails: str) -> None:
    scripted.faults = [Fault(fails, model=SUB, attempts=1)]  # type: ignore[arg-type]
    result = ask(impatient)
    assert result["coverage"] == 1
    assert result["estimated"] is True
    assert usd(result) > 1.5 * billed(scripted.answered)


def test_timed_out_calls_are_aborted(impatient: DevProcess, scripted: ScriptedModel) -> None:
    """The model sees its connection go, and is not asked to write what nobody waits for."""
    scripted.faults = [Fault("hang", model=SUB, attempts=1)]
    result = ask(impatient)
    assert result["coverage"] == 1
    hung = [entry for entry in scripted.calls if entry.call.model == SUB and entry.call.attempt == 1]
    assert {entry.outcome for entry in hung} == {"cancelled"}
    assert all(entry.ended is not None and entry.ended - entry.started < 10 for entry in hung)
    assert result["estimated"] is True
    assert usd(result) > billed(scripted.answered) + len(hung) * 512 * 0.384e-6


def test_timed_out_calls_keep_cap(impatient: DevProcess, scripted: ScriptedModel) -> None:
    scripted.faults = [Fault("hang")]
    result = ask(impatient, maxCostUsd=0.006)
    assert result["success"] is False
    worst = sum(0.045e-6 * entry.call.prompt_tokens + 0.384e-6 * 512 for entry in scripted.calls)
    assert 0 < worst <= 0.006
    assert 0 < usd(result) <= 0.006


def test_cancelled_run_aborts_calls(impatient: DevProcess, scripted: ScriptedModel) -> None:
    scripted.faults = [Fault("hang")]
    body = {"context": CONTEXT, "query": unheard("q"), "background": True, "config": {"chunkSize": 10_000}}
    session = httpx.post(f"{impatient.url}/rlm", json=body, timeout=60).json()["sessionId"]
    scripted.wait_for_calls(5)
    httpx.delete(f"{impatient.url}/session/{session}", timeout=60)
    deadline = time.monotonic() + 20
    while scripted.in_flight and time.monotonic() < deadline:
        time.sleep(0.02)
    assert {entry.outcome for entry in scripted.calls} == {"cancelled"}


def test_equal_documents_are_asked_once(impatient: DevProcess, scripted: ScriptedModel) -> None:
    scripted.latency = 0.1
    documents = [{"name": "same.txt", "text": haystack(9_000, needle())} for _ in range(10)]
    result = ask(impatient, documents, chunkSize=9_500, strategy="map_reduce")
    digests = [entry.call.digest for entry in scripted.calls]
    assert len(digests) == len(set(digests))
    assert result["coverage"] == 1
    assert usd(result) == pytest.approx(billed(scripted.answered), abs=1e-9)


def test_cut_answer_is_truncated(impatient: DevProcess, scripted: ScriptedModel) -> None:
    scripted.rules = [fixed("blue " * 4_000)]
    for model, tokens in FIRST_ROOM.items():
        result = ask(impatient, haystack(900), rootModel=model)
        assert result["truncated"] is True
        assert f"the answer was cut at {tokens} tokens" in str(result["warnings"])


def streamed_result(worker: DevProcess, root: str) -> dict[str, object]:
    body = {
        "context": haystack(900),
        "query": unheard("q"),
        "stream": True,
        "config": {"useCache": False, "rootModel": root, "maxOutputTokens": 64},
    }
    with httpx.stream("POST", f"{worker.url}/rlm", json=body, timeout=60) as answer:
        lines = [*answer.iter_lines()]
    result: dict[str, object] = json.loads(lines[lines.index("event: result") + 1].removeprefix("data: "))
    return result


@pytest.mark.parametrize("model", [ROOT, NEWER])
def test_cut_stream_is_truncated(impatient: DevProcess, scripted: ScriptedModel, model: str) -> None:
    scripted.rules = [fixed("blue " * 4_000)]
    result = streamed_result(impatient, model)
    assert result["truncated"] is True
    assert usd(result) == pytest.approx(billed_cut(scripted.answered, 64), abs=1e-9)


def test_broken_stream_is_booked(impatient: DevProcess, scripted: ScriptedModel) -> None:
    scripted.rules = [fixed("blue " * 20)]
    scripted.faults = [Fault("truncated", model=ROOT, times=1)]
    result = streamed_result(impatient, ROOT)
    assert [entry.outcome for entry in scripted.calls] == ["truncated", "ok"]
    assert result["estimated"] is True
    models = result["models"]
    assert isinstance(models, list)
    assert [totals["calls"] for totals in models] == [2]
    assert usd(result) > billed(scripted.answered)


@pytest.mark.parametrize("model", [ROOT, NEWER])
def test_thinking_model_gets_room(impatient: DevProcess, scripted: ScriptedModel, model: str) -> None:
    """An answer that had no room to begin is asked for once more, not nine times."""
    first = FIRST_ROOM[model]
    scripted.rules = [
        lambda call: Reply("", usage={"prompt_tokens": 300, "completion_tokens": first}) if call.number == 1 else "blue"
    ]
    result = ask(impatient, haystack(900), rootModel=model)
    assert result["answer"] == "blue"
    assert [entry.call.max_tokens for entry in scripted.calls] == [first, 4 * first]
    assert float(str(result["totalOutputTokens"])) > first


def test_endless_thinking_is_told(impatient: DevProcess, scripted: ScriptedModel) -> None:
    scripted.rules = [
        for_model(NEWER, lambda call: Reply("", usage={"prompt_tokens": 300, "completion_tokens": call.max_tokens}))
    ]
    result = ask(impatient, haystack(900), rootModel=NEWER)
    error = result["error"]
    assert isinstance(error, dict)
    assert (error["type"], "maxOutputTokens" in error["message"]) == ("model_refused", True)
    assert len(scripted.calls) == 2
    assert usd(result) == pytest.approx((600 * 0.2 + (2_048 + 8_192) * 0.3) / 1e6, abs=1e-9)


def test_short_time_still_answers(start_worker: StartWorker, scripted: ScriptedModel) -> None:
    """Two seconds a call, five for the run, three million characters: an answer from what was read."""
    scripted.latency = 2.0
    worker = start_worker()
    result = ask(worker, haystack(3_000_000, needle(), at=0.001), chunkSize=50_000, timeoutSeconds=5.0)
    assert result["success"] is True, result
    assert result["truncated"] is True
    assert 0 < float(str(result["coverage"])) < 1
    assert "timeoutSeconds" in str(result["warnings"])

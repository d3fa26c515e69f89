"""Where not all chunks are read, each judge chooses them: its costs are booked, and words stand in where it fails."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping

import httpx
import pytest

from rlm_worker.models.catalog import Catalog
from rlm_worker.ports import JudgeName
from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.calls import CallEntry
from scripts.local.scripted.faults import Fault
from scripts.local.scripted.model import ScriptedModel
from scripts.local.scripted.rules import needle
from tests.worker.conftest import StartWorker

pytestmark = pytest.mark.worker
JUDGES: tuple[JudgeName, ...] = ("reranker", "embeddings", "decision")
FACT = "The veterinarian keeps the lioness in the seventh stable."
MEANINGS = {"veterinarian": "doctor", "lioness": "cat", "stable": "house"}
# No word of the fact's for those who judge by meaning; a decision model is shown passages that words have chosen.
QUERIES: Mapping[str, str] = {
    "reranker": "doctor cats",
    "embeddings": "doctor cats",
    "decision": "doctor cats lioness",
}
Result = dict[str, object]


def context(characters: int = 1_000_000) -> str:
    noise = [f"{number}. Grass grows green, and nobody minds that.\n" for number in range(characters // 50)]
    noise.insert(len(noise) * 2 // 3, f"{FACT}\n")
    return "".join(noise)


def model_of(judge: JudgeName) -> str:
    model = Catalog.standard().judge(judge)
    assert model is not None
    return model.id


def ask(worker: DevProcess, judge: str | None, query: str, **config: object) -> Result:
    wanted = {"strategy": "map_reduce", "maxSubCalls": 2, "useCache": False, **config}
    asked = {**wanted, "relevance": judge} if judge else wanted
    body = {"context": context(), "query": query, "config": asked}
    answer = httpx.post(f"{worker.url}/rlm", json=body, timeout=300)
    assert answer.status_code == 200, answer.text
    result: Result = answer.json()
    return result


@pytest.fixture
def model(scripted: ScriptedModel) -> ScriptedModel:
    scripted.rules = [needle(r"The veterinarian keeps the lioness in the \w+ stable\.")]
    scripted.meanings = {**MEANINGS, "cats": "cat"}
    return scripted


def judged(model: ScriptedModel, judge: JudgeName) -> list[CallEntry]:
    return [entry for entry in model.calls if entry.call.model == model_of(judge)]


def usage_of(result: Result, judge: JudgeName) -> Mapping[str, object]:
    used = result["models"]
    assert isinstance(used, list)
    return next(usage for usage in used if usage["model"] == model_of(judge))


@pytest.mark.parametrize("judge", JUDGES)
def test_judge_chooses(worker: DevProcess, model: ScriptedModel, judge: JudgeName) -> None:
    result = ask(worker, judge, QUERIES[judge])
    assert FACT in str(result["answer"])
    assert result["relevance"] == {"asked": judge, "judge": judge}
    assert result["subCalls"] == 2
    assert float(str(result["coverage"])) < 0.5
    assert judged(model, judge)


def test_words_alone_miss(worker: DevProcess, model: ScriptedModel) -> None:
    result = ask(worker, None, QUERIES["reranker"])
    assert FACT not in str(result["answer"])
    assert result["relevance"] == {"asked": "bm25", "judge": "bm25"}


@pytest.mark.parametrize("judge", JUDGES)
def test_costs_are_the_logs(worker: DevProcess, model: ScriptedModel, judge: JudgeName) -> None:
    result = ask(worker, judge, QUERIES[judge])
    usage, calls = usage_of(result, judge), judged(model, judge)
    assert usage["calls"] == len(calls)
    assert usage["outputTokens"] == 0
    spec = Catalog.standard().judge(judge)
    assert spec is not None
    tokens = int(str(usage["inputTokens"]))
    assert float(str(usage["costUsd"])) == pytest.approx(spec.cost(tokens, 0))
    # Where the model reports no tokens, they are estimated, and said to be; the log's own count is a quarter of bytes.
    assert usage["estimated"] is (judge != "decision")
    counted = sum(entry.call.prompt_tokens for entry in calls)
    assert tokens == pytest.approx(counted, rel=0.6)
    trajectory = httpx.get(f"{worker.url}/session/{result['sessionId']}/trajectory", timeout=60).json()
    rows = [call for call in trajectory["calls"] if call["role"] == "judge"]
    assert len(rows) == len(calls)
    assert sum(call["costUsd"] for call in trajectory["calls"]) == pytest.approx(result["costUsd"])


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("fails", [3040, 5007, "garbage", "empty"], ids=str)
def test_failing_judge_leaves_words(
    start_worker: StartWorker, model: ScriptedModel, judge: JudgeName, fails: int
) -> None:
    worker = start_worker(vars={"MODEL_ATTEMPTS": "2", "MODEL_BACKOFF_SECONDS": "0.02", "MODEL_PATIENCE_SECONDS": "1"})
    model.faults = [Fault(fails, model=model_of(judge))]
    result = ask(worker, judge, "Where is the lioness?")
    assert FACT in str(result["answer"])
    assert result["relevance"] == {"asked": judge, "judge": "bm25"}
    assert f"the judge {judge} has failed" in str(result["warnings"])


def test_hanging_judge_leaves_words(start_worker: StartWorker, model: ScriptedModel) -> None:
    worker = start_worker(vars={"MODEL_TIMEOUT_SECONDS": "0.5", "MODEL_ATTEMPTS": "1"})
    model.faults = [Fault("hang", model=model_of("reranker"))]
    result = ask(worker, "reranker", "Where is the lioness?")
    assert FACT in str(result["answer"])
    assert "no answer from @cf/baai/bge-reranker-base in 0.5 s" in str(result["warnings"])
    assert usage_of(result, "reranker")["estimated"] is True


@pytest.mark.parametrize("judge", JUDGES)
def test_unaffordable_judge_is_not_asked(worker: DevProcess, model: ScriptedModel, judge: JudgeName) -> None:
    result = ask(worker, judge, "Where is the lioness?", maxCostUsd=0.0004, maxSubCalls=100)
    assert not judged(model, judge)
    assert f"the judge {judge} was not asked" in str(result["warnings"])
    assert float(str(result["costUsd"])) <= 0.0004


@pytest.mark.parametrize("judge", JUDGES)
def test_power_failure_pays_no_judge_twice(start_worker: StartWorker, model: ScriptedModel, judge: JudgeName) -> None:
    undisturbed = ask(start_worker(), judge, QUERIES[judge])
    expected = len(judged(model, judge))
    model.calls.clear()
    model.latency = 0.05
    worker = start_worker()
    wanted = {"strategy": "map_reduce", "maxSubCalls": 2, "useCache": False, "relevance": judge}
    body = {"context": context(), "query": QUERIES[judge], "config": wanted, "background": True}
    session = httpx.post(f"{worker.url}/rlm", json=body, timeout=60).json()["sessionId"]
    model.wait_for_calls(min(6, expected - 1))
    worker.kill()
    worker.start()
    result = wait_for_result(worker, session)
    asked = Counter(entry.call.digest for entry in judged(model, judge))
    again = [digest for digest, times in asked.items() if times > 1]
    assert len(asked) == expected
    assert len(again) <= 4  # those in flight
    for part in ("answer", "chunkOrder", "relevance", "costUsd"):
        assert result[part] == undisturbed[part]


def wait_for_result(worker: DevProcess, session: str) -> Result:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        answer = httpx.get(f"{worker.url}/session/{session}/result", timeout=60)
        if answer.status_code == 200:
            result: Result = answer.json()
            return result
        time.sleep(0.1)
    raise TimeoutError("the run did not end")


def test_judging_is_an_event(worker: DevProcess, model: ScriptedModel) -> None:
    result = ask(worker, "reranker", QUERIES["reranker"])
    events = httpx.get(f"{worker.url}/session/{result['sessionId']}/events", timeout=60).text
    assert events.count("event: judge") == 1
    assert events.index("event: judge") < events.index("event: plan")


def test_deployment_chooses_judge(start_worker: StartWorker, model: ScriptedModel) -> None:
    worker = start_worker(vars={"RELEVANCE": "reranker"})
    assert ask(worker, None, QUERIES["reranker"])["relevance"] == {"asked": "reranker", "judge": "reranker"}
    assert ask(worker, "bm25", QUERIES["reranker"])["relevance"] == {"asked": "bm25", "judge": "bm25"}


def test_wrong_judge_is_told(start_worker: StartWorker, worker: DevProcess, model: ScriptedModel) -> None:
    answer = httpx.get(f"{start_worker(vars={'RELEVANCE': 'magic'}).url}/health", timeout=60)
    assert "the var RELEVANCE must be one of bm25, reranker" in answer.text
    body = {"context": "text", "query": "query?", "config": {"relevance": "magic"}}
    refused = httpx.post(f"{worker.url}/rlm", json=body, timeout=60)
    assert refused.status_code == 422
    assert refused.json()["error"]["detail"][0]["path"] == "config.relevance"
    body = {"context": "text", "query": "query?", "config": {"subModel": model_of("embeddings")}}
    refused = httpx.post(f"{worker.url}/rlm", json=body, timeout=60)
    assert refused.status_code == 422
    assert "answers no prompts" in refused.text
    assert not model.calls

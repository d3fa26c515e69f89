"""Each way in which Workers AI fails, through the real binding path: what the caller sees, asks again and pays."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest

from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.calls import Reply
from scripts.local.scripted.faults import Fault, FaultKind
from scripts.local.scripted.model import ScriptedModel
from tests.worker.test_repl import CONTEXT, cell

pytestmark = pytest.mark.worker
ROOT = "@cf/meta/llama-3.3-70b-instruct-fp8-fast"
WITH_FALLBACK = "@cf/meta/llama-3.1-8b-instruct-fp8-fast"
FALLBACK = "@cf/meta/llama-3.1-8b-instruct-fp8"
GLM = "@cf/zai-org/glm-4.7-flash"
ATTEMPTS = 3


@dataclass(frozen=True)
class Case:
    """A failure of every call, or of the first `times`; what comes of it."""

    fails: int | FaultKind
    status: int
    error: str
    calls: int
    words: str = ""
    says: str = ""
    paid: bool = False

    def __str__(self) -> str:
        return f"{self.fails} {self.says[:20]}".strip()


LASTING = [
    Case(3006, 413, "model_input_too_large", 1, "too large"),
    Case(5021, 413, "model_input_too_large", 1, "context window limit"),
    Case(
        3010,
        413,
        "model_input_too_large",
        1,
        "(35000)",
        says="AiError: The estimated number of tokens (35000) exceeded this model context window limit (24000)",
    ),
    Case(3010, 502, "model_refused", 1, "Invalid or incomplete"),
    Case(3036, 502, "model_refused", 1, "begins anew at 00:00 UTC"),
    Case(4006, 502, "model_refused", 1, "begins anew at 00:00 UTC"),
    Case(5035, 502, "model_refused", 1, "needs the Workers Paid plan"),
    Case(5007, 502, "model_refused", 1, "No such model"),
    Case(3042, 502, "model_refused", 1, "model name"),
    Case(5004, 502, "model_refused", 1, "Invalid data"),
    Case(3003, 502, "model_refused", 1, "missing headers"),
    Case(5016, 502, "model_refused", 1, "agree to this model's terms"),
    Case(5018, 502, "model_refused", 1, "may not use"),
    Case(3041, 502, "model_refused", 1, "may not use"),
    Case(3023, 502, "model_refused", 1, "switched off"),
    Case(2021, 502, "model_refused", 1, "unified billing", says="This model is not available via unified billing."),
    Case(2021, 502, "model_refused", 1, "no credits", says="no credits"),
    Case(2016, 502, "model_refused", 1, "blocked the prompt"),
    Case(2017, 502, "model_refused", 1, "blocked the model's answer", paid=True),
]
PASSING = [
    Case(3007, 503, "model_unavailable", ATTEMPTS, "3007", paid=True),
    Case(3008, 503, "model_unavailable", ATTEMPTS, "3008", paid=True),
    Case(3043, 503, "model_unavailable", ATTEMPTS, "3043", paid=True),
    Case(1031, 503, "model_unavailable", ATTEMPTS, "1031", paid=True),
    Case("null", 503, "model_unavailable", ATTEMPTS, "answered with nothing", paid=True),
    Case("empty", 503, "model_unavailable", ATTEMPTS, "answered with nothing", paid=True),
]
CAPACITY = [
    Case(3040, 0, "", 0),
    Case(3021, 0, "", 0),
    Case(2021, 0, "", 0),
    Case(7003, 0, "", 0),
    Case(2018, 0, "", 0),
]


@pytest.fixture(scope="module")
def impatient(scripted_server: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevProcess]:
    variables = {"MODEL_TIMEOUT_SECONDS": "20", "MODEL_BACKOFF_SECONDS": "0.02", "MODEL_ATTEMPTS": str(ATTEMPTS)}
    with DevProcess(tmp_path_factory.mktemp("state"), ai=scripted_server.url, variables=variables) as process:
        yield process


def run(worker: DevProcess, **config: object) -> tuple[int, dict[str, Any]]:
    config = {"strategy": "direct", "rootModel": ROOT, "useCache": False, **config}
    body = {"context": "The sky is blue.", "query": f"Which colour? {uuid4()}", "config": config}
    answer = httpx.post(f"{worker.url}/rlm", json=body, timeout=60)
    result = answer.json()
    assert isinstance(result, dict)
    return answer.status_code, result


@pytest.mark.parametrize("case", [*LASTING, *PASSING], ids=str)
def test_failure_is_told(impatient: DevProcess, scripted: ScriptedModel, case: Case) -> None:
    scripted.faults = [Fault(case.fails, says=case.says)]
    status, result = run(impatient)
    assert (status, result["error"]["type"]) == (case.status, case.error)
    assert case.words in result["error"]["message"]
    assert len(scripted.calls) == case.calls
    assert (result["costUsd"] > 0) == case.paid
    assert sum(usage["calls"] for usage in result["models"]) == (case.calls if case.paid else 0)


@pytest.mark.parametrize("case", CAPACITY, ids=str)
def test_capacity_is_waited_for(impatient: DevProcess, scripted: ScriptedModel, case: Case) -> None:
    scripted.faults = [Fault(case.fails, times=ATTEMPTS - 1)]
    status, result = run(impatient)
    assert (status, result["success"]) == (200, True)
    assert len(scripted.calls) == ATTEMPTS
    assert [usage["calls"] for usage in result["models"]] == [1]
    assert not result["estimated"]


@pytest.mark.parametrize(("code", "paid"), [(3040, False), (3007, True), (3046, True)])
def test_fallback_answers_instead(impatient: DevProcess, scripted: ScriptedModel, code: int, paid: bool) -> None:
    """A model with a fallback is told not to queue, the fallback may."""
    scripted.faults = [Fault(code, model=WITH_FALLBACK)]
    status, result = run(impatient, rootModel=WITH_FALLBACK)
    assert status == 200
    asked = [(entry.call.model, entry.call.options.get("rejectIfBusy")) for entry in scripted.calls]
    assert asked == [(WITH_FALLBACK, True), (FALLBACK, None)]
    assert {usage["model"] for usage in result["models"]} == {FALLBACK, *([WITH_FALLBACK] if paid else [])}


def test_busy_model_is_left(impatient: DevProcess, scripted: ScriptedModel) -> None:
    """Where another model can answer nobody waits in a queue."""
    scripted.capacity, scripted.queue_seconds = 0, 0.3
    status, result = run(impatient, rootModel=WITH_FALLBACK, timeoutSeconds=3)
    outcomes = [(entry.call.model, entry.outcome) for entry in scripted.calls]
    assert outcomes[:2] == [(WITH_FALLBACK, "error 3040"), (FALLBACK, "error 3046")]
    assert not result["success"]
    assert status in (422, 503)


def test_given_up_call_is_aborted(impatient: DevProcess, scripted: ScriptedModel) -> None:
    scripted.faults = [Fault("hang")]
    status, _ = run(impatient, timeoutSeconds=0.5)
    assert status == 422
    (entry,) = scripted.calls
    deadline = time.monotonic() + 10
    while entry.ended is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert entry.outcome == "cancelled"


def repl_with_schema(worker: DevProcess, scripted: ScriptedModel, model: str = ROOT) -> dict[str, Any]:
    """A REPL that comes to its limit and is asked for its last word, which a schema holds."""
    scripted.rules = [lambda call: '{"n": 3}' if "no more code will be run" in call.user else cell("print(1)")]
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    config = {"strategy": "repl", "useCache": False, "maxIterations": 2, "rootModel": model}
    body = {"context": CONTEXT, "query": f"q {uuid4()}", "config": config, "responseSchema": schema}
    result = httpx.post(f"{worker.url}/rlm", json=body, timeout=60).json()
    assert isinstance(result, dict)
    assert json.loads(result["answer"]) == {"n": 3}
    return result


def formats(scripted: ScriptedModel) -> list[object]:
    return [entry.call.params.get("response_format") for entry in scripted.calls if "no more code" in entry.call.user]


@pytest.mark.parametrize(("model", "strict"), [(ROOT, None), (GLM, True)])
def test_schema_has_its_shape(impatient: DevProcess, scripted: ScriptedModel, model: str, strict: bool | None) -> None:
    """The stand-in takes the bare schema of one and the named one of the other, and nothing else."""
    repl_with_schema(impatient, scripted, model)
    (sent,) = formats(scripted)
    assert isinstance(sent, dict)
    assert sent["json_schema"]["schema"]["required"] == ["n"]
    assert sent["json_schema"].get("strict") == strict


def test_schema_goes_by_prompt(impatient: DevProcess, scripted: ScriptedModel) -> None:
    repl_with_schema(impatient, scripted, "@cf/openai/gpt-oss-20b")
    assert formats(scripted) == [None]


@pytest.mark.parametrize(("code", "paid"), [(5024, True), (5025, False)])
def test_refused_schema_is_dropped(impatient: DevProcess, scripted: ScriptedModel, code: int, paid: bool) -> None:
    scripted.faults = [Fault(code, when="no more code will be run", times=1)]
    result = repl_with_schema(impatient, scripted)
    first, second = formats(scripted)
    assert first is not None
    assert second is None
    assert result["estimated"] is paid


def test_null_answer_is_paid(impatient: DevProcess, scripted: ScriptedModel) -> None:
    usage = {"prompt_tokens": 700, "completion_tokens": 30}
    scripted.rules = [lambda call: Reply(None, usage=usage) if call.attempt == 1 else "blue"]
    _, result = run(impatient)
    assert result["answer"] == "blue"
    assert result["models"][0]["calls"] == 2
    assert result["totalInputTokens"] > 700
    assert not result["estimated"]

"""Callers of the TypeScript worker that this one replaces keep working: their bodies, the fields that they read."""

from __future__ import annotations

import time

import httpx
import pytest

from scripts.local.scripted.model import ScriptedModel
from tests.worker.texts import haystack, needle

pytestmark = pytest.mark.worker
# Every field that `runRLM`'s callers read, with the type that JavaScript sees.
OLD_FIELDS = {
    "success": bool,
    "answer": str,
    "iterations": int,
    "subCalls": int,
    "totalInputTokens": int,
    "totalOutputTokens": int,
    "costUsd": float,
    "durationMs": int,
    "cacheHit": bool,
    "sessionId": str,
}
OLD_CONFIG = {"rootModel": "llama-3.1-70b", "subModel": "llama-3.1-8b", "maxIterations": 20, "maxSubCalls": 100}


def body(context: object, **config: object) -> dict[str, object]:
    """What `runRLM(context, query, config)` posted."""
    return {"context": context, "query": "number for amber-fox?", "config": {**OLD_CONFIG, **config}}


def check_old_fields(result: dict[str, object]) -> None:
    for name, kind in OLD_FIELDS.items():
        assert type(result[name]) is kind, name


def test_old_body_is_answered(http: httpx.Client) -> None:
    answer = http.post("/rlm", json=body(haystack(2_000, needle())))
    assert answer.status_code == 200
    result = answer.json()
    check_old_fields(result)
    assert result["success"]
    assert "7481932" in result["answer"]
    assert not result["cacheHit"]
    assert (result["iterations"], result["subCalls"]) == (1, 0)


def test_chunks_are_sub_calls(http: httpx.Client, scripted: ScriptedModel) -> None:
    result = http.post("/rlm", json=body(haystack(130_000, needle(value="23"), at=0.4), chunkSize=40_000)).json()
    check_old_fields(result)
    assert "23" in result["answer"]
    assert result["subCalls"] >= 4
    assert result["subCalls"] + result["iterations"] == len(scripted.answered)
    assert result["totalInputTokens"] == sum(entry.call.prompt_tokens for entry in scripted.answered)


def test_list_of_strings(http: httpx.Client) -> None:
    result = http.post("/rlm", json=body(["first text", needle(value="99"), "last text"])).json()
    assert "99" in result["answer"]


def test_no_config_at_all(http: httpx.Client) -> None:
    result = http.post("/rlm", json={"context": needle(value="12"), "query": "number for amber-fox?"}).json()
    check_old_fields(result)
    assert "12" in result["answer"]


def test_second_call_is_hit(http: httpx.Client, scripted: ScriptedModel) -> None:
    wanted = body(needle(value="77"))
    first, calls = http.post("/rlm", json=wanted).json(), len(scripted.calls)
    second = http.post("/rlm", json=wanted).json()
    check_old_fields({**second, "costUsd": float(second["costUsd"])})
    assert second["cacheHit"]
    assert second["answer"] == first["answer"]
    assert second["sessionId"] == first["sessionId"]
    assert len(scripted.calls) == calls


def test_session_routes(http: httpx.Client) -> None:
    result = http.post("/rlm", json=body(needle(value="55"))).json()
    status = http.get(f"/session/{result['sessionId']}/status")
    assert status.status_code == 200
    assert status.json()["sessionId"] == result["sessionId"]
    assert status.json()["status"] == "completed"
    kept = http.get(f"/session/{result['sessionId']}/result")
    assert kept.status_code == 200
    check_old_fields(kept.json())
    assert kept.json()["answer"] == result["answer"]


def test_polling_a_running_session(http: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.latency = 0.5
    session = http.post("/rlm", json={**body(needle(value="66")), "background": True}).json()["sessionId"]
    running = http.get(f"/session/{session}/result")
    assert (running.status_code, running.json()["status"]) == (202, "running")
    deadline = time.monotonic() + 30
    while http.get(f"/session/{session}/status").json()["status"] == "running":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert "66" in http.get(f"/session/{session}/result").json()["answer"]


def test_failure_has_old_form(http: httpx.Client) -> None:
    answer = http.post("/rlm", json={"query": "no context"})
    assert answer.status_code == 422
    assert answer.json()["success"] is False
    assert answer.json()["error"]["message"]


def test_health_names_service(http: httpx.Client) -> None:
    known = http.get("/health").json()
    assert (known["status"], known["service"]) == ("ok", "rlm-worker")

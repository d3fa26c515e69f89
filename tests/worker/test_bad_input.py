"""What cannot be served gets the right 4xx in the one error form, and costs nothing."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.model import ScriptedModel
from tests.worker.conftest import StartWorker

pytestmark = pytest.mark.worker
JSON = {"content-type": "application/json"}
OK: dict[str, object] = {"context": "some text", "query": "what?"}


def refused(answer: httpx.Response, status: int, kind: str) -> dict[str, object]:
    """The error of an answer that must have this status and type."""
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind), answer.text
    assert answer.json()["success"] is False
    assert answer.headers["content-type"] == "application/json"
    error: dict[str, object] = answer.json()["error"]
    assert isinstance(error["message"], str)
    return error


INVALID: list[tuple[str, dict[str, object], str]] = [
    ("no query", {"context": "x"}, "query"),
    ("empty query", {"context": "x", "query": ""}, "query"),
    ("no context", {"query": "what?"}, ""),
    ("empty context", {"context": "", "query": "what?"}, "context"),
    ("blank context", {"context": " \n ", "query": "what?"}, "context"),
    ("empty list", {"context": [], "query": "what?"}, "context"),
    ("number as context", {"context": 5, "query": "what?"}, "context"),
    ("number in list", {"context": ["a", 5], "query": "what?"}, "context.1"),
    ("document without text", {"context": [{"name": "a"}], "query": "what?"}, "context.0.text"),
    ("both contexts", {"context": "x", "contextId": "ctx_" + "0" * 32, "query": "what?"}, ""),
    ("unknown context id", {"contextId": "ctx_" + "0" * 32, "query": "what?"}, "contextId"),
    ("malformed context id", {"contextId": "../x", "query": "what?"}, "contextId"),
    ("unknown field", {**OK, "qery": 1}, "qery"),
    ("unknown config", {**OK, "config": {"chunksize": 5}}, "config.chunksize"),
    ("unknown model", {**OK, "config": {"rootModel": "gpt-99"}}, "config.rootModel"),
    ("unknown sub-model", {**OK, "config": {"subModel": ""}}, "config.subModel"),
    ("unknown strategy", {**OK, "config": {"strategy": "magic"}}, "config.strategy"),
    ("chunk size 0", {**OK, "config": {"chunkSize": 0}}, "config.chunkSize"),
    ("chunk size beyond windows", {**OK, "config": {"chunkSize": 10_000_000}}, "config.chunkSize"),
    ("text for number", {**OK, "config": {"maxSubCalls": "5"}}, "config.maxSubCalls"),
    ("negative cost", {**OK, "config": {"maxCostUsd": -1}}, "config.maxCostUsd"),
    ("bool for number", {**OK, "config": {"maxIterations": True}}, "config.maxIterations"),
    ("zero time", {**OK, "config": {"timeoutSeconds": 0}}, "config.timeoutSeconds"),
]


@pytest.mark.parametrize(("body", "path"), [pytest.param(b, p, id=name) for name, b, p in INVALID])
def test_field_is_named(http: httpx.Client, scripted: ScriptedModel, body: dict[str, object], path: str) -> None:
    error = refused(http.post("/rlm", json=body), 422, "invalid_request")
    detail = error["detail"]
    assert isinstance(detail, list)
    assert path in [problem["path"] for problem in detail]
    assert not scripted.calls


MALFORMED = [
    ("nothing", b""),
    ("not JSON", b"context=5"),
    ("broken JSON", b'{"context": "a'),
    ("not UTF-8", b'{"context": "\xff\xfe", "query": "what?"}'),
    ("not an object", b"[1, 2]"),
    ("lone surrogate", rb'{"context": "\ud800", "query": "what?"}'),
    ("not a number", b'{"context": "a", "query": "b", "config": {"temperature": NaN}}'),
    ("deep nesting", b'{"context": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
]


@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in MALFORMED])
def test_malformed_body_is_refused(http: httpx.Client, scripted: ScriptedModel, body: bytes) -> None:
    answer = http.post("/rlm", content=body, headers=JSON)
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["error"]["type"] in ("malformed_body", "invalid_request")
    assert not scripted.calls


NESTED = b"[" * 20_000 + b"]" * 20_000
DEEP_BATCHES = {
    "array": (NESTED, 400),
    "open array": (b"[" * 20_000, 400),
    "in an item": (b'[{"query": "q", "context": ' + NESTED + b"}]", 400),
    "in a line": (b'{"query": "q", "context": ' + NESTED + b"}\n", 202),
    "in a later line": (json.dumps(OK).encode() + b"\n" + NESTED + b"\n", 202),
}


@pytest.mark.parametrize("name", DEEP_BATCHES)
def test_deep_batch_is_refused(worker: DevProcess, http: httpx.Client, name: str) -> None:
    """Arrays whole, lines alone; the process that answers is the one that was asked."""
    before = worker.workerd_pid
    body, status = DEEP_BATCHES[name]
    answer = http.post("/rlm/batch", content=body, headers=JSON)
    assert answer.status_code == status, answer.text
    if status == 202:
        assert answer.json()["rejected"] == 1
        assert http.delete(f"/rlm/batch/{answer.json()['batchId']}").status_code == 204
    else:
        refused(answer, 400, "malformed_body")
    assert http.get("/health").status_code == 200
    assert worker.workerd_pid == before


@pytest.mark.parametrize("size", [12_000_000, 24_000_000])
def test_blanks_stall_nobody(http: httpx.Client, worker: DevProcess, size: int) -> None:
    """Megabytes of blanks are refused, and others are answered while they arrive."""
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(httpx.post, f"{worker.url}/rlm/batch", content=b" " * size, headers=JSON, timeout=60)
        while not sent.done():
            assert http.get("/health", timeout=5).status_code == 200
    assert sent.result().status_code in (413, 422)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_wrong_method_names_right_one(http: httpx.Client, method: str) -> None:
    answer = http.request(method, "/rlm")
    refused(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/", "/rlm/", "/rlmx", "/session/xyz/status", "/session/" + "a" * 32 + "/secrets"])
def test_unknown_route_is_404(http: httpx.Client, path: str) -> None:
    refused(http.get(path), 404, "not_found")


@pytest.mark.parametrize("part", ["status", "result", "events", "trajectory"])
def test_unknown_session_is_404(http: httpx.Client, part: str) -> None:
    refused(http.get(f"/session/{'0' * 32}/{part}"), 404, "not_found")


@pytest.mark.parametrize(
    "media", ["text/plain", "application/x-www-form-urlencoded", "", "application/json; charset=latin-1"]
)
def test_other_media_type_is_415(http: httpx.Client, media: str) -> None:
    answer = http.post("/rlm", content=json.dumps(OK), headers={"content-type": media})
    refused(answer, 415, "unsupported_media_type")


def test_compressed_body_is_415(http: httpx.Client) -> None:
    answer = http.post("/rlm", content=b"\x1f\x8b", headers={**JSON, "content-encoding": "gzip"})
    refused(answer, 415, "unsupported_media_type")


def test_large_body_is_413(start_worker: StartWorker, scripted: ScriptedModel) -> None:
    worker = start_worker(vars={"MAX_BODY_BYTES": "10000"})
    body = json.dumps({"context": "x" * 20_000, "query": "what?"}).encode()
    pieces = (body[at : at + 1_000] for at in range(0, len(body), 1_000))
    url = f"{worker.url}/rlm"
    refused(httpx.post(url, content=body, headers=JSON), 413, "payload_too_large")
    refused(httpx.post(url, content=pieces, headers=JSON), 413, "payload_too_large")
    assert httpx.post(url, json=OK).status_code == 200
    assert len(scripted.calls) == 1


def test_direct_refuses_what_does_not_fit(http: httpx.Client, scripted: ScriptedModel) -> None:
    body = {"context": "word " * 100_000, "query": "what?", "config": {"strategy": "direct"}}
    refused(http.post("/rlm", json=body), 413, "context_too_large")
    assert not scripted.calls


def test_missing_key_is_401(start_worker: StartWorker, scripted: ScriptedModel) -> None:
    digest = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"  # of the word secret
    worker = start_worker(vars={"RLM_API_KEYS": f"alice:{digest}"})
    with httpx.Client(base_url=worker.url, timeout=30) as http:
        refused(http.post("/rlm", json=OK), 401, "unauthenticated")
        refused(http.post("/rlm", json=OK, headers={"authorization": "Bearer wrong"}), 401, "unauthenticated")
        assert http.post("/rlm", json=OK, headers={"authorization": "Bearer secret"}).status_code == 200
        assert http.get("/health").json().keys() == {"status", "service", "version"}
    assert "secret" not in worker.log()
    assert len(scripted.calls) == 1


def test_deployment_without_keys_is_closed(start_worker: StartWorker, scripted: ScriptedModel) -> None:
    worker = start_worker(vars={"RLM_LOCAL": "0"})
    with httpx.Client(base_url=worker.url, timeout=30) as http:
        error = refused(http.post("/rlm", json=OK), 503, "not_configured")
        assert "RLM_API_KEYS" in str(error["message"])
        assert http.get("/health").status_code == 200
    assert not scripted.calls

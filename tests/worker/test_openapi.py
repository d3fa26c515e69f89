"""The OpenAPI document tells the truth: every route, every status, every body that it names has been seen."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping

import httpx
import pytest
from jsonschema import Draft202012Validator

from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.faults import Fault
from scripts.local.scripted.model import ScriptedModel
from tests.worker.conftest import StartWorker
from tests.worker.contract import Contract
from tests.worker.table_world import SCHEMA, Script, counting, records, text_of
from tests.worker.texts import haystack, needle

pytestmark = pytest.mark.worker
JSON = {"content-type": "application/json"}
QUERY = "number for amber-fox?"
BODY = {"context": needle(), "query": QUERY}
NOWHERE = "0" * 32
# A defect of ours cannot be ordered; its form is that of every other error.
UNSEEN = {500}
KEYS = {"RLM_API_KEYS": "ada:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"}  # of the key "foo"
SIMPLEST: Mapping[tuple[str, str], dict[str, object]] = {
    ("POST", "/rlm"): {"json": BODY},
    ("POST", "/rlm/batch"): {"json": [BODY]},
    ("POST", "/v1/chat/completions"): {"json": {"messages": [{"role": "user", "content": needle()}]}},
    ("POST", "/v1/messages"): {"json": {"max_tokens": 9, "messages": [{"role": "user", "content": needle()}]}},
    ("POST", "/v1/messages/count_tokens"): {"json": {"messages": [{"role": "user", "content": needle()}]}},
    ("PUT", "/contexts"): {"content": needle(), "headers": {"content-type": "text/plain"}},
    ("GET", "/health"): {"params": {"deep": "1"}},
}


@pytest.fixture
def contract(worker: DevProcess) -> Contract:
    return Contract(httpx.get(f"{worker.url}/openapi.json").json())


class Calls:
    """Requests whose answers are all held to the contract."""

    def __init__(self, http: httpx.Client, contract: Contract) -> None:
        self.http = http
        self._contract = contract

    def __call__(self, method: str, path: str, *, part: str = "", **options: object) -> httpx.Response:
        target = path.replace("{id}", part)
        answer = self.http.request(method, target, **options)  # type: ignore[arg-type]
        return self._contract.check(method, path, answer)


@pytest.fixture
def call(http: httpx.Client, contract: Contract) -> Calls:
    return Calls(http, contract)


def operations(contract: Contract) -> Iterator[tuple[str, str]]:
    yield from sorted({(method, path) for method, path, _ in contract.documented()})


def test_every_answer_is_described(
    call: Calls, contract: Contract, scripted: ScriptedModel, start_worker: StartWorker
) -> None:
    provoke_sessions(call, scripted)
    provoke_contexts(call, scripted)
    provoke_batches(call)
    provoke_openai(call, scripted)
    provoke_routing(call)
    provoke_anthropic(call, scripted)
    call("GET", "/openapi.json")
    assert call("GET", "/health", params={"deep": "1"}).json()["bindings"]
    provoke_refusals(contract, start_worker)
    unseen = {place for place in contract.documented() - contract.seen if place[2] not in UNSEEN}
    assert not unseen


def provoke_sessions(call: Calls, scripted: ScriptedModel) -> None:
    session = call("POST", "/rlm", json=BODY).json()["sessionId"]
    call("POST", "/rlm", json=BODY)
    for part in ("status", "result", "events", "trajectory", "report"):
        call("GET", f"/session/{{id}}/{part}", part=session)
        call("GET", f"/session/{{id}}/{part}", part=NOWHERE)
    call("GET", "/session/{id}/events", part=session, headers={"last-event-id": "x"})
    long = {"context": haystack(120_000, needle()), "query": QUERY}
    assert "event: subcall" in call("POST", "/rlm", json={**long, "stream": True}).text
    call("GET", "/session/{id}/trajectory", part=call("POST", "/rlm", json=long).json()["sessionId"])
    call("POST", "/rlm", content=b"{", headers=JSON)
    call("POST", "/rlm", content=b"\xff", headers=JSON)
    call("POST", "/rlm", content=b"{}", headers={"content-type": "image/png"})
    call("POST", "/rlm", json={"query": 1})
    call("POST", "/rlm", json={"previousSessionId": NOWHERE, "query": QUERY})
    call("POST", "/rlm", content=b" " * 17_000_000, headers=JSON)
    call("POST", "/rlm", json=BODY, headers={"idempotency-key": "one"})
    call("POST", "/rlm", json={**BODY, "query": "other?"}, headers={"idempotency-key": "one"})
    provoke_tables(call, scripted, session)
    provoke_failures(call, scripted)
    call("DELETE", "/session/{id}", part=session)
    call("DELETE", "/session/{id}", part=session)


def provoke_tables(call: Calls, scripted: ScriptedModel, session: str) -> None:
    usual, scripted.rules = scripted.rules, [Script(counting("place"))]
    body = {"context": text_of(records(30)), "query": "How many?", "table": {"schema": SCHEMA, **counting("place")}}
    assert "event: rows" in call("POST", "/rlm", json={**body, "stream": True}).text
    asked = call("POST", "/rlm", json={**body, "query": "How many, again?"}).json()["sessionId"]
    for params, part in (({}, asked), ({"format": "csv"}, asked), ({"format": "x"}, asked), ({}, session)):
        call("GET", "/session/{id}/rows", part=part, params=params)
    call("GET", "/session/{id}/rows", part=NOWHERE)
    call("GET", "/session/{id}/trajectory", part=asked, headers={"accept": "application/x-ndjson"})
    scripted.rules = usual


def provoke_failures(call: Calls, scripted: ScriptedModel) -> None:
    large = {"context": haystack(200_000), "query": QUERY, "config": {"strategy": "direct"}}
    refused = {**BODY, "query": "refused?"}
    poor = {**BODY, "query": "poor?", "config": {"maxCostUsd": 1e-9}}
    for status, faults, body in ((502, [Fault(5004)], refused), (413, [], large), (422, [], poor)):
        scripted.faults = faults
        failed = call("POST", "/rlm", json=body)
        assert failed.status_code == status, failed.text
        call("GET", "/session/{id}/result", part=failed.json()["sessionId"])
    scripted.faults = [Fault("hang")]
    running = call("POST", "/rlm", json={**BODY, "query": "running?", "background": True}).json()["sessionId"]
    for part in ("result", "report", "rows"):
        assert call("GET", f"/session/{{id}}/{part}", part=running).status_code == 202
    call("DELETE", "/session/{id}", part=running)
    provoke_cancelled(call)
    scripted.faults = []


def provoke_cancelled(call: Calls) -> None:
    body = {**BODY, "query": "leaving?", "stream": True, "cancelOnDisconnect": True}
    with call.http.stream("POST", "/rlm", json=body) as stream:
        session = next(line for line in stream.iter_lines() if "sessionId" in line).partition('"sessionId": "')[2][:32]
    while call("GET", "/session/{id}/result", part=session).status_code == 202:
        time.sleep(0.1)
    assert call("GET", "/session/{id}/rows", part=session).status_code == 409


def provoke_contexts(call: Calls, scripted: ScriptedModel) -> None:
    text = {"content-type": "text/plain"}
    stored = call("PUT", "/contexts", content=needle(), headers=text, params={"name": "x"}).json()
    assert call("POST", "/rlm", json={"contextId": stored["contextId"], "query": QUERY}).status_code == 200
    call("PUT", "/contexts", content=b"\xff", headers=text)
    call("PUT", "/contexts", content=b"  ", headers=text)
    call("PUT", "/contexts", content=b"x", headers={"content-type": "image/png"})
    scripted.faults = [Fault("hang")]
    reading = {"contextId": stored["contextId"], "query": "reading?", "background": True}
    session = call("POST", "/rlm", json=reading).json()["sessionId"]
    assert call("DELETE", "/contexts/{id}", part=stored["contextId"]).status_code == 409
    scripted.faults = []
    call("DELETE", "/session/{id}", part=session)
    assert call("DELETE", "/contexts/{id}", part=stored["contextId"]).status_code == 204
    assert call("DELETE", "/contexts/{id}", part=stored["contextId"]).status_code == 404


def provoke_batches(call: Calls) -> None:
    batch = call("POST", "/rlm/batch", json=[BODY, {}], headers={"idempotency-key": "b"}).json()["batchId"]
    call("POST", "/rlm/batch", json=[{}], headers={"idempotency-key": "b"})
    call("POST", "/rlm/batch", json=[])
    call("POST", "/rlm/batch", content=b"[", headers=JSON)
    call("POST", "/rlm/batch", content=b"[]", headers={"content-type": "image/png"})
    call("POST", "/rlm/batch", content=b"1\n" * 10_001, headers=JSON)
    for path in ("/rlm/batch/{id}", "/rlm/batch/{id}/results"):
        call("GET", path, part=batch)
        call("GET", path, part=NOWHERE)
    call("DELETE", "/rlm/batch/{id}", part=batch)
    call("DELETE", "/rlm/batch/{id}", part=batch)


def provoke_openai(call: Calls, scripted: ScriptedModel) -> None:
    path = "/v1/chat/completions"
    chat = {"model": "rlm", "messages": [{"role": "user", "content": needle(value="5")}]}
    call("POST", path, json=chat)
    call("POST", path, json={**chat, "stream": True, "stream_options": {"include_usage": True}})
    call("POST", path, content=b"{", headers=JSON)
    call("POST", path, json={**chat, "model": "gpt-9"})
    call("POST", path, json={**chat, "n": 2})
    call("POST", path, content=b"{}", headers={"content-type": "image/png"})
    call("POST", path, content=b" " * 17_000_000, headers=JSON)
    call("POST", path, json=chat, headers={"idempotency-key": "chat"})
    call("POST", path, json={**chat, "model": "gpt-oss-20b"}, headers={"idempotency-key": "chat"})
    scripted.faults = [Fault(5004)]
    fresh = {"rlm": {"useCache": False}}
    assert call("POST", path, json={**chat, **fresh}).status_code == 502
    scripted.faults = []
    call("GET", "/v1/models")
    call("GET", "/v1/models/{id}", part="llama-3.1-70b")
    call("GET", "/v1/models/{id}", part="gpt-9")


def provoke_routing(call: Calls) -> None:
    path, question = "/rlm/routing", {"query": QUERY, "characters": 600_000}
    call("POST", path, json={**question, "config": {"routing": "cheapest"}})
    call("POST", path, json={**question, "config": {"routing": "dearest"}})
    call("POST", path, content=b"{", headers=JSON)
    call("POST", path, content=b"{}", headers={"content-type": "image/png"})
    call("POST", path, content=b" " * 300_000, headers=JSON)


def provoke_anthropic(call: Calls, scripted: ScriptedModel) -> None:
    path = "/v1/messages"
    sent = {"model": "rlm", "max_tokens": 90, "messages": [{"role": "user", "content": needle(value="6")}]}
    call("POST", path, json=sent)
    call("POST", path, json={**sent, "stream": True})
    call("POST", path, json={**sent, "model": "gpt-9"})
    call("POST", path, json=sent, headers={"idempotency-key": "message"})
    call("POST", path, json={**sent, "model": "gpt-oss-20b"}, headers={"idempotency-key": "message"})
    scripted.faults = [Fault(5004)]
    assert call("POST", path, json={**sent, "rlm": {"useCache": False}}).status_code == 502
    scripted.faults = []
    for place in (path, f"{path}/count_tokens"):
        call("POST", place, content=b"{", headers=JSON)
        call("POST", place, content=b"{}", headers={"content-type": "image/png"})
        call("POST", place, content=b" " * 17_000_000, headers=JSON)
    call("POST", f"{path}/count_tokens", json={"model": "rlm", "messages": sent["messages"]})


def provoke_refusals(contract: Contract, start_worker: StartWorker) -> None:
    """What routes say where nothing is configured, without a key, to a body too large, and to who asks too often."""
    nothing = start_worker(vars={"RLM_LOCAL": "0"})
    keyed = start_worker(vars={**KEYS, "MAX_CONTEXT_BYTES": "1000"})
    knows = {"authorization": "Bearer foo"}
    with httpx.Client(timeout=60) as http:
        for method, path in operations(contract):
            for process, status in ((nothing, 503), (keyed, 401)):
                if (method, path, status) in contract.documented():
                    answer = simplest(http, process, method, path, {})
                    assert answer.status_code == status, f"{method} {path}: {answer.text}"
                    contract.check(method, path, answer)
        text = {"content-type": "text/plain", **knows}
        contract.check("PUT", "/contexts", http.put(f"{keyed.url}/contexts", content=b"x" * 2_000, headers=text))
        exhaust(http, keyed, knows)
        for method, path in operations(contract):
            if (method, path, 429) in contract.documented():
                contract.check(method, path, simplest(http, keyed, method, path, knows))


def simplest(
    http: httpx.Client, process: DevProcess, method: str, path: str, headers: Mapping[str, str]
) -> httpx.Response:
    options = dict(SIMPLEST.get((method, path), {}))
    given = options.pop("headers", {})
    assert isinstance(given, dict)
    target = process.url + nowhere(path)
    return http.request(method, target, headers={**given, **headers}, **options)  # type: ignore[arg-type]


def nowhere(path: str) -> str:
    """A path of that form that leads to nothing."""
    return path.replace("{id}", f"ctx_{NOWHERE}" if path.startswith("/contexts") else NOWHERE)


def exhaust(http: httpx.Client, process: DevProcess, headers: Mapping[str, str]) -> None:
    for _ in range(1_000):
        if http.post(f"{process.url}/rlm", json={}, headers=headers).status_code == 429:
            return
    raise AssertionError("the rate limiter never refused")


def test_document_is_openapi(contract: Contract) -> None:
    assert contract.document["openapi"] == "3.1.0"
    schemas = contract.document["components"]["schemas"]  # type: ignore[index]
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    text = json.dumps(contract.document)
    for place in {part.split('"')[0] for part in text.split('"$ref": "#/')[1:]}:
        found: object = contract.document
        for name in place.split("/"):
            assert isinstance(found, dict)
            found = found[name]


@pytest.mark.parametrize(
    ("body", "good"),
    [
        (BODY, True),
        ({"context": ["a", {"name": "b", "text": "c"}], "query": "q"}, True),
        ({"contextId": "ctx_" + "0" * 32, "query": "q"}, True),
        ({"query": "q"}, False),
        ({"context": "x", "contextId": "ctx_" + "0" * 32, "query": "q"}, False),
        ({"context": "x", "query": ""}, False),
        ({"context": "x", "query": "q", "surprise": 1}, False),
        ({"context": "x", "query": "q", "config": {"maxSubCalls": 0}}, False),
        ({"context": "x", "query": "q", "config": {"chunkSize": "1"}}, False),
        ({"context": [1], "query": "q"}, False),
    ],
)
def test_schema_refuses_the_same(contract: Contract, http: httpx.Client, body: object, good: bool) -> None:
    assert contract.accepts("RunRequest", body) is good
    if not good:
        assert http.post("/rlm", json=body).status_code == 422


def test_wrong_method_has_form(contract: Contract, http: httpx.Client) -> None:
    for _, path in operations(contract):
        answer = http.request("PATCH", nowhere(path))
        assert answer.status_code == 405, path
        assert answer.headers["allow"]
        schema = "OpenAIError" if path.startswith("/v1/") else "ErrorAnswer"
        assert contract.accepts(schema, answer.json())

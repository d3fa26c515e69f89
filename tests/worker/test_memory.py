"""128 MB: whatever is sent, asked or read at once, the isolate holds less by the gauge."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from rlm_client import Document, RLMClient
from scripts.local.runtime.dev_process import DevProcess
from scripts.local.runtime.gauge import MEMORY_LIMIT_MB, gauge
from scripts.local.scripted.model import ScriptedModel
from tests.worker.test_repl import cell, plays
from tests.worker.texts import NOISE, haystack, needle, unheard

pytestmark = pytest.mark.worker

MIB = 1 << 20
BODY_BYTES = 16 * MIB
NAMED_DOCUMENTS = 100_000
TRAJECTORY_BYTES = 36_000_000


@pytest.fixture
def fresh(
    scripted_server: ScriptedModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], DevProcess]]:
    """Starts deployments of a test's own: WebAssembly's memory never shrinks, so each case begins with a new one."""
    started: list[DevProcess] = []

    def start() -> DevProcess:
        started.append(DevProcess(tmp_path_factory.mktemp("memory"), ai=scripted_server.url).start())
        return started[-1]

    yield start
    for process in started:
        process.stop()


@pytest.fixture(scope="module")
def roomless(scripted_server: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    front = Path(__file__).with_name("roomless_entry.py")
    with (
        DevProcess(tmp_path_factory.mktemp("roomless"), ai=scripted_server.url, front=front) as process,
        httpx.Client(base_url=process.url, timeout=60) as client,
    ):
        yield client


@contextmanager
def within_limit(process: DevProcess, case: str) -> Iterator[None]:
    """Holds what happens meanwhile below the platform's limit, and says how much it was."""
    with gauge(process) as memory:
        began = time.monotonic()
        yield
        seconds = time.monotonic() - began
    print(f"{case}: {memory.peak} at most, {seconds:.1f} s")
    assert memory.peak_mb < MEMORY_LIMIT_MB


def body_of(size: int, *, key: str = "memory", **more: object) -> bytes:
    """A body of nearly that many bytes: prose with one emoji in it, which a Python string gives four bytes a letter."""
    known: dict[str, object] = {"query": unheard(key), "config": {"maxSubCalls": 3}, **more}
    letters = size - len(json.dumps(known)) - 40
    text = "\U0001f600 " + haystack(letters)[:letters]
    return json.dumps({**known, "context": text}, ensure_ascii=False).encode()


def posted(process: DevProcess, body: bytes, **headers: str) -> httpx.Response:
    sent = {"content-type": "application/json", **headers}
    return httpx.post(f"{process.url}/rlm", content=body, headers=sent, timeout=300)


def test_largest_body_fits(fresh: Callable[[], DevProcess], scripted: ScriptedModel) -> None:
    process, body = fresh(), body_of(BODY_BYTES)
    assert BODY_BYTES * 0.97 < len(body) <= BODY_BYTES
    with within_limit(process, "a body of 16 MiB with one emoji"):
        answer = posted(process, body)
    assert answer.status_code == 200, answer.text


def test_larger_body_names_contexts(http: httpx.Client) -> None:
    answer = http.post("/rlm", content=b" " * (BODY_BYTES + 1), headers={"content-type": "application/json"})
    assert answer.status_code == 413
    assert "PUT /contexts" in answer.json()["error"]["message"]


def test_many_documents_fit(fresh: Callable[[], DevProcess], scripted: ScriptedModel) -> None:
    process = fresh()
    documents = [
        {"name": f"src/folder/file{number}.py", "text": f"{number}. {NOISE[:30]}\n"}
        for number in range(NAMED_DOCUMENTS)
    ]
    body = json.dumps({"context": documents, "query": unheard("files"), "config": {"maxSubCalls": 3}}).encode()
    with within_limit(process, f"{NAMED_DOCUMENTS:,} named documents in a body of {len(body):,} bytes"):
        answer = posted(process, body)
        assert answer.status_code == 200, answer.text


def test_uploaded_documents_fit(fresh: Callable[[], DevProcess], scripted: ScriptedModel) -> None:
    """The client uploads what is more than a body bears, and nobody notices."""
    process = fresh()
    named = [Document(f"src/folder/file{number}.py", f"{number}. {NOISE}\n" * 2) for number in range(NAMED_DOCUMENTS)]
    with within_limit(process, f"{NAMED_DOCUMENTS:,} named documents by the client"), RLMClient(process.url) as client:
        result = client.run(named, unheard("files"), {"maxSubCalls": 3})
    assert result.success


def test_uploads_at_once_fit(fresh: Callable[[], DevProcess], scripted: ScriptedModel) -> None:
    process, text = fresh(), ("\U0001f600 " + haystack(24_000_000)).encode()

    def put(number: int) -> httpx.Response:
        return httpx.put(f"{process.url}/contexts?name={number}", content=text, timeout=300)

    with within_limit(process, "four uploads of 24 MB at once"), ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(put, range(4)))
    assert [answer.status_code for answer in answers] == [201] * 4


def test_bodies_at_once_fit(fresh: Callable[[], DevProcess], scripted: ScriptedModel) -> None:
    """Those for which there is no room wait, or are told to."""
    process, bodies = fresh(), [body_of(BODY_BYTES, key=f"crowd{number}") for number in range(4)]
    with within_limit(process, "four bodies of 16 MiB at once"), ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda body: posted(process, body), bodies))
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 503)
    assert answers[0].status_code == 200


def test_batch_items_at_once_fit(fresh: Callable[[], DevProcess], scripted: ScriptedModel) -> None:
    process = fresh()
    lines = b"\n".join(body_of(MIB // 2 - 1_000, key=f"item{number}") for number in range(10))
    with within_limit(process, "a batch of ten items of half a megabyte"):
        headers = {"content-type": "application/x-ndjson"}
        batch = httpx.post(f"{process.url}/rlm/batch", content=lines, headers=headers, timeout=300).json()
        assert batch["accepted"] == 10, batch
        state = _ended(process, batch["batchId"])
    assert state["completed"] == 10
    assert httpx.get(f"{process.url}/rlm/batch/{batch['batchId']}/results", timeout=300).text.count("\n") == 10


@pytest.mark.full
def test_long_trajectory_fits(fresh: Callable[[], DevProcess], scripted: ScriptedModel) -> None:
    """Read as it is written: flat, its first byte at once, and in both forms the same."""
    process = fresh()
    with within_limit(process, "a run over 36 MB"):
        put = httpx.put(f"{process.url}/contexts", content=haystack(TRAJECTORY_BYTES, needle()).encode(), timeout=300)
        known = {
            "contextId": put.json()["contextId"],
            "query": "number for amber-fox?",
            "config": {"maxSubCalls": 2_000},
        }
        result = httpx.post(f"{process.url}/rlm", json=known, timeout=600).json()
    assert result["success"], result
    where = f"{process.url}/session/{result['sessionId']}/trajectory"
    with within_limit(process, "its trajectory"):
        whole = _read(where, {})
    assert len(whole) > TRAJECTORY_BYTES
    calls = json.loads(whole)["calls"]
    with within_limit(process, "its trajectory in lines"):
        lines = [json.loads(line) for line in _read(where, {"accept": "application/x-ndjson"}).splitlines()]
    assert [{**call, "type": "call"} for call in calls] == lines
    assert len(calls) == result["subCalls"] + result["iterations"]


def test_host_calls_fit(fresh: Callable[[], DevProcess], scripted: ScriptedModel) -> None:
    """Twelve questions of 15 MB each: refused, one by one, and the run goes on."""
    process = fresh()
    code = """refused = 0
for number in range(12):
    try:
        llm_query(f"{number} " + "x" * 15_000_000)
    except Exception as error:
        refused += "at most" in str(error)
FINAL(f"{refused} refused")"""
    scripted.rules = plays(cell(code))
    known = {"context": "a text", "query": unheard("host"), "config": {"strategy": "repl"}}
    with within_limit(process, "12 host calls of 15 MB"):
        result = httpx.post(f"{process.url}/rlm", json=known, timeout=300).json()
    assert result["answer"] == "12 refused", result


def test_long_chat_names_contexts(http: httpx.Client) -> None:
    message = {"role": "user", "content": "x" * 5 * MIB}
    answer = http.post("/v1/chat/completions", json={"model": "llama-3.1-70b", "messages": [message]})
    assert answer.status_code == 413
    assert "PUT /contexts" in answer.json()["error"]["message"]


@pytest.mark.parametrize(("method", "path"), [("GET", "status"), ("GET", "result"), ("DELETE", "")])
def test_no_room_is_told_once(roomless: httpx.Client, method: str, path: str) -> None:
    """What failed for want of memory is not asked again: it would fail again, and take everybody's time."""
    roomless.get("/asked")
    answer = roomless.request(method, f"/session/{'0' * 32}/{path}".rstrip("/"))
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "answer_too_large")
    assert roomless.get("/asked").text == "1"


def _read(where: str, headers: dict[str, str]) -> str:
    began = time.monotonic()
    with httpx.stream("GET", where, headers=headers, timeout=300) as stream:
        blocks = stream.iter_bytes()
        first = next(blocks)
        at_once = time.monotonic() - began
        text = (first + b"".join(blocks)).decode()
    print(f"{len(text):,} characters, the first after {at_once:.2f} s, the last after {time.monotonic() - began:.1f} s")
    return text


def _ended(process: DevProcess, batch_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 120
    while True:
        state: dict[str, Any] = httpx.get(f"{process.url}/rlm/batch/{batch_id}", timeout=60).json()
        if state["status"] == "completed":
            return state
        assert time.monotonic() < deadline, state
        time.sleep(0.2)

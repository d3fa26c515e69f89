"""The blocking client against a real socket."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

import pytest

from rlm_client import (
    AnswerEvent,
    Document,
    IterationEvent,
    PlanEvent,
    ProtocolError,
    ResultEvent,
    RLMClient,
    RLMConfig,
    RunFailedError,
    RunRequest,
    SessionEvent,
    SubcallEvent,
    UnknownEvent,
    UploadProgress,
    WaitTimeoutError,
    run_rlm,
)
from rlm_client._events import ServerSentEvent, run_event
from tests.client.fake_worker import KEY, FakeWorker, Fault, error_fault


def test_run_reads_result(client: RLMClient, worker: FakeWorker) -> None:
    result = client.run("a long text", "what?", {"strategy": "map_reduce", "chunkSize": 1_000})

    assert (result.sub_calls, result.cost_usd, result.coverage) == (4, 0.0009, 1.0)
    assert result.answer == "The answer to “what?” is **42**."
    assert result.models[0].input_tokens == 48_000
    assert worker.received[0].json() == {
        "context": "a long text",
        "query": "what?",
        "config": {"strategy": "map_reduce", "chunkSize": 1_000},
    }


def test_citations_typed(client: RLMClient) -> None:
    result = client.run("a long text", "what?")

    first, second = result.citations
    assert (first.document_title, first.start_char_index, first.verified) == (
        "documents/a very long folder/a.txt",
        1_204,
        True,
    )
    assert (second.document_title, second.match, second.answer_start) == (None, "approximate", None)
    assert [lost.reason for lost in result.unlocated] == ["not_found"]


def test_function_asks_once(worker: FakeWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLM_BASE_URL", worker.url)
    monkeypatch.setenv("RLM_API_KEY", KEY)

    assert run_rlm("text", "q").success

    assert worker.paths() == ["POST /rlm"]


def test_arguments_beat_environment(worker: FakeWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLM_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("RLM_API_KEY", "another")

    assert run_rlm("text", "q", base_url=worker.url, api_key=KEY).success


def test_base_path_kept(worker: FakeWorker) -> None:
    with RLMClient(f"{worker.url}/behind/", KEY) as client, pytest.raises(Exception, match="refused with 404"):
        client.status("a/b?c")

    assert worker.received[0].path == "/behind/session/a%2Fb%3Fc/status"


def test_config_travels_camel_case(client: RLMClient, worker: FakeWorker) -> None:
    client.run(
        [Document("a.txt", "A"), {"name": "b", "text": "B"}, "C"],
        "q",
        RLMConfig(max_cost_usd=0.5, use_cache=False),
        response_schema={"type": "integer"},
    )

    assert worker.received[0].json() == {
        "context": [{"name": "a.txt", "text": "A"}, {"name": "b", "text": "B"}, "C"],
        "query": "q",
        "config": {"maxCostUsd": 0.5, "useCache": False},
        "responseSchema": {"type": "integer"},
    }


def test_misspelt_option_refused() -> None:
    with pytest.raises(ValueError, match="chunksize"):
        RLMConfig(chunksize=5)  # type: ignore[call-arg]


def test_stream_yields_typed_events(client: RLMClient) -> None:
    with client.stream("text", "q") as stream:
        events = list(stream)

    kinds = [SessionEvent, PlanEvent, *[SubcallEvent] * 4, UnknownEvent, *[AnswerEvent] * 3, ResultEvent]
    assert [type(event) for event in events] == kinds
    assert "".join(event.delta for event in events if isinstance(event, AnswerEvent)) == stream.result.answer  # type: ignore[union-attr]
    assert (stream.session_id, stream.last_event_id) == ("s1", "11")


def test_restart_voids_answer(client: RLMClient, worker: FakeWorker) -> None:
    worker.answers_twice = True
    answer = ""
    with client.stream("text", "q") as stream:
        for event in stream:
            if isinstance(event, AnswerEvent):
                answer = event.delta if event.restart else answer + event.delta

    assert stream.result is not None
    assert answer == stream.result.answer


def test_iterations_typed(client: RLMClient) -> None:
    stream = client.stream("text", "q", {"strategy": "repl"})

    turns = [event for event in stream if isinstance(event, IterationEvent)]

    assert [(turn.parent, turn.iteration) for turn in turns] == [(None, 1), ("1.1", 1), (None, 2)]
    assert (turns[0].output, turns[0].cost_usd, turns[0].duration_ms) == ("src/hay.py 1207\n", 0.0004, 1_200)


@pytest.mark.parametrize("kind", ["session", "plan", "subcall", "iteration", "answer"])
def test_later_fields_kept(kind: str) -> None:
    body = {"sessionId": "s1", "strategy": "table", "kind": {"new": 1}, "eventId": 7, "weather": [9]}

    event = run_event(ServerSentEvent(kind, json.dumps(body), "12"))

    assert (event.kind, event.event_id) == (kind, "12")
    assert event.to_json() == body


def test_left_stream_run_goes_on(client: RLMClient, worker: FakeWorker) -> None:
    worker.next_visible = 3
    with client.stream("text", "q") as stream:
        next(stream)

    assert list(stream) == []
    assert client.status("s1").status == "running"
    worker.release("s1")
    assert client.wait("s1").answer == "The answer to “q” is **42**."


def test_stream_that_stops_when_left(client: RLMClient, worker: FakeWorker) -> None:
    for asked in (False, True):
        with client.stream(f"text {asked}", "q", cancel_on_disconnect=asked) as stream:
            next(stream)

        assert ("cancelOnDisconnect" in worker.received[-1].json()) is asked


def test_events_from_anywhere(client: RLMClient) -> None:
    session_id = client.submit("text", "q").session_id

    assert len(list(client.events(session_id))) == 11
    assert isinstance(next(client.events(session_id, after="10")), ResultEvent)


def test_error_event_raises(client: RLMClient, worker: FakeWorker) -> None:
    worker.failure = {"type": "nothing_read", "message": "no chunk could be read"}

    with pytest.raises(RunFailedError, match="no chunk could be read") as failed, client.stream("t", "q") as stream:
        for _ in stream:
            pass

    assert (failed.value.type, failed.value.status, failed.value.session_id) == ("nothing_read", None, "s1")


def test_failed_run_tells_cost(client: RLMClient, worker: FakeWorker) -> None:
    worker.failure = {"type": "nothing_read", "message": "no chunk could be read"}

    with pytest.raises(RunFailedError) as failed:
        client.run("text", "q")

    assert (failed.value.status, failed.value.cost_usd, failed.value.session_id) == (502, 0.0009, "s1")


def test_background_run(client: RLMClient, worker: FakeWorker) -> None:
    worker.next_visible = 3
    session_id = client.submit("text", "q").session_id

    assert client.result(session_id) is None
    status = client.status(session_id)
    assert (status.status, status.chunks_done, status.chunks, status.finished) == ("running", 1, 4, False)
    with pytest.raises(WaitTimeoutError):
        client.wait(session_id, timeout=0.0)
    worker.release(session_id)
    assert client.wait(session_id).sub_calls == 4


def test_wait_reports_progress(client: RLMClient, worker: FakeWorker) -> None:
    worker.next_visible = 3
    session_id = client.submit("text", "q").session_id
    seen: list[str] = []

    def note(status: object) -> None:
        seen.append(getattr(status, "status", ""))
        worker.release(session_id)

    client.wait(session_id, on_status=note)

    assert seen == ["running", "completed"]


def test_cancel_forgets_session(client: RLMClient, worker: FakeWorker) -> None:
    session_id = client.submit("text", "q").session_id

    assert client.cancel(session_id).status == "cancelled"
    assert session_id not in worker.sessions


def test_trajectory_typed(client: RLMClient) -> None:
    calls = client.trajectory(client.submit("text", "q").session_id).calls

    assert [(call.kind, call.parent, call.duration_ms) for call in calls] == [("sub", None, 900), ("root", "c1", 2_100)]
    assert calls[0].started_at is not None
    assert calls[0].started_at.year == 2026


def test_models_priced(client: RLMClient) -> None:
    root = client.models()[0]

    assert root.aliases == ["llama-3.1-70b"]
    assert root.cost(1_000_000, 1_000_000) == pytest.approx(2.546)


def test_ill_health_is_an_answer(client: RLMClient, worker: FakeWorker) -> None:
    assert client.health().ok
    worker.health = (503, {"status": "degraded", "bindings": {"RLM_CACHE": "timed out"}})

    health = client.health(deep=True)

    assert not health.ok
    assert health.to_json()["bindings"] == {"RLM_CACHE": "timed out"}
    assert worker.paths()[-1] == "GET /health?deep=1"


@pytest.mark.parametrize("kind", ["text", "bytes", "path", "file", "buffer"])
def test_upload_takes_any_source(kind: str, client: RLMClient, worker: FakeWorker, tmp_path: Path) -> None:
    text = "zwölf Boxkämpfer 🥊 " * 40_000
    path = tmp_path / "context.txt"
    path.write_text(text, encoding="utf-8")
    steps: list[UploadProgress] = []

    with path.open("rb") as file:
        sources = {
            "text": text,
            "bytes": text.encode(),
            "path": path,
            "file": file,
            "buffer": io.BytesIO(text.encode()),
        }
        stored = client.upload(sources[kind], on_progress=steps.append)  # type: ignore[arg-type]

    assert worker.contexts[stored.context_id].decode() == text
    assert steps[-1].sent == len(text.encode())
    assert [step.sent for step in steps] == sorted(step.sent for step in steps)
    assert len(steps) > 1


def test_stored_context_asked(client: RLMClient, worker: FakeWorker) -> None:
    stored = client.upload("text")

    client.run(stored, "q")

    assert worker.received[-1].json() == {"contextId": stored.context_id, "query": "q"}


def test_long_context_uploaded(worker: FakeWorker) -> None:
    with RLMClient(worker.url, KEY, inline_limit=10) as client:
        client.run([Document('say "hi"', "A" * 20), "plain"], "q")
        assert client.stream("x" * 11, "q").result is None

    assert worker.paths() == ["PUT /contexts", "POST /rlm"]
    lines = [json.loads(line) for line in worker.received[0].body.splitlines()]
    assert lines == [{"name": 'say "hi"', "text": "A" * 20}, {"text": "plain"}]
    assert worker.received[0].headers["Content-Type"] == "application/x-ndjson"


def test_long_document_takes_lines(worker: FakeWorker) -> None:
    text = "\U0001f600é\n" * 200_000
    with RLMClient(worker.url, KEY, inline_limit=10) as client:
        client.run([Document("a", text), Document("b", "")], "q")
    lines = [json.loads(line) for line in worker.received[0].body.splitlines()]
    assert [line.get("continues", False) for line in lines] == [False, True, True, False]
    assert "".join(line["text"] for line in lines[:3]) == text


@pytest.mark.parametrize("way", ["run", "submit", "stream"])
def test_refused_body_is_uploaded(way: str, client: RLMClient, worker: FakeWorker) -> None:
    """A deployment that takes less than the client thinks is served all the same."""
    worker.faults.append(error_fault(413, "payload_too_large"))
    answer = getattr(client, way)("text", "q")
    if way == "stream":
        list(answer)
    assert worker.paths()[:3] == ["POST /rlm", "PUT /contexts", "POST /rlm"]
    assert "contextId" in worker.received[2].json()


def test_long_batch_item_uploaded(worker: FakeWorker) -> None:
    with RLMClient(worker.url, KEY, inline_limit=10) as client:
        client.batch([RunRequest("a" * 20, "q"), {"context": ["b" * 20], "query": "q"}, {"context": [1], "query": "q"}])
    *uploads, sent = worker.received
    assert [upload.path for upload in uploads] == ["/contexts"] * 2
    assert [sorted(item) for item in json.loads(sent.body)] == [
        ["contextId", "query"],
        ["contextId", "query"],
        ["context", "query"],
    ]


def test_batch_in_input_order(client: RLMClient, worker: FakeWorker) -> None:
    batch = client.batch([RunRequest("a", "one"), {"context": "b", "query": "two"}])

    status = client.wait_batch(batch.batch_id)

    assert (status.completed, status.total, status.cost_usd) == (2, 2, 0.0018)
    answers = [(item.index, item.answer) for item in client.batch_results(batch.batch_id)]
    assert answers == [(0, "The answer to “one” is **42**."), (1, "The answer to “two” is **42**.")]
    client.cancel_batch(batch.batch_id)
    assert worker.batches == {}


@pytest.mark.parametrize("line", [b'{"success": []}', b"[1]", b"no json"])
def test_bad_batch_results_named(line: bytes, client: RLMClient, worker: FakeWorker) -> None:
    worker.faults.append(Fault(200, line + b"\n"))

    with pytest.raises(ProtocolError, match=r"BatchItem|Line 1"):
        client.batch_results("b1")


def test_key_never_shown(worker: FakeWorker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with RLMClient(worker.url, "wrong-key") as client:
        with pytest.raises(Exception, match="refused with 401") as refused:
            client.run("text", "q")
        shown = f"{client!r} {client._settings!r} {refused.value!r} {refused.value} {caplog.text}"

    assert "wrong-key" not in shown
    assert worker.url in shown

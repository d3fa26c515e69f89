"""Server-sent events: in order, complete, and again from any point."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator

import httpx
import pytest

from scripts.local.scripted.faults import Fault
from scripts.local.scripted.model import ScriptedModel
from tests.worker.texts import haystack, needle, unheard

pytestmark = pytest.mark.worker
Event = tuple[int, str, dict[str, object]]


def body_for(key: str, **extra: object) -> dict[str, object]:
    context = haystack(150_000, needle(key, "77"))
    return {"context": context, "query": f"number for {key}?", "config": {"chunkSize": 8_000}, "stream": True, **extra}


def events(answer: httpx.Response) -> Iterator[Event]:
    """Parses a stream the way the WHATWG standard says, as far as ours goes."""
    number, kind = 0, ""
    for line in answer.iter_lines():
        name, _, value = line.partition(": ")
        if name == "id":
            number = int(value)
        elif name == "event":
            kind = value
        elif name == "data":
            yield number, kind, json.loads(value)


def test_events_tell_the_whole_run(http: httpx.Client) -> None:
    with http.stream("POST", "/rlm", json=body_for(unheard("pink-ant"))) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        seen = list(events(answer))
    assert [number for number, _, _ in seen] == list(range(1, len(seen) + 1))
    kinds = [kind for _, kind, _ in seen]
    assert kinds[:2] == ["session", "plan"]
    assert kinds[-1] == "result"
    result = seen[-1][2]
    assert kinds.count("subcall") == result["chunks"]
    assert "".join(str(data["delta"]) for _, kind, data in seen if kind == "answer").strip() == result["answer"]


def test_accept_header_asks_for_events(http: httpx.Client) -> None:
    body = body_for(unheard("lime-bee"))
    del body["stream"]
    with http.stream("POST", "/rlm", json=body, headers={"accept": "text/event-stream"}) as answer:
        assert [kind for _, kind, _ in events(answer)][-1] == "result"


def test_cached_result_streams_too(http: httpx.Client) -> None:
    body = body_for(unheard("teal-cow"))
    for expected in (False, True):
        with http.stream("POST", "/rlm", json=body) as answer:
            last = list(events(answer))[-1]
        assert last[1] == "result"
        assert last[2]["cacheHit"] is expected


@pytest.mark.parametrize("seed", range(6))
def test_cut_stream_goes_on(http: httpx.Client, scripted: ScriptedModel, seed: int) -> None:
    scripted.latency = 0.02
    chance = random.Random(seed)
    seen: list[Event] = []
    with http.stream("POST", "/rlm", json=body_for(unheard(f"fox-{seed}"))) as answer:
        for event in events(answer):
            seen.append(event)
            if len(seen) == chance.randrange(2, 12):
                break
    session = seen[0][2]["sessionId"]
    while seen[-1][1] not in ("result", "error"):
        headers = {"last-event-id": str(seen[-1][0])}
        with http.stream("GET", f"/session/{session}/events", headers=headers) as answer:
            for event in events(answer):
                seen.append(event)
                if chance.random() < 0.15:
                    break
    assert [number for number, _, _ in seen] == list(range(1, len(seen) + 1))
    assert seen[-1][1] == "result"


def test_leaving_does_not_stop(http: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.latency = 0.05
    with http.stream("POST", "/rlm", json=body_for(unheard("doe"))) as answer:
        session = next(events(answer))[2]["sessionId"]
    deadline = time.monotonic() + 30
    while (state := http.get(f"/session/{session}/status").json())["status"] == "running":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert state["status"] == "completed"


def test_leaving_stops_when_asked(http: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.latency = 1.0  # so that the run outlasts the time that a reload is waited for
    body = body_for(unheard("yak"), cancelOnDisconnect=True)
    body["config"] = {"chunkSize": 1_000, "maxSubCalls": 500}
    with http.stream("POST", "/rlm", json=body) as answer:
        stream = events(answer)
        session = next(stream)[2]["sessionId"]
        next(stream)
    deadline = time.monotonic() + 30
    while (state := http.get(f"/session/{session}/status").json())["status"] == "running":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert state["status"] == "cancelled"


def test_retry_streams_new_run(http: httpx.Client, scripted: ScriptedModel) -> None:
    """What a client sees that asks again after a failure is the run that it pays for now."""
    body = body_for(unheard("emu"))
    scripted.faults = [Fault(5004, model="@cf/meta/llama-3.3-70b-instruct-fp8-fast")]
    with http.stream("POST", "/rlm", json=body) as answer:
        failed = list(events(answer))
    assert failed[-1][1] == "error"
    scripted.faults = []
    with http.stream("POST", "/rlm", json=body) as answer:
        again = list(events(answer))
    assert [kind for _, kind, _ in again if kind in ("error", "result")] == ["result"]
    assert again[0][1] == "session"
    assert again[0][0] > failed[-1][0]


def test_reload_keeps_run(http: httpx.Client, scripted: ScriptedModel) -> None:
    """A page under `cancelOnDisconnect` that is loaded anew gets its answer; what it costs is told."""
    scripted.latency = 0.1
    body = body_for(unheard("kid"), cancelOnDisconnect=True)
    with http.stream("POST", "/rlm", json=body) as answer:
        next(events(answer))
    with http.stream("POST", "/rlm", json=body) as answer:
        last = list(events(answer))[-1]
    assert last[1] == "result"
    assert last[2]["subCalls"] == last[2]["chunks"]


def test_one_reader_of_two_leaves(http: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.latency = 0.1
    body = body_for(unheard("gnu"), cancelOnDisconnect=True)
    with http.stream("POST", "/rlm", json=body) as first:
        session = next(events(first))[2]["sessionId"]
        with http.stream("GET", f"/session/{session}/events") as second:
            stays = events(second)
            next(stays)
            first.close()
            assert list(stays)[-1][1] == "result"


def test_bad_event_id_is_422(http: httpx.Client) -> None:
    answer = http.get(f"/session/{'0' * 32}/events", headers={"last-event-id": "x"})
    assert answer.status_code == 422

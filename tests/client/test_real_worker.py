"""The client against the real Worker in the real runtime."""

from __future__ import annotations

import hashlib
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlm_client import (
    AnswerEvent,
    AsyncRLMClient,
    AuthenticationError,
    ConflictError,
    Document,
    InvalidFieldError,
    NotFoundError,
    PlanEvent,
    ResultEvent,
    RetryPolicy,
    RLMClient,
    RunEvent,
    RunFailedError,
    SessionEvent,
    SubcallEvent,
    run_rlm,
)
from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.faults import Fault
from scripts.local.scripted.model import ScriptedModel
from tests.client.cutting_proxy import cutting
from tests.client.haystack import NEEDLE, QUERY, haystack

pytestmark = pytest.mark.worker

# Cut off, a client asks again at once: it is the connection that fails, not the Worker.
QUICK = RetryPolicy(first_delay=0.01)
SMALL = {"chunkSize": 10_000, "strategy": "map_reduce"}


@pytest.fixture
def client(deployment: DevProcess, scripted: ScriptedModel) -> Iterator[RLMClient]:
    with RLMClient(deployment.url) as made:
        yield made


def _ids(events: list[RunEvent]) -> list[str | None]:
    return [event.event_id for event in events]


def test_needle_found(client: RLMClient, scripted: ScriptedModel) -> None:
    result = client.run(haystack("needle"), QUERY)

    assert "7421093" in (result.answer or "")
    assert (result.success, result.strategy, result.coverage, result.cache_hit) == (True, "map_reduce", 1.0, False)
    assert result.sub_calls + result.iterations == len(scripted.answered)
    assert sum(usage.calls for usage in result.models) == len(scripted.answered)
    assert sum(usage.cost_usd for usage in result.models) == pytest.approx(result.cost_usd, abs=1e-9)


def test_same_question_cached(client: RLMClient, deployment: DevProcess, scripted: ScriptedModel) -> None:
    first = client.run("The sky over the harbour is green.", "What colour?")
    again = run_rlm("The sky over the harbour is green.", "What colour?", base_url=deployment.url)

    assert (again.cache_hit, again.answer, again.session_id) == (True, first.answer, first.session_id)
    assert len(scripted.answered) == 1


def test_refused_cache_asks_anew(client: RLMClient, scripted: ScriptedModel) -> None:
    for _ in range(2):
        assert not client.run("The lamp is blue.", "What colour?", {"useCache": False}).cache_hit

    assert len(scripted.answered) == 2


def test_events_tell_the_run(client: RLMClient) -> None:
    events = list(client.stream(haystack("events"), QUERY, SMALL))

    assert isinstance(events[0], SessionEvent)
    assert _ids(events) == [str(number) for number in range(1, len(events) + 1)]
    assert isinstance(events[-1], ResultEvent)
    result = events[-1].result
    plan = next(event for event in events if isinstance(event, PlanEvent))
    assert (plan.strategy, plan.characters) == ("map_reduce", len(haystack("events")))
    subcalls = [event for event in events if isinstance(event, SubcallEvent)]
    assert len(subcalls) == result.chunks > 1
    assert "".join(event.delta for event in events if isinstance(event, AnswerEvent)) == result.answer
    assert events[0].session_id == result.session_id


def test_left_stream_stops_run(client: RLMClient, scripted: ScriptedModel) -> None:
    scripted.latency = 1.0  # so that the run outlasts the time that a reload is waited for
    with client.stream(haystack("left"), QUERY, {"chunkSize": 1_000}, cancel_on_disconnect=True) as stream:
        next(stream)
        next(stream)

    with pytest.raises(RunFailedError) as failed:
        client.wait(stream.session_id or "", timeout=60)

    assert failed.value.type == "cancelled"


@pytest.mark.parametrize("seed", range(4))
def test_cut_stream_misses_nothing(seed: int, client: RLMClient, deployment: DevProcess) -> None:
    cuts = [random.Random(seed * 10 + number).randrange(1, 3_000) for number in range(6)]
    with (
        cutting(deployment.url, cuts) as proxy,
        RLMClient(proxy.url, retries=QUICK) as cut,
        cut.stream(haystack(f"cut {seed}"), QUERY, SMALL) as stream,
    ):
        events = list(stream)

    assert proxy.cut > 0
    assert stream.session_id is not None
    undisturbed = list(client.events(stream.session_id))
    assert _ids(events) == _ids(undisturbed)
    assert [event.to_json() for event in events] == [event.to_json() for event in undisturbed]


async def test_async_stream_cut(deployment: DevProcess, scripted: ScriptedModel) -> None:
    with cutting(deployment.url, [700, 300, 900]) as proxy:
        async with (
            AsyncRLMClient(proxy.url, retries=QUICK) as client,
            client.stream(haystack("async"), QUERY, SMALL) as stream,
        ):
            ids = [event.event_id async for event in stream]

    assert proxy.cut > 0
    assert ids == [str(number) for number in range(1, len(ids) + 1)]
    assert stream.result is not None
    assert stream.result.success


def test_crash_survived(client: RLMClient, deployment: DevProcess, scripted: ScriptedModel) -> None:
    scripted.latency = 0.3
    events: list[RunEvent] = []
    with client.stream(haystack("crash"), QUERY, SMALL) as stream:
        for event in stream:
            events.append(event)
            if sum(isinstance(seen, SubcallEvent) for seen in events) == 3 and isinstance(event, SubcallEvent):
                os.kill(deployment.workerd_pid, signal.SIGKILL)

    assert _ids(events) == [str(number) for number in range(1, len(events) + 1)]
    assert stream.result is not None
    assert "7421093" in (stream.result.answer or "")


def test_background_run(client: RLMClient, scripted: ScriptedModel) -> None:
    scripted.latency = 0.2
    session_id = client.submit(haystack("background"), QUERY, SMALL).session_id

    assert not client.status(session_id).finished
    assert client.result(session_id) is None
    result = client.wait(session_id, timeout=60)
    status = client.status(session_id)
    assert (status.status, status.chunks_done, status.cost_usd) == ("completed", result.chunks, result.cost_usd)
    calls = client.trajectory(session_id).calls
    assert len(calls) == result.sub_calls + result.iterations
    assert sum(call.cost_usd for call in calls) == pytest.approx(result.cost_usd, abs=1e-9)
    assert any(NEEDLE in str(call.prompt) for call in calls)


def test_cancelled_session_gone(client: RLMClient, scripted: ScriptedModel) -> None:
    scripted.faults = [Fault("hang")]
    session_id = client.submit(haystack("cancel"), QUERY, SMALL).session_id
    scripted.wait_for_calls(1)

    client.cancel(session_id)

    for ask in (client.status, client.result, client.trajectory):
        with pytest.raises(NotFoundError):
            ask(session_id)


def test_upload_then_ask(client: RLMClient, tmp_path: Path) -> None:
    text = haystack("upload — naïve 🦦", 400_000)
    path = tmp_path / "long.txt"
    path.write_text(text, encoding="utf-8")
    sent: list[int] = []

    stored = client.upload(path, on_progress=lambda progress: sent.append(progress.sent))

    assert (stored.characters, stored.bytes) == (len(text), len(text.encode()))
    assert sent[-1] == stored.bytes
    assert "7421093" in (client.run(stored, QUERY).answer or "")


def test_long_documents_uploaded(deployment: DevProcess, scripted: ScriptedModel) -> None:
    documents = [Document("a.txt", haystack("first")), Document("b.txt", "nothing here " * 5_000)]
    with RLMClient(deployment.url, inline_limit=50_000) as client:
        result = client.run(documents, QUERY)

    assert "7421093" in (result.answer or "")


def test_field_paths_reported(client: RLMClient, scripted: ScriptedModel) -> None:
    with pytest.raises(InvalidFieldError) as refused:
        client.run("text", "q", {"chunkSize": 0, "nonsense": True, "rootModel": 5})

    assert {problem.path for problem in refused.value.problems} == {
        "config.chunkSize",
        "config.nonsense",
        "config.rootModel",
    }
    assert refused.value.request_id
    assert scripted.calls == []


def test_reused_key_conflicts(client: RLMClient) -> None:
    client.run("one text", "q", idempotency_key="the-key")

    with pytest.raises(ConflictError):
        client.run("another text", "q", idempotency_key="the-key")


def test_model_failure_typed(client: RLMClient, scripted: ScriptedModel) -> None:
    scripted.faults = [Fault(5007)]

    with pytest.raises(RunFailedError) as failed:
        client.run("The boat is red.", "What colour?")
    with pytest.raises(RunFailedError) as streamed:
        list(client.stream("The boat is old.", "What age?"))

    assert failed.value.status in (502, 503)
    assert failed.value.type == streamed.value.type
    assert streamed.value.session_id


def test_health_of_bindings(client: RLMClient) -> None:
    health = client.health(deep=True)

    assert health.ok
    assert health.service == "rlm-worker"


def test_models_priced(client: RLMClient) -> None:
    models = {alias: model for model in client.models() for alias in (model.id, *model.aliases)}

    assert {"llama-3.1-70b", "llama-3.1-8b"} <= models.keys()
    for model in models.values():
        assert model.window
        assert model.dated
        assert model.cost(1_000_000, 0)


def test_key_demanded(model: ScriptedModel, tmp_path: Path) -> None:
    digest = hashlib.sha256(b"a-key-of-mine").hexdigest()
    with DevProcess(tmp_path, ai=model.url, variables={"RLM_API_KEYS": f"mine:{digest}"}) as process:
        for key in (None, "not-mine"):
            with RLMClient(process.url, key) as client, pytest.raises(AuthenticationError):
                client.run("text", "q")
        with RLMClient(process.url, "a-key-of-mine") as client:
            assert client.run("text", "q").success

"""What the client does when the network or the Worker misbehaves."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import httpx
import pytest

from rlm_client import (
    APIError,
    AsyncRLMClient,
    AuthenticationError,
    BadRequestError,
    Config,
    ConflictError,
    InvalidFieldError,
    NotFoundError,
    ProtocolError,
    RateLimitError,
    RequestError,
    ResponseTimeoutError,
    ResultEvent,
    RetryPolicy,
    RLMClient,
    RLMConfig,
    RunFailedError,
    ServerError,
    StreamBrokenError,
    TooLargeError,
    TransportError,
    _flows,
    _requests,
)
from rlm_client._settings import Settings, settings
from tests.client.conftest import IMPATIENT
from tests.client.fake_worker import DROP, KEY, FakeWorker, Fault, error_fault

TREE = [
    (400, BadRequestError),
    (401, AuthenticationError),
    (403, AuthenticationError),
    (404, NotFoundError),
    (405, BadRequestError),
    (409, ConflictError),
    (413, TooLargeError),
    (415, BadRequestError),
    (418, BadRequestError),
    (422, InvalidFieldError),
    (429, RateLimitError),
    (500, ServerError),
    (502, RunFailedError),
    (504, RunFailedError),
]

PAUSE = 0.05
UNHURRIED = RetryPolicy(first_delay=PAUSE, jitter=lambda: 1.0)


def _settings() -> Settings:
    return settings("http://worker.test", KEY, timeout=60.0, inline_limit=100, retries=IMPATIENT)


def _busy(seconds: str) -> httpx.Response:
    return httpx.Response(429, headers={"Retry-After": seconds})


@pytest.mark.parametrize(("status", "kind"), TREE)
def test_statuses_map_to_tree(status: int, kind: type[APIError], client: RLMClient, worker: FakeWorker) -> None:
    worker.faults.append(error_fault(status, "the_type", X_Request_Id="req-7"))

    with pytest.raises(kind) as raised:
        client.run("text", "q")

    assert type(raised.value) is kind
    assert (raised.value.type, raised.value.status, raised.value.request_id) == ("the_type", status, "req-7")
    assert len(worker.received) == 1


def test_field_path_reported(client: RLMClient, worker: FakeWorker) -> None:
    detail = [{"path": "config.chunkSize", "message": "must be at least 1"}]
    worker.faults.append(error_fault(422, "invalid_request", detail=detail))

    with pytest.raises(InvalidFieldError, match=r"config\.chunkSize: must be at least 1") as raised:
        client.run("text", "q")

    assert raised.value.problems[0].path == "config.chunkSize"


def test_foreign_answers_named(client: RLMClient, worker: FakeWorker) -> None:
    worker.faults.extend([Fault(502, b"<html>"), Fault(302), Fault(200, b"<html>"), Fault(200, b'{"answer": 1}')])

    with pytest.raises(RunFailedError, match="without the API's error body"):
        client.run("text", "q")
    for reason in ("HTTP 302", "not a valid RLMResult", "check answer, success|check success, answer"):
        with pytest.raises(ProtocolError, match=reason):
            client.run("text", "q")


@pytest.mark.parametrize("fault", [DROP, error_fault(503), error_fault(429, Retry_After="0")])
def test_safe_faults_retried(fault: Fault, client: RLMClient, worker: FakeWorker) -> None:
    worker.faults.append(fault)

    assert client.run("text", "q").success

    assert (len(worker.received), len(worker.sessions)) == (2, 1)


@pytest.mark.parametrize("config", [{"useCache": False}, {"use_cache": False}, RLMConfig(use_cache=False)])
def test_uncached_run_has_key(config: Config, client: RLMClient, worker: FakeWorker) -> None:
    worker.faults.append(DROP)

    client.run("text", "q", config)
    client.run("text", "q", config)

    keys = [request.headers["Idempotency-Key"] for request in worker.received]
    assert keys[0] == keys[1] != keys[2]
    assert len(worker.sessions) == 2


def test_cacheable_run_has_no_key(client: RLMClient, worker: FakeWorker) -> None:
    client.run("text", "q")
    client.run("text", "q", idempotency_key="mine")

    assert [request.headers.get("Idempotency-Key") for request in worker.received] == [None, "mine"]


def test_retries_end(client: RLMClient, worker: FakeWorker) -> None:
    worker.faults.extend([DROP] * 9)

    with pytest.raises(TransportError, match="broke"):
        client.run("text", "q")

    assert len(worker.received) == 3


def test_quota_not_retried(client: RLMClient, worker: FakeWorker) -> None:
    worker.faults.extend([error_fault(429), error_fault(429, Retry_After="3600")])

    for expected in (None, 3600.0):
        with pytest.raises(RateLimitError) as raised:
            client.run("text", "q")
        assert raised.value.retry_after == expected
    assert len(worker.received) == 2


def test_retry_after_honoured() -> None:
    flow = _flows.perform(_requests.status("s"), _settings())

    assert isinstance(next(flow), _flows.Send)
    assert flow.send(_busy("2")) == _flows.Sleep(2.0)
    assert isinstance(flow.send(None), _flows.Send)


def test_pause_is_slept(worker: FakeWorker) -> None:
    worker.faults.append(error_fault(503))
    started = time.monotonic()

    with RLMClient(worker.url, KEY, retries=UNHURRIED) as client:
        client.models()

    assert time.monotonic() - started >= PAUSE


async def test_async_pause_is_slept(worker: FakeWorker) -> None:
    worker.faults.append(error_fault(503))
    started = time.monotonic()

    async with AsyncRLMClient(worker.url, KEY, retries=UNHURRIED) as client:
        await client.models()

    assert time.monotonic() - started >= PAUSE


def test_retry_after_as_date(client: RLMClient, worker: FakeWorker) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=90)
    worker.faults.append(error_fault(429, Retry_After=format_datetime(soon, usegmt=True)))

    with pytest.raises(RateLimitError) as raised:
        client.models()

    assert raised.value.retry_after == pytest.approx(90, abs=5)


def test_unreachable_named() -> None:
    client = RLMClient("http://127.0.0.1:9", retries=RetryPolicy(attempts=1))

    with client, pytest.raises(TransportError, match=r"http://127\.0\.0\.1:9 cannot be reached"):
        client.health()


def test_slow_answer_times_out(worker: FakeWorker) -> None:
    def slow(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("", request=request)

    client = RLMClient(worker.url, KEY, transport=httpx.MockTransport(slow))

    with client, pytest.raises(ResponseTimeoutError, match="did not respond in time"):
        client.run("text", "q")


@pytest.mark.parametrize("cuts", [[0], [1], [3], [10], [0, 2, 1, 4], [5, 0, 0, 3], [1] * 10])
def test_broken_stream_resumed(cuts: list[int], client: RLMClient, worker: FakeWorker) -> None:
    worker.cuts.extend(cuts)

    ids = [event.event_id for event in client.stream("text", "q")]

    assert ids == [str(number) for number in range(1, 12)]
    assert len(worker.sessions) == 1


async def test_async_stream_resumed(async_client: AsyncRLMClient, worker: FakeWorker) -> None:
    worker.cuts.extend([0, 2, 1, 4])

    async with async_client.stream("text", "q") as stream:
        ids = [event.event_id async for event in stream]

    assert ids == [str(number) for number in range(1, 12)]


def test_hopeless_stream_given_up(client: RLMClient, worker: FakeWorker) -> None:
    worker.cuts.extend([2, 0, 0, 0, 0])
    stream = client.stream("text", "q")

    with pytest.raises(StreamBrokenError) as broken:
        list(stream)

    assert (broken.value.session_id, broken.value.last_event_id) == ("s1", "2")
    after = list(client.events("s1", after=broken.value.last_event_id))
    assert isinstance(after[-1], ResultEvent)
    assert len(after) == 9


def test_busy_stream_waited_for(client: RLMClient, worker: FakeWorker) -> None:
    worker.faults.append(error_fault(429, Retry_After="0"))

    assert len(list(client.stream("text", "q"))) == 11


def test_stream_honours_retry_after() -> None:
    flow = _flows.follow_session(_settings(), _flows.Cursor("s"))

    assert isinstance(next(flow), _flows.Open)
    assert flow.send(_busy("2")) == _flows.Sleep(2.0)
    assert isinstance(flow.send(None), _flows.Open)


def test_late_result_waited_for() -> None:
    paths: list[str] = []

    def ended_without_result(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.path)
        status = {"sessionId": "s", "status": "completed"}
        return httpx.Response(
            202 if paths == ["/session/s/status", "/session/s/result"] else 200, json=status | {"success": True}
        )

    with RLMClient(transport=httpx.MockTransport(ended_without_result)) as client:
        assert client.wait("s", timeout=60).success

    assert paths == ["/session/s/status", "/session/s/result", "/session/s/result"]


def test_restarting_worker_waited_for(client: RLMClient, worker: FakeWorker) -> None:
    worker.cuts.append(2)
    stream = client.stream("text", "q")
    next(stream)
    worker.faults.extend([error_fault(503), DROP])

    assert len(list(stream)) == 10


def test_refused_stream_raises(client: RLMClient, worker: FakeWorker) -> None:
    worker.faults.extend([error_fault(422), Fault(200, b"{}")])

    with pytest.raises(InvalidFieldError):
        list(client.stream("text", "q"))
    with pytest.raises(ProtocolError, match="application/json"):
        list(client.stream("text", "q"))


def test_broken_upload_starts_over(client: RLMClient, worker: FakeWorker) -> None:
    worker.faults.append(DROP)

    stored = client.upload("a text " * 100_000)

    assert worker.contexts[stored.context_id].decode() == "a text " * 100_000
    assert len(worker.received) == 2


def test_backoff_grows_with_jitter() -> None:
    low, high = RetryPolicy(attempts=9, jitter=lambda: 0.0), RetryPolicy(attempts=9, jitter=lambda: 1.0)

    delays = [(low.backoff(n), high.backoff(n)) for n in range(9)]

    assert delays[0] == (0.25, 0.5)
    assert delays[7] == (30.0, 60.0)
    assert delays[8] == (None, None)
    assert all(a[1] <= b[1] for a, b in pairwise(delays[:8]) if a[1] and b[1])


@pytest.mark.parametrize("text", ["\ud800", "ok \udfff"])
def test_lone_surrogate_refused(text: str, client: RLMClient, worker: FakeWorker) -> None:
    with pytest.raises(RequestError, match="surrogate"):
        client.run(text, "q")
    with pytest.raises(RequestError, match="surrogate"):
        client.upload(text)

    assert worker.received == []


def test_unsendable_values_refused(client: RLMClient, worker: FakeWorker) -> None:
    for value in (float("nan"), object()):
        with pytest.raises(RequestError, match="cannot be written as JSON"):
            client.run("text", "q", {"temperature": value})

    assert worker.received == []


@pytest.mark.parametrize(
    ("url", "key"),
    [("ftp://host", None), ("no url", None), ("http://", None), ("http://h", "ü"), ("http://u:p@h", None)],
)
def test_bad_settings_refused(url: str, key: str | None) -> None:
    with pytest.raises(RequestError):
        RLMClient(url, key)

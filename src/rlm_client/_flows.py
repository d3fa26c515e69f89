"""What the client does with its calls, sans I/O: retries, uploads, polling and resumed streams, as flows of steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeAlias, TypeGuard, TypeVar

import httpx

from . import _requests
from ._context import Context, OnProgress, UploadBody, inline_size, upload_source
from ._errors import (
    ProtocolError,
    RequestError,
    ResponseTimeoutError,
    StreamBrokenError,
    TooLargeError,
    TransportError,
    WaitTimeoutError,
)
from ._events import ResultEvent, RunEvent, SessionEvent, SSEDecoder, run_event
from ._models import BatchStatus, BatchSubmitted, RLMResult, SessionStatus, Submitted
from ._requests import Call, Operation, RunRequest, T, check
from ._settings import Settings
from ._structured import Rows

FIRST_POLL, MAX_POLL = 0.25, 5.0
"""Seconds between two looks at a run: the first pause, and the longest."""

BATCH_ITEM_LIMIT = 250_000
"""Bytes of context that travel inside an item of a batch, which may have half a megabyte as JSON."""

StatusT = TypeVar("StatusT", SessionStatus, BatchStatus)


@dataclass(frozen=True, slots=True)
class Send:
    """Send this and come back with the response, its body read."""

    request: httpx.Request


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Open:
    """Send this and come back with the response, its body unread unless the status is an error."""

    request: httpx.Request


@dataclass(frozen=True, slots=True)
class Read:
    """Come back with the next bytes of the open response, or with none at its end."""


@dataclass(frozen=True, slots=True)
class Emit:
    """Hand this to whoever follows the run."""

    event: RunEvent


Step: TypeAlias = Send | Sleep | Open | Read | Emit
Answer: TypeAlias = httpx.Response | bytes | None
Flow: TypeAlias = Generator[Step, Answer, T]


@dataclass(slots=True)
class Cursor:
    """How far a stream has been followed; what it takes to go on after a break."""

    session_id: str | None = None
    last_event_id: str | None = None
    result: RLMResult | None = field(default=None, repr=False)
    breaks: int = 0

    def advance(self, event: RunEvent) -> None:
        """Note an event; a stream that brings events is worth resuming again."""
        self.breaks = 0
        self.last_event_id = event.event_id
        if isinstance(event, SessionEvent):
            self.session_id = event.session_id
        elif isinstance(event, ResultEvent):
            self.result = event.result


def run(request: RunRequest, key: str | None, settings: Settings, on_upload: OnProgress | None) -> Flow[RLMResult]:
    """Ask, and wait for the result."""
    ask = partial(_requests.run, key=key)
    return (yield from _asked(request, ask, settings, on_upload))


def submit(request: RunRequest, key: str | None, settings: Settings, on_upload: OnProgress | None) -> Flow[Submitted]:
    """Ask, and leave the run to itself."""
    ask = partial(_requests.submit, key=key)
    return (yield from _asked(request, ask, settings, on_upload))


def follow_run(
    request: RunRequest, key: str | None, settings: Settings, cursor: Cursor, on_upload: OnProgress | None
) -> Flow[None]:
    """Start a run and follow it; until its session is known, the same request leads back to it."""
    ready = yield from _prepared(request, settings, on_upload)
    try:
        yield from _follow(_requests.stream(ready, key), settings, cursor)
    except TooLargeError as error:
        if cursor.session_id is not None or not _travelled(ready, error):
            raise
        stored = yield from _uploaded(ready, settings, on_upload)
        yield from _follow(_requests.stream(stored, key), settings, cursor)


def follow_session(settings: Settings, cursor: Cursor) -> Flow[None]:
    """Follow a session that exists, from after the cursor's last event."""
    assert cursor.session_id is not None
    yield from _follow(_requests.events(cursor.session_id, cursor.last_event_id), settings, cursor)


def wait_for_session(
    session_id: str, timeout: float | None, settings: Settings, on_status: Callable[[SessionStatus], None] | None
) -> Flow[RLMResult]:
    """Poll a session until it ends and return its result; raises `WaitTimeoutError`."""
    timer = _PollTimer(f"Session {session_id}", timeout)
    yield from _poll(_requests.status(session_id), timer, settings, on_status)
    while (result := (yield from perform(_requests.result(session_id), settings))) is None:
        # The status is written a moment before the result.
        yield Sleep(timer.pause())
    return result


def rows(run: RLMResult | str, table: str | None, settings: Settings) -> Flow[Rows]:
    """The rows of a run, when it has ended; raises `RequestError` for a result that names no session."""
    return (yield from _when_ended(run, lambda session_id: _requests.rows(session_id, table), settings))


def rows_csv(run: RLMResult | str, table: str | None, settings: Settings) -> Flow[str]:
    """The same as CSV."""
    return (yield from _when_ended(run, lambda session_id: _requests.rows_csv(session_id, table), settings))


def _when_ended(run: RLMResult | str, ask: Callable[[str], Operation[T | None]], settings: Settings) -> Flow[T]:
    session_id = run if isinstance(run, str) else run.session_id
    if session_id is None:
        raise RequestError("The result names no session whose rows could be fetched.")
    timer = _PollTimer(f"Session {session_id}", None)
    while (found := (yield from perform(ask(session_id), settings))) is None:
        yield Sleep(timer.pause())
    return found


def wait_for_batch(
    batch_id: str, timeout: float | None, settings: Settings, on_status: Callable[[BatchStatus], None] | None
) -> Flow[BatchStatus]:
    """Poll a batch until all its items have ended and return its last status; raises `WaitTimeoutError`."""
    timer = _PollTimer(f"Batch {batch_id}", timeout)
    return (yield from _poll(_requests.batch_status(batch_id), timer, settings, on_status))


def perform(operation: Operation[T], settings: Settings) -> Flow[T]:
    """Make a call, again when that is safe and promising, and read its answer."""
    response = yield from _exchange(operation.call, settings)
    return operation.read(check(response, operation.accepts))


def _exchange(call: Call, settings: Settings) -> Flow[httpx.Response]:
    """Make a call until it is answered or not worth repeating; raises `TransportError`."""
    failures = 0
    while isinstance(outcome := (yield from _attempt(call, settings, failures)), float):
        failures += 1
        yield Sleep(outcome)
    return outcome


def _attempt(call: Call, settings: Settings, failures: int) -> Flow[httpx.Response | float]:
    try:
        response = yield from _sent(settings.request(call))
    except httpx.RequestError as error:
        pause = settings.retries.after_error(error, call, failures)
        if pause is None:
            raise _connection_failed(error, settings) from error
        return pause
    pause = settings.retries.after_response(response, call, failures)
    return response if pause is None else pause


def _prepared(request: RunRequest, settings: Settings, on_upload: OnProgress | None) -> Flow[RunRequest]:
    """Return the request, its context uploaded first when it is too long to travel inside."""
    if inline_size(request.context) <= settings.inline_limit:
        return request
    return (yield from _uploaded(request, settings, on_upload))


def _uploaded(request: RunRequest, settings: Settings, on_upload: OnProgress | None) -> Flow[RunRequest]:
    body = UploadBody(upload_source(request.context), on_upload)
    stored = yield from perform(_requests.upload(body), settings)
    return replace(request, context=stored)


def _asked(
    request: RunRequest,
    ask: Callable[[RunRequest], Operation[T]],
    settings: Settings,
    on_upload: OnProgress | None,
) -> Flow[T]:
    """Ask; a deployment that takes less with a request than this client thinks gets the context uploaded first."""
    ready = yield from _prepared(request, settings, on_upload)
    try:
        return (yield from perform(ask(ready), settings))
    except TooLargeError as error:
        if not _travelled(ready, error):
            raise
    stored = yield from _uploaded(ready, settings, on_upload)
    return (yield from perform(ask(stored), settings))


def _travelled(request: RunRequest, refusal: TooLargeError) -> bool:
    """Whether it was the request's body that was too large, and its context in it."""
    return refusal.type == "payload_too_large" and inline_size(request.context) > 0


def batch(
    requests: Sequence[RunRequest | Mapping[str, object]], key: str | None, settings: Settings
) -> Flow[BatchSubmitted]:
    """Send many requests; what is too long for an item of a batch is uploaded first."""
    ready: list[RunRequest | Mapping[str, object]] = []
    for request in requests:
        ready.append((yield from _item(request, settings)))
    return (yield from perform(_requests.batch(ready, key), settings))


def _item(request: RunRequest | Mapping[str, object], settings: Settings) -> Flow[RunRequest | Mapping[str, object]]:
    limit = min(settings.inline_limit, BATCH_ITEM_LIMIT)
    if isinstance(request, RunRequest):
        return (yield from _prepared(request, replace(settings, inline_limit=limit), None))
    context = request.get("context")
    # What is no context goes as it is, so that the Worker names what is wrong with it.
    if not _is_context(context) or inline_size(context) <= limit:
        return request
    stored = yield from perform(_requests.upload(UploadBody(upload_source(context))), settings)
    return {**{name: value for name, value in request.items() if name != "context"}, "contextId": stored.context_id}


def _is_context(value: object) -> TypeGuard[Context]:
    if isinstance(value, str):
        return True
    return isinstance(value, list) and all(isinstance(piece, str) or _is_document(piece) for piece in value)


def _is_document(value: object) -> bool:
    return isinstance(value, Mapping) and value.keys() == {"name", "text"} and all(map(_is_text, value.values()))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _follow(opening: Call, settings: Settings, cursor: Cursor) -> Flow[None]:
    while cursor.result is None:
        call = _requests.events(cursor.session_id, cursor.last_event_id) if cursor.session_id else opening
        try:
            at_least = yield from _follow_once(call, settings, cursor)
        except httpx.RequestError as error:
            yield Sleep(_pause(cursor, settings, error))
        else:
            if cursor.result is None:
                yield Sleep(max(at_least, _pause(cursor, settings, None)))


def _follow_once(call: Call, settings: Settings, cursor: Cursor) -> Flow[float]:
    """Read one connection's events; returns the seconds that the Worker wants the next one to wait."""
    response = yield from _opened(settings.request(call))
    # A run that has begun is waited for as long as `resumptions` say; `_pause` counts.
    failures = 0 if cursor.session_id else cursor.breaks
    busy = settings.retries.after_response(response, call, failures)
    if busy is None:
        yield from _read_events(check(response), cursor)
    return busy or 0.0


def _read_events(response: httpx.Response, cursor: Cursor) -> Flow[None]:
    kind = response.headers.get("content-type", "nothing")
    if not kind.startswith("text/event-stream"):
        raise ProtocolError(f"Expected an event stream and got {kind}: is the base URL right?")
    decoder = SSEDecoder(cursor.last_event_id)
    while cursor.result is None and (data := (yield from _read())):
        for raw in decoder.feed(data):
            event = run_event(raw)
            cursor.advance(event)
            yield Emit(event)


def _pause(cursor: Cursor, settings: Settings, error: httpx.RequestError | None) -> float:
    policy = settings.retries
    if cursor.breaks >= (policy.attempts - 1 if cursor.session_id is None else policy.resumptions):
        raise _given_up(cursor, settings, error) from error
    cursor.breaks += 1
    return policy.delay(cursor.breaks - 1)


def _given_up(cursor: Cursor, settings: Settings, error: httpx.RequestError | None) -> TransportError:
    if error is not None and cursor.session_id is None:
        return _connection_failed(error, settings)
    message = f"The event stream from {settings.origin} kept breaking; the run itself continues."
    return StreamBrokenError(message, cursor.session_id, cursor.last_event_id)


def _connection_failed(error: httpx.RequestError, settings: Settings) -> TransportError:
    """Return the client's own error for the transport's, naming the Worker but no credential."""
    if isinstance(error, httpx.ReadTimeout):
        return ResponseTimeoutError(
            f"{settings.origin} did not respond in time; a run that it started continues there."
        )
    reason = str(error) or type(error).__name__
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return TransportError(f"{settings.origin} cannot be reached: {reason}")
    return TransportError(f"The connection to {settings.origin} broke: {reason}")


@dataclass(slots=True)
class _PollTimer:
    """The pauses between polls, and the deadline of them all."""

    what: str
    timeout: float | None
    started: float = field(default_factory=time.monotonic)
    next_pause: float = FIRST_POLL

    def pause(self) -> float:
        """Return the seconds until the next poll; raises `WaitTimeoutError` when that would be too late."""
        pause, self.next_pause = self.next_pause, min(MAX_POLL, self.next_pause * 1.5)
        if self.timeout is not None and time.monotonic() - self.started + pause > self.timeout:
            raise WaitTimeoutError(self.what, self.timeout)
        return pause


def _poll(
    status_of: Operation[StatusT], timer: _PollTimer, settings: Settings, on_status: Callable[[StatusT], None] | None
) -> Flow[StatusT]:
    while True:
        status = yield from perform(status_of, settings)
        if on_status is not None:
            on_status(status)
        if status.finished:
            return status
        yield Sleep(timer.pause())


def _sent(request: httpx.Request) -> Flow[httpx.Response]:
    """Send a request and return its response."""
    return _response((yield Send(request)))


def _opened(request: httpx.Request) -> Flow[httpx.Response]:
    """Open a request's response for reading bit by bit and return it."""
    return _response((yield Open(request)))


def _read() -> Flow[bytes]:
    """Return the next bytes of the open response."""
    answer = yield Read()
    assert isinstance(answer, bytes)
    return answer


def _response(answer: Answer) -> httpx.Response:
    assert isinstance(answer, httpx.Response)
    return answer

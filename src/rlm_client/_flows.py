"""Calls, with the retries, uploads and polling around them, as flows."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import TypeAlias, TypeVar

import httpx

from . import _requests as operations
from ._context import OnProgress, UploadBody, characters, joined
from ._errors import ProtocolError, ResponseTimeoutError, StreamBrokenError, TransportError, WaitTimeoutError
from ._events import ResultEvent, RunEvent, SessionEvent, SSEDecoder, run_event
from ._models import BatchStatus, RLMResult, SessionStatus, Submitted
from ._requests import Call, Operation, RunRequest, check
from ._settings import Settings

T = TypeVar("T")


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


def sent(request: httpx.Request) -> Flow[httpx.Response]:
    """Send a request and return its response."""
    return _response((yield Send(request)))


def opened(request: httpx.Request) -> Flow[httpx.Response]:
    """Open a request's response for reading bit by bit and return it."""
    return _response((yield Open(request)))


def read() -> Flow[bytes]:
    """Return the next bytes of the open response."""
    answer = yield Read()
    assert isinstance(answer, bytes)
    return answer


def _response(answer: Answer) -> httpx.Response:
    assert isinstance(answer, httpx.Response)
    return answer


@dataclass(slots=True)
class Place:
    """How far a stream has been followed; what it takes to go on after a break."""

    session_id: str | None = None
    last_event_id: str | None = None
    result: RLMResult | None = field(default=None, repr=False)
    breaks: int = 0

    def passed(self, event: RunEvent) -> None:
        """Note an event; a stream that brings events is worth resuming again."""
        self.breaks = 0
        self.last_event_id = event.event_id
        if isinstance(event, SessionEvent):
            self.session_id = event.session_id
        elif isinstance(event, ResultEvent):
            self.result = event.result


def follow_run(
    request: RunRequest, key: str | None, settings: Settings, place: Place, on_upload: OnProgress | None
) -> Flow[None]:
    """Start a run and follow it; until its session is known, the same request leads back to it."""
    ready = yield from prepared(request, settings, on_upload)
    yield from _follow(operations.stream(ready, key), settings, place)


def follow_session(settings: Settings, place: Place) -> Flow[None]:
    """Follow a session that exists, from after the place's last event."""
    assert place.session_id is not None
    yield from _follow(operations.events(place.session_id, place.last_event_id), settings, place)


def _follow(opening: Call, settings: Settings, place: Place) -> Flow[None]:
    while place.result is None:
        call = operations.events(place.session_id, place.last_event_id) if place.session_id else opening
        try:
            at_least = yield from _follow_once(call, settings, place)
        except httpx.RequestError as error:
            yield Sleep(_pause(place, settings, error))
        else:
            if place.result is None:
                yield Sleep(max(at_least, _pause(place, settings, None)))


def _follow_once(call: Call, settings: Settings, place: Place) -> Flow[float]:
    """Read one connection's events; returns the seconds that the Worker wants the next one to wait."""
    response = yield from opened(settings.request(call))
    # A run that has begun is waited for as long as `resumptions` say; `_pause` counts.
    failures = 0 if place.session_id else place.breaks
    busy = settings.retries.after_response(response, call, failures)
    if busy is None:
        yield from _read_events(check(response), place)
    return busy or 0.0


def _read_events(response: httpx.Response, place: Place) -> Flow[None]:
    kind = response.headers.get("content-type", "nothing")
    if not kind.startswith("text/event-stream"):
        raise ProtocolError(f"Expected a stream of events and got {kind}: is the base URL right?")
    decoder = SSEDecoder(place.last_event_id)
    while place.result is None and (data := (yield from read())):
        for raw in decoder.feed(data):
            event = run_event(raw)
            place.passed(event)
            yield Emit(event)


def _pause(place: Place, settings: Settings, error: httpx.RequestError | None) -> float:
    policy = settings.retries
    if place.breaks >= (policy.attempts - 1 if place.session_id is None else policy.resumptions):
        raise _given_up(place, settings, error) from error
    place.breaks += 1
    return policy.delay(place.breaks - 1)


def _given_up(place: Place, settings: Settings, error: httpx.RequestError | None) -> TransportError:
    if error is not None and place.session_id is None:
        return connection_failed(error, settings)
    message = f"The stream from {settings.origin} ended early, again and again; the run itself goes on."
    return StreamBrokenError(message, place.session_id, place.last_event_id)


StatusT = TypeVar("StatusT", SessionStatus, BatchStatus)

FIRST_POLL, LONGEST_POLL = 0.25, 5.0


def perform(operation: Operation[T], settings: Settings) -> Flow[T]:
    """Make a call, again when that is safe and promising, and read its answer."""
    response = yield from exchange(operation.call, settings)
    return operation.read(check(response, operation.accepts))


def exchange(call: Call, settings: Settings) -> Flow[httpx.Response]:
    """Make a call until it is answered or not worth repeating; raises `TransportError`."""
    failures = 0
    while isinstance(outcome := (yield from _attempt(call, settings, failures)), float):
        failures += 1
        yield Sleep(outcome)
    return outcome


def _attempt(call: Call, settings: Settings, failures: int) -> Flow[httpx.Response | float]:
    try:
        response = yield from sent(settings.request(call))
    except httpx.RequestError as error:
        pause = settings.retries.after_error(error, call, failures)
        if pause is None:
            raise connection_failed(error, settings) from error
        return pause
    pause = settings.retries.after_response(response, call, failures)
    return response if pause is None else pause


def connection_failed(error: httpx.RequestError, settings: Settings) -> TransportError:
    """Return the client's own error for the transport's, naming the Worker but no credential."""
    if isinstance(error, httpx.ReadTimeout):
        return ResponseTimeoutError(f"{settings.origin} did not answer in time; what it began goes on there.")
    reason = str(error) or type(error).__name__
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return TransportError(f"{settings.origin} cannot be reached: {reason}")
    return TransportError(f"The connection to {settings.origin} broke: {reason}")


def prepared(request: RunRequest, settings: Settings, on_upload: OnProgress | None) -> Flow[RunRequest]:
    """Return the request, its context uploaded first when it is too long to travel inside."""
    if characters(request.context) <= settings.inline_limit:
        return request
    body = UploadBody(joined(request.context), on_upload)
    stored = yield from perform(operations.upload(body), settings)
    return replace(request, context=stored)


def run(request: RunRequest, key: str | None, settings: Settings, on_upload: OnProgress | None) -> Flow[RLMResult]:
    """Ask, and wait for the result."""
    ready = yield from prepared(request, settings, on_upload)
    return (yield from perform(operations.run(ready, key), settings))


def submit(request: RunRequest, key: str | None, settings: Settings, on_upload: OnProgress | None) -> Flow[Submitted]:
    """Ask, and leave the run to itself."""
    ready = yield from prepared(request, settings, on_upload)
    return (yield from perform(operations.submit(ready, key), settings))


def wait_for_session(
    session_id: str, timeout: float | None, settings: Settings, on_status: Callable[[SessionStatus], None] | None
) -> Flow[RLMResult]:
    """Poll a session until it ends and return its result; raises `WaitTimeoutError`."""
    yield from _poll(operations.status(session_id), f"Session {session_id}", timeout, settings, on_status)
    result = yield from perform(operations.result(session_id), settings)
    if result is None:
        # The status is written a moment before the result.
        return (yield from wait_for_session(session_id, timeout, settings, on_status))
    return result


def wait_for_batch(
    batch_id: str, timeout: float | None, settings: Settings, on_status: Callable[[BatchStatus], None] | None
) -> Flow[BatchStatus]:
    """Poll a batch until all its items have ended and return its last status; raises `WaitTimeoutError`."""
    return (yield from _poll(operations.batch_status(batch_id), f"Batch {batch_id}", timeout, settings, on_status))


def _poll(
    asking: Operation[StatusT],
    what: str,
    timeout: float | None,
    settings: Settings,
    on_status: Callable[[StatusT], None] | None,
) -> Flow[StatusT]:
    started, pause = time.monotonic(), FIRST_POLL
    while not (status := (yield from _reported(asking, settings, on_status))).finished:
        if timeout is not None and time.monotonic() - started + pause > timeout:
            raise WaitTimeoutError(what, timeout)
        yield Sleep(pause)
        pause = min(LONGEST_POLL, pause * 1.5)
    return status


def _reported(
    asking: Operation[StatusT], settings: Settings, on_status: Callable[[StatusT], None] | None
) -> Flow[StatusT]:
    status = yield from perform(asking, settings)
    if on_status is not None:
        on_status(status)
    return status

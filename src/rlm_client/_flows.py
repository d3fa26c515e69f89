"""Calls, with the retries, uploads and polling around them, as flows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import httpx

from rlm_client import _operations as operations
from rlm_client._calls import Call, Operation
from rlm_client._context import characters, joined
from rlm_client._errors import ResponseTimeoutError, TransportError, WaitTimeoutError
from rlm_client._models import BatchStatus, RLMResult, SessionStatus, Submitted
from rlm_client._operations import RunRequest
from rlm_client._responses import check
from rlm_client._settings import Settings
from rlm_client._steps import Flow, Sleep, sent
from rlm_client._upload import OnProgress, UploadBody

T = TypeVar("T")
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

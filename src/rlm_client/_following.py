"""Following a run's events: opening the stream, reading it, and taking it up again where it broke."""

from __future__ import annotations

from dataclasses import dataclass, field

import httpx

from rlm_client import _operations as operations
from rlm_client._calls import Call
from rlm_client._errors import ProtocolError, StreamBrokenError, TransportError
from rlm_client._events import ResultEvent, RunEvent, SessionEvent, run_event
from rlm_client._flows import connection_failed, prepared
from rlm_client._models import RLMResult
from rlm_client._operations import RunRequest
from rlm_client._responses import check
from rlm_client._settings import Settings
from rlm_client._sse import SSEDecoder
from rlm_client._steps import Emit, Flow, Sleep, opened, read
from rlm_client._upload import OnProgress


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

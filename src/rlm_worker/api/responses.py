"""Errors and results as responses: the one error form, and the status that belongs to each."""

from __future__ import annotations

from rlm_worker.anthropic.errors import anthropic_error_response
from rlm_worker.errors import MethodNotAllowed, Overloaded, RateLimited, RLMError, Unauthenticated, error_class
from rlm_worker.http import HttpRequest, HttpResponse, encode_event, event_stream
from rlm_worker.openai.errors import openai_error_response
from rlm_worker.wire.events import SessionEvent
from rlm_worker.wire.results import Accepted, ErrorAnswer, RunResult

_MESSAGES = "/v1/messages"


def error_response(error: RLMError) -> HttpResponse:
    """The one error form, with the status that belongs to the error's class."""
    headers: dict[str, str] = {}
    if isinstance(error, MethodNotAllowed):
        headers["allow"] = ", ".join(error.allowed)
    if isinstance(error, RateLimited | Overloaded):
        headers["retry-after"] = str(error.retry_after)
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = "Bearer"
    return HttpResponse.of_json_text(error.status, ErrorAnswer.of(error).to_json(), headers)


def refusal_response(request: HttpRequest, error: RLMError) -> HttpResponse:
    """An error in the form of the route that it belongs to."""
    response = error_response(error)
    if request.path == _MESSAGES or request.path.startswith(f"{_MESSAGES}/"):
        return anthropic_error_response(error, response.status, response.headers)
    if request.path.startswith("/v1/"):
        return openai_error_response(error, response.status, response.headers)
    return response


def result_response(result: RunResult) -> HttpResponse:
    """A result with the status that belongs to it."""
    if result.error is None:
        return HttpResponse.of_json_text(200, result.to_json())
    wait = result.error.retry_after
    headers = {} if wait is None else {"retry-after": str(wait)}
    return HttpResponse.of_json_text(error_class(result.error.type).status, result.to_json(), headers)


def result_stream(result: RunResult) -> HttpResponse:
    """A result that was there at once, for a caller who wants events."""
    session = SessionEvent(session_id=result.session_id).to_json()
    kind = "result" if result.success else "error"
    return event_stream((encode_event(1, "session", session) + encode_event(2, kind, result.to_json())).encode())


def accepted_response(session_id: str) -> HttpResponse:
    """A run that goes on without the caller."""
    accepted = Accepted(session_id=session_id).to_json()
    return HttpResponse.of_json_text(202, accepted, {"location": f"/session/{session_id}/status"})

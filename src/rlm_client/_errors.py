"""Everything that can go wrong, as one tree.

RLMError
├── RequestError                 the arguments cannot be sent (also a ValueError)
├── TransportError               the Worker was not reached, or the connection broke
│   ├── ResponseTimeoutError     it was reached, and took too long to respond
│   └── StreamBrokenError        an event stream broke more often than it was worth resuming
├── WaitTimeoutError             `wait()` gave up; the run goes on
├── ProtocolError                something answered, but not in this API's terms
└── APIError                     the Worker said no: `type`, `status`, `message`, `detail`
    ├── BadRequestError          400, 405, 415
    │   └── InvalidFieldError    422: `problems` name each field's path
    ├── AuthenticationError      401, 403
    ├── NotFoundError            404
    ├── ConflictError            409
    ├── TooLargeError            413
    ├── RateLimitError           429: `retry_after` in seconds, when the Worker gave it
    ├── RunFailedError           the run ended in an error: a model or a store failed, a limit left no answer
    │   └── AnswerInvalidError   there is an `answer`, and it does not fit the schema that was asked for
    └── ServerError              any other 5xx, and a deployment that lacks something
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus


class RLMError(Exception):
    """Any failure of the client or of the Worker behind it."""


class RequestError(RLMError, ValueError):
    """The arguments cannot be sent; nothing left this machine."""


class TransportError(RLMError):
    """The Worker was not reached, or the connection broke before an answer was complete."""


class ResponseTimeoutError(TransportError):
    """The Worker took longer to respond than the client's `timeout`."""


class StreamBrokenError(TransportError):
    """An event stream broke several times in a row without a new event.

    `session_id` and `last_event_id` are what `client.events` needs to go on from there.
    """

    def __init__(self, message: str, session_id: str | None, last_event_id: str | None) -> None:
        super().__init__(message)
        self.session_id = session_id
        self.last_event_id = last_event_id


class WaitTimeoutError(RLMError, TimeoutError):
    """The run was still going when the time to wait was over."""

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(f"{what} is still running after {seconds:g} s.")
        self.seconds = seconds


class ProtocolError(RLMError):
    """What answered did not speak this API: a proxy, another service, or a version too far apart."""


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One field of a request that the Worker refused, as `config.chunkSize` and why."""

    path: str
    message: str


@dataclass(frozen=True, slots=True)
class Failure:
    """The facts of an error answer; `status` is None when it came as an event of a stream."""

    type: str
    message: str
    status: int | None = None
    detail: object = None
    request_id: str | None = None
    retry_after: float | None = None
    session_id: str | None = None
    cost_usd: float | None = None
    answer: str | None = None


class APIError(RLMError):
    """The Worker answered with an error."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.type = failure.type
        self.message = failure.message
        self.status = failure.status
        self.detail = failure.detail
        self.request_id = failure.request_id
        self.retry_after = failure.retry_after
        self.session_id = failure.session_id
        self.cost_usd = failure.cost_usd

    @property
    def problems(self) -> tuple[FieldProblem, ...]:
        """The fields that were refused, when the Worker named any."""
        return _field_problems(self.detail)

    def __str__(self) -> str:
        where = self.type if self.status is None else f"{self.type}, HTTP {self.status}"
        # The Worker puts the first one into the message.
        unsaid = [problem for problem in self.problems if problem.message not in self.message]
        fields = "".join(f"\n  {problem.path}: {problem.message}" for problem in unsaid)
        return f"{self.message} ({where}){fields}"


class BadRequestError(APIError):
    """The Worker does not accept the request as it is."""


class InvalidFieldError(BadRequestError):
    """A field is unknown, has the wrong type, or is out of range; `problems` says which."""


class AuthenticationError(APIError):
    """The key is missing, wrong, or not allowed to do this."""


class NotFoundError(APIError):
    """No such session, context or batch, or it belongs to another key."""


class ConflictError(APIError):
    """The idempotency key was used before with another request."""


class TooLargeError(APIError):
    """The body or the context is larger than the deployment takes."""


class RateLimitError(APIError):
    """Too many requests, too many runs at once, or the day's budget is spent."""


class RunFailedError(APIError):
    """The run ended without an answer; `cost_usd` was still spent."""


class AnswerInvalidError(RunFailedError):
    """The answer does not fit the schema or model that was asked for; `answer` is the last one there was."""

    @property
    def answer(self) -> str | None:
        """The answer as the model wrote it, when the Worker gave it."""
        return self.failure.answer


class ServerError(APIError):
    """The Worker itself failed, or ops must still set something."""


_BY_STATUS: Mapping[int, type[APIError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: AuthenticationError,
    404: NotFoundError,
    405: BadRequestError,
    409: ConflictError,
    413: TooLargeError,
    415: BadRequestError,
    422: InvalidFieldError,
    429: RateLimitError,
    502: RunFailedError,
    503: RunFailedError,
    504: RunFailedError,
}
# Where the type says more than the status.
_BY_TYPE: Mapping[str, type[APIError]] = {
    "answer_invalid": AnswerInvalidError,
    "cancelled": RunFailedError,
    "not_configured": ServerError,
    "usage_limit_exceeded": RunFailedError,
}


def api_error(failure: Failure) -> APIError:
    """Return the error of the tree that the failure's type and status stand for."""
    if failure.type in _BY_TYPE:
        return _BY_TYPE[failure.type](failure)
    if failure.status is None:
        return RunFailedError(failure)
    fallback = ServerError if failure.status >= HTTPStatus.INTERNAL_SERVER_ERROR else BadRequestError
    return _BY_STATUS.get(failure.status, fallback)(failure)


def failure_of(body: Mapping[str, object], status: int | None = None) -> Failure | None:
    """Return the facts of an error body, `{"success": false, "error": {"type", "message"}}`; None for any other."""
    error = body.get("error")
    if not isinstance(error, Mapping):
        return None
    session, cost, answer = body.get("sessionId"), body.get("costUsd"), body.get("answer")
    return Failure(
        type=str(error.get("type", "error")),
        message=str(error.get("message", "The Worker gave no reason.")),
        detail=error.get("detail"),
        status=status,
        session_id=session if isinstance(session, str) else None,
        cost_usd=float(cost) if isinstance(cost, int | float) else None,
        answer=answer if isinstance(answer, str) else None,
    )


def _field_problems(detail: object) -> tuple[FieldProblem, ...]:
    """Read a 422's detail, `[{"path", "message"}, …]`; anything else names no field."""
    entries = detail if isinstance(detail, list) else []
    return tuple(
        FieldProblem(str(entry["path"]), str(entry.get("message", "refused")))
        for entry in entries
        if isinstance(entry, Mapping) and "path" in entry
    )

"""Everything that can go wrong, as one tree.

RLMError
├── RequestError                what the caller sent cannot be served as it is
│   ├── MalformedBody               not JSON, not UTF-8, too deep
│   ├── InvalidRequest              JSON of the wrong form; carries the paths of the fields
│   ├── UnsupportedMediaType
│   ├── BodyTooSlow                 the body did not arrive in time
│   ├── PayloadTooLarge
│   ├── ContextTooLarge             the chosen strategy cannot hold the context
│   ├── Unauthenticated
│   ├── NotFound
│   ├── MethodNotAllowed
│   ├── Conflict                    an Idempotency-Key met another body
│   ├── RateLimited                 per key: requests, spending, concurrent runs
│   └── BindingMissing              the deployment lacks an optional part
├── NotConfigured               the deployment lacks something that ops must set
├── StorageUnavailable          R2 or the Durable Object failed
│   └── InvocationSpent         this event may ask nothing more of the platform; the next one may
├── Overloaded                  the isolate holds as much as it can: asked later, it may not
├── AnswerTooLarge              an object had no room for what was asked: so it will again
├── UsageLimitExceeded          a limit of the run was reached
├── SandboxLost                 the isolate of a REPL is gone
│   └── SandboxForgot           … and another one, that knows nothing, has taken its place
├── NothingRead                 no chunk could be read
├── NoTable                     what was asked cannot be read into a table, or not computed from it
├── AnswerInvalid               the answer does not fit the request's schema, mended or not
├── RunAbandoned                it ended its host again and again
├── Cancelled                   the session was deleted while it ran
└── ModelError                  the model call failed
    ├── RetryableError              may succeed when asked again
    └── TerminalError               will fail again in the same way
        ├── InputTooLarge               the prompt exceeds the model's window
        └── SchemaRefused               the model cannot hold its answer to the schema
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Work = Literal["none", "read", "unfinished"]


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One field that was refused: its dotted path on the wire and what is wrong with it."""

    path: str
    message: str


class RLMError(Exception):
    """Base of all errors of this package; `type` is the stable name shown to callers, `status` that of its response."""

    type = "internal_error"
    status = 500


class RequestError(RLMError):
    """The caller can mend this by sending something else."""

    type = "bad_request"
    status = 400


class MalformedBody(RequestError):
    """The body could not be read as UTF-8 JSON."""

    type = "malformed_body"
    status = 400


class InvalidRequest(RequestError):
    """The JSON does not have the form that the contract asks for."""

    type = "invalid_request"
    status = 422
    problems: tuple[FieldProblem, ...] = ()

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        self.problems = tuple(problems)
        first = self.problems[0]
        more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        super().__init__(f"{first.path}: {first.message}{more}" if first.path else first.message)

    @classmethod
    def at(cls, path: str, message: str) -> InvalidRequest:
        return cls([FieldProblem(path, message)])


class UnsupportedMediaType(RequestError):
    """The Content-Type is not one that the route reads."""

    type = "unsupported_media_type"
    status = 415


class BodyTooSlow(RequestError):
    """The body arrives too slowly to be waited for."""

    type = "request_timeout"
    status = 408


class PayloadTooLarge(RequestError):
    """The body is larger than the deployment takes."""

    type = "payload_too_large"
    status = 413

    def __init__(self, limit: int, unit: str, advice: str = "") -> None:
        self.limit = limit
        self.unit = unit
        super().__init__(f"larger than the limit of {limit:,} {unit}{'; ' + advice if advice else ''}")


class ContextTooLarge(RequestError):
    """The strategy that was asked for by name cannot hold the context."""

    type = "context_too_large"
    status = 413


class Unauthenticated(RequestError):
    """No key, or one that is not known."""

    type = "unauthenticated"
    status = 401


class NotFound(RequestError):
    """Does not exist, or belongs to another key."""

    type = "not_found"
    status = 404


class MethodNotAllowed(RequestError):
    """The route exists, the method does not."""

    type = "method_not_allowed"
    status = 405
    allowed: tuple[str, ...] = ()

    def __init__(self, allowed: Sequence[str]) -> None:
        self.allowed = tuple(allowed)
        super().__init__(f"this route takes {', '.join(self.allowed)}")


class Conflict(RequestError):
    """The same Idempotency-Key was used for a different request."""

    type = "conflict"
    status = 409


class RateLimited(RequestError):
    """The key has used up what it may for now."""

    type = "rate_limited"
    status = 429
    retry_after: int = 60

    def __init__(self, message: str, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class BindingMissing(RequestError):
    """The deployment does not have the binding that this request needs."""

    type = "binding_missing"
    status = 400

    def __init__(self, binding: str, purpose: str) -> None:
        self.binding = binding
        super().__init__(f"{purpose} needs the binding {binding}, which this deployment does not have")


class NotConfigured(RLMError):
    """Ops must set something before this can work."""

    type = "not_configured"
    status = 503


class StorageUnavailable(RLMError):
    """A store that the run cannot do without failed; nothing that was paid for is lost."""

    type = "storage_unavailable"
    status = 503


class InvocationSpent(StorageUnavailable):
    """The event at hand has made all the subrequests that the platform grants it; the next one has its own."""


class Overloaded(RLMError):
    """Too many large requests at once; `retry_after` is in seconds."""

    type = "overloaded"
    status = 503
    retry_after: int = 5

    def __init__(self, message: str, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class AnswerTooLarge(RLMError):
    """What was asked takes more memory than an object has, or more than crosses at once; asked again, so it will."""

    type = "answer_too_large"
    status = 500


class UsageLimitExceeded(RLMError):
    """A limit of the run would be passed; names the limit, what it allows, what was used, and what was `wanted`."""

    type = "usage_limit_exceeded"
    status = 422

    def __init__(self, limit: str, allowed: float, used: float, wanted: str = "") -> None:
        self.limit = limit
        self.allowed = allowed
        self.used = used
        allows = (
            "the run's time is up" if limit == "timeoutSeconds" else f"allows {allowed:g}; {used:g} used or reserved"
        )
        super().__init__(f"{limit}: {allows}{f', and {wanted}' if wanted else ''}")


class SandboxLost(RLMError):
    """The isolate of a REPL is gone, and its variables with it; the message says what the cell did."""

    type = "sandbox_lost"


class SandboxForgot(SandboxLost):
    """The platform has put a new isolate in the place of an idle one: the REPL is gone, and no cell did it."""


class NothingRead(RLMError):
    """No chunk of the context could be read, and no single error says why."""

    type = "nothing_read"
    status = 502


class AnswerInvalid(RLMError):
    """The models' answer does not fit the schema that the request has asked for, and mending it has not helped."""

    type = "answer_invalid"
    status = 502


class Cancelled(RLMError):
    """The session was cancelled by its owner."""

    type = "cancelled"
    status = 409


class NoTable(RLMError):
    """No schema holds, too few rows stand in the text, or no query works; the message says which."""

    type = "no_table"
    status = 422


class RunAbandoned(RLMError):
    """The run has ended its host again and again at the same point, and is not taken up any more."""

    type = "run_abandoned"


class ModelError(RLMError):
    """A model call failed; `code` is Workers AI's error number, 0 where there was none.

    `work` says how far the model got, and so what is billed: `none` (it was not asked), `read` (the prompt at most),
    `unfinished` (it was at work, and nobody knows what it has written).
    """

    type = "model_error"
    status = 502
    code: int = 0
    work: Work = "none"

    def __init__(self, message: str, code: int = 0, *, work: Work | None = None) -> None:
        self.code = code
        self.work = work or type(self).work
        super().__init__(f"{code}: {message}" if code else message)


class RetryableError(ModelError):
    """May succeed later; `retry_after` is in seconds, 0 where the platform named none.

    `capacity`: there is no room now, for the model or for the account. Who waits is let in, so it uses up no attempt.
    `fallback`: another model may well answer at once.
    """

    type = "model_unavailable"
    status = 503
    work: Work = "read"
    retry_after: float = 0.0
    capacity: bool = False
    fallback: bool = False

    def __init__(
        self,
        message: str,
        code: int = 0,
        retry_after: float = 0.0,
        *,
        capacity: bool = False,
        fallback: bool = False,
        work: Work | None = None,
    ) -> None:
        self.retry_after = retry_after
        self.capacity = capacity
        self.fallback = fallback
        super().__init__(message, code, work=work or ("none" if capacity else None))


class TerminalError(ModelError):
    """Will fail again in the same way.

    `unavailable`: whatever is asked of this model, because it has no credits, is not allowed, is not there.
    """

    type = "model_refused"
    status = 502
    unavailable: bool = False

    def __init__(self, message: str, code: int = 0, *, work: Work | None = None, unavailable: bool = False) -> None:
        self.unavailable = unavailable
        super().__init__(message, code, work=work)


class InputTooLarge(TerminalError):
    """The prompt does not fit the model's window."""

    type = "model_input_too_large"
    status = 413


class SchemaRefused(TerminalError):
    """The model did not, or cannot, hold its answer to a schema; without one it may be asked again."""


def error_class(error_type: str) -> type[RLMError]:
    """The class whose `type` that is; where several share it, the one that the others come from."""
    waiting: list[type[RLMError]] = [RLMError]
    for known in waiting:
        if known.type == error_type:
            return known
        waiting += known.__subclasses__()
    return RLMError


def rebuilt(error_type: str, message: str, **facts: object) -> RLMError:
    """An error that crossed a border as its type, its message and its attributes: of the same class as before.

    An attribute that did not cross is missing; a type that this version does not know stays the error's own.
    """
    known = error_class(error_type)
    error = known.__new__(known)
    Exception.__init__(error, message)
    if known.type != error_type:
        error.type = error_type
    for name, value in facts.items():
        setattr(error, name, value)
    return error

"""The exit codes of `rlm`, and how errors become one of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from functools import wraps
from typing import ParamSpec

from rich.text import Text

from rlm_client._errors import (
    AnswerInvalidError,
    APIError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    NotFoundError,
    RateLimitError,
    RequestError,
    RLMError,
    RunFailedError,
    TooLargeError,
    TransportError,
    WaitTimeoutError,
)
from rlm_client._settings import API_KEY_VARIABLE, BASE_URL_VARIABLE

from .console import money, notes, print_json

P = ParamSpec("P")


class Exit(IntEnum):
    """The exit codes, as `rlm --help` lists them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    KEY = 4
    NOT_FOUND = 5
    NOT_NOW = 6
    INTERRUPTED = 130


MEANINGS = {
    Exit.OK: "done",
    Exit.FAILED: "the run failed, or the Worker is unhealthy",
    Exit.USAGE: "the command or the request is wrong",
    Exit.UNREACHABLE: "the Worker cannot be reached, or the connection broke",
    Exit.KEY: "the key is missing or refused",
    Exit.NOT_FOUND: "no such session or batch",
    Exit.NOT_NOW: "try again later: still running, rate limit exceeded, or budget spent",
    Exit.INTERRUPTED: "interrupted; a run that `ask` or `batch` waited for was cancelled",
}

_CODES: tuple[tuple[type[RLMError], Exit], ...] = (
    (TransportError, Exit.UNREACHABLE),
    (AuthenticationError, Exit.KEY),
    (NotFoundError, Exit.NOT_FOUND),
    (RateLimitError, Exit.NOT_NOW),
    (WaitTimeoutError, Exit.NOT_NOW),
    (RequestError, Exit.USAGE),
    (BadRequestError, Exit.USAGE),
    (ConflictError, Exit.USAGE),
    (TooLargeError, Exit.USAGE),
)


def exit_code(error: RLMError) -> Exit:
    """Return the exit code that an error stands for."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), Exit.FAILED)


def exit_unless(success: bool) -> None:
    """Leave with the exit code of a failure, unless it was none."""
    if not success:
        sys.exit(Exit.FAILED)


def reports_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Make a command end in a sentence and an exit code where it would end in a traceback."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        with _reported(as_json=bool(kwargs.get("as_json"))):
            command(*args, **kwargs)

    return wrapped


@contextmanager
def _reported(*, as_json: bool) -> Iterator[None]:
    try:
        yield
    except RLMError as error:
        if as_json:
            print_json({"success": False, "error": _facts(error)})
        _explain(error)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        notes().print("\ninterrupted")
        sys.exit(Exit.INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing more can be written, not even at shutdown.
        sys.stdout = None
        sys.exit(Exit.OK)


def _facts(error: RLMError) -> dict[str, object]:
    if not isinstance(error, APIError):
        return {"type": type(error).__name__, "message": str(error)}
    facts = {"type": error.type, "message": error.message, "detail": error.detail, "requestId": error.request_id}
    facts["answer"] = error.answer if isinstance(error, AnswerInvalidError) else None
    return {name: value for name, value in facts.items() if value is not None}


def _explain(error: RLMError) -> None:
    console = notes()
    console.print(Text.assemble(("error: ", "bold red"), str(error)), soft_wrap=True)
    for line in _advice(error):
        console.print(Text(line, style="dim"), soft_wrap=True)


def _advice(error: RLMError) -> Iterator[str]:
    if isinstance(error, TransportError) and "cannot be reached" in str(error):
        yield f"Start a local Worker with `rlm serve`, or set your Worker's address: --base-url or {BASE_URL_VARIABLE}."
    if isinstance(error, AuthenticationError):
        yield f"Pass the key as {API_KEY_VARIABLE} or --api-key."
    if isinstance(error, RateLimitError) and error.retry_after is not None:
        yield f"Try again in {error.retry_after:.0f} s."
    if isinstance(error, AnswerInvalidError) and error.answer is not None:
        yield f"The last answer was: {error.answer}"
    if isinstance(error, RunFailedError) and error.cost_usd is not None:
        yield f"Spent until then: {money(error.cost_usd)}."
    if isinstance(error, APIError) and error.request_id:
        yield f"Request {error.request_id}"

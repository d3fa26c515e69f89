"""One JSON line per request: who, what, how much; never a context, a query or a key."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from .http import HttpRequest

_REQUEST_ID = re.compile(r"^[A-Za-z0-9._:-]{1,128}$")


def _print(line: str) -> None:
    print(line)  # noqa: T201 - the runtime takes a Worker's log from its standard output


def places(error: Exception) -> list[str]:
    """Where it happened, without what was worked on: names of files and functions, no values."""
    found: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        found.append(f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return found[-8:]


def log_failure(session_id: str, error: Exception) -> None:
    """Writes down that a run ended by an error of ours."""
    entry = {"event": "session_failed", "sessionId": session_id, "error": type(error).__name__, "trace": places(error)}
    _print(json.dumps(entry))


@dataclass(frozen=True, slots=True)
class RequestLog:
    """Collects what a request does and writes it down once, when it has been answered."""

    write_line: Callable[[str], None] = _print

    def begin(self, request: HttpRequest, now: float) -> dict[str, object]:
        given = request.headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.match(given) else uuid.uuid4().hex
        path = request.path if len(request.path) <= 200 else request.path[:200] + "…"
        return {"event": "request", "requestId": request_id, "method": request.method, "path": path, "began": now}

    def write(self, entry: dict[str, object], http_status: int, now: float) -> None:
        began = entry.pop("began")
        duration = round((now - began) * 1000) if isinstance(began, float | int) else 0
        self.write_line(json.dumps({**entry, "httpStatus": http_status, "durationMs": duration}, ensure_ascii=True))

"""One JSON line per request: who, what, how much; never a context, a query or a key."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_REQUEST_ID = re.compile(r"^[A-Za-z0-9._:-]{1,128}$")
_MAX_PATH_CHARACTERS = 200


def write_line(line: str) -> None:
    """Writes one line of the Worker's log."""
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


def log_error(event: str, error: Exception) -> None:
    """Writes down an error that is no request's affair, such as a cache that did not answer: its class and no more."""
    write_line(json.dumps({"event": event, "error": type(error).__name__}))


def log_failure(session_id: str, error: Exception) -> None:
    """Writes down that a run ended by an error of ours."""
    entry = {"event": "session_failed", "sessionId": session_id, "error": type(error).__name__, "trace": places(error)}
    write_line(json.dumps(entry))


@dataclass(slots=True)
class RequestRecord:
    """What is written down of one request, filled in on its way; `key` is the key's name, `began` in seconds."""

    request_id: str
    method: str
    path: str
    began: float
    key: str | None = None
    session_id: str | None = None
    batch_id: str | None = None
    status: str | None = None
    strategy: str | None = None
    sub_calls: int | None = None
    cost_usd: float | None = None
    models: list[str] | None = None
    cache_hit: bool | None = None
    error: str | None = None
    trace: list[str] | None = None

    @classmethod
    def of(cls, method: str, path: str, headers: Mapping[str, str], now: float) -> RequestRecord:
        """A request as it comes in; its id is the caller's own where that is one that can be written down."""
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.match(given) else uuid.uuid4().hex
        shown = path if len(path) <= _MAX_PATH_CHARACTERS else path[:_MAX_PATH_CHARACTERS] + "…"
        return cls(request_id, method, shown, now)

    def line(self, http_status: int, now: float) -> dict[str, object]:
        """The log's line for a request that has been answered; what does not apply is left out."""
        known = {
            "event": "request",
            "requestId": self.request_id,
            "method": self.method,
            "path": self.path,
            "key": self.key,
            "sessionId": self.session_id,
            "batchId": self.batch_id,
            "status": self.status,
            "strategy": self.strategy,
            "subCalls": self.sub_calls,
            "costUsd": self.cost_usd,
            "models": self.models,
            "cacheHit": self.cache_hit,
            "error": self.error,
            "trace": self.trace,
            "httpStatus": http_status,
            "durationMs": round((now - self.began) * 1000),
        }
        return {name: value for name, value in known.items() if value is not None}


@dataclass(frozen=True, slots=True)
class RequestLog:
    """Writes one line for each request, once it has been answered."""

    write_line: Callable[[str], None] = write_line

    def write(self, record: RequestRecord, http_status: int, now: float) -> None:
        self.write_line(json.dumps(record.line(http_status, now), ensure_ascii=True))

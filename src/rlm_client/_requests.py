"""The Worker's routes as calls, and how their responses are read: sans I/O, one function for each route."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Generic, TypeVar
from urllib.parse import urlencode

import httpx
import pydantic

from ._context import Context, UploadBody, utf8, wire_context
from ._errors import APIError, Failure, ProtocolError, RequestError, api_error, failure_of
from ._models import (
    BatchItem,
    BatchStatus,
    BatchSubmitted,
    Cancelled,
    Config,
    Health,
    ModelInfo,
    RLMResult,
    RoutingPreview,
    SessionStatus,
    StoredContext,
    Submitted,
    Trajectory,
    Wire,
    WireT,
    batch_items,
    parse,
    read_json,
    wire_config,
)
from ._structured import Rows, rows_of, schema_of

READ_TIMEOUT = 60.0
STREAM_READ_TIMEOUT = 60.0
"""Seconds without a byte after which a stream counts as broken: the Worker sends a heartbeat every 15."""

ONE_FORM = "Give either response_schema or response_model."

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One question about one context.

    `response_schema` is a JSON Schema that the answer is to fit, `response_model` a pydantic class in its place;
    `instructions` say how to answer and are no part of what is read. `cancel_on_disconnect` stops a streamed run when
    whoever follows it leaves, and says nothing to a run that is not streamed. `table` holds the options of strategy
    table; only where it has a `schema` may there be no query.
    """

    context: Context
    query: str | None
    config: Config | None = None
    response_schema: Mapping[str, object] | None = None
    cancel_on_disconnect: bool = False
    response_model: type[object] | None = None
    instructions: str | None = None
    table: Mapping[str, object] | None = None

    def wire(self) -> dict[str, object]:
        """Return the request as it travels; raises `RequestError` for a schema and a model at once."""
        options = {
            "config": wire_config(self.config) or None,
            "responseSchema": self._schema(),
            "instructions": self.instructions or None,
            "cancelOnDisconnect": self.cancel_on_disconnect or None,
            "query": self.query,
            "table": self.table,
        }
        given = {name: value for name, value in options.items() if value is not None}
        return {**wire_context(self.context), **given}

    def _schema(self) -> Mapping[str, object] | None:
        if self.response_model is None:
            return self.response_schema
        if self.response_schema is not None:
            raise RequestError(ONE_FORM)
        return schema_of(self.response_model)


@dataclass(frozen=True, slots=True)
class Call:
    """One request before it has a host: path segments unquoted, `read_timeout` in seconds or the client's own."""

    method: str
    path: tuple[str, ...]
    body: bytes | None = None
    stream: httpx.SyncByteStream | httpx.AsyncByteStream | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    query: bytes = b""
    repeatable: bool = True
    read_timeout: float | None = READ_TIMEOUT


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """A call and the reader of its response; `accepts` are statuses beyond 2xx that the reader understands."""

    call: Call
    read: Callable[[httpx.Response], T]
    accepts: frozenset[int] = frozenset()


def run(request: RunRequest, key: str | None) -> Operation[RLMResult]:
    """`POST /rlm`, answered when the run has ended."""
    return Operation(_post(("rlm",), request.wire(), _key(request, key)), _expect(RLMResult))


def submit(request: RunRequest, key: str | None) -> Operation[Submitted]:
    """`POST /rlm`, answered when the run has begun."""
    body = {**request.wire(), "background": True}
    return Operation(_post(("rlm",), body, _key(request, key), read_timeout=READ_TIMEOUT), _expect(Submitted))


def stream(request: RunRequest, key: str | None) -> Call:
    """`POST /rlm`, answered with events."""
    body = {**request.wire(), "stream": True}
    headers = {"Accept": "text/event-stream"}
    return _post(("rlm",), body, _key(request, key), read_timeout=STREAM_READ_TIMEOUT, headers=headers)


def events(session_id: str, after: str | None) -> Call:
    """`GET /session/{id}/events`, those after the given event id."""
    resume = {} if after is None else {"Last-Event-ID": after}
    headers = {"Accept": "text/event-stream", **resume}
    return Call("GET", ("session", session_id, "events"), headers=headers, read_timeout=STREAM_READ_TIMEOUT)


def status(session_id: str) -> Operation[SessionStatus]:
    """`GET /session/{id}/status`."""
    return Operation(Call("GET", ("session", session_id, "status")), _expect(SessionStatus))


def result(session_id: str) -> Operation[RLMResult | None]:
    """`GET /session/{id}/result`: None while the run goes on."""
    return Operation(Call("GET", ("session", session_id, "result")), _result_or_none)


def trajectory(session_id: str) -> Operation[Trajectory]:
    """`GET /session/{id}/trajectory`."""
    return Operation(Call("GET", ("session", session_id, "trajectory")), _expect(Trajectory))


def report(session_id: str) -> Operation[str | None]:
    """`GET /session/{id}/report`: HTML; None while the run goes on."""
    call = Call("GET", ("session", session_id, "report"))
    return Operation(call, lambda response: None if response.status_code == 202 else response.text)


def rows(session_id: str, table: str | None) -> Operation[Rows | None]:
    """`GET /session/{id}/rows`: None while the run goes on."""
    return Operation(_rows_call(session_id, table, "ndjson"), lambda response: _unless_running(response, rows_of))


def rows_csv(session_id: str, table: str | None) -> Operation[str | None]:
    """The same as CSV."""
    return Operation(_rows_call(session_id, table, "csv"), lambda response: _unless_running(response, str))


def cancel(session_id: str) -> Operation[Cancelled]:
    """`DELETE /session/{id}`."""
    return Operation(Call("DELETE", ("session", session_id)), _cancelled)


def upload(body: UploadBody) -> Operation[StoredContext]:
    """`PUT /contexts`; a copy left behind by a broken attempt goes with the deployment's retention."""
    headers = {"Content-Type": body.media_type, **body.headers()}
    call = Call("PUT", ("contexts",), stream=body, headers=headers, repeatable=body.replayable, read_timeout=None)
    return Operation(call, _expect(StoredContext))


def batch(requests: Sequence[RunRequest | Mapping[str, object]], key: str | None) -> Operation[BatchSubmitted]:
    """`POST /rlm/batch`; a mapping goes as it is, so that the Worker names what is wrong with it."""
    items = [item.wire() if isinstance(item, RunRequest) else dict(item) for item in requests]
    return Operation(_post(("rlm", "batch"), items, key or _new_key()), _expect(BatchSubmitted))


def batch_status(batch_id: str) -> Operation[BatchStatus]:
    """`GET /rlm/batch/{id}`."""
    return Operation(Call("GET", ("rlm", "batch", batch_id)), _expect(BatchStatus))


def batch_results(batch_id: str) -> Operation[list[BatchItem]]:
    """`GET /rlm/batch/{id}/results`, in the order of the input."""
    call = Call("GET", ("rlm", "batch", batch_id, "results"), headers={"Accept": "application/x-ndjson"})
    return Operation(call, lambda response: batch_items(response.text))


def cancel_batch(batch_id: str) -> Operation[Cancelled]:
    """`DELETE /rlm/batch/{id}`."""
    return Operation(Call("DELETE", ("rlm", "batch", batch_id)), _cancelled)


def preview_routing(query: str, characters: int, config: Config | None) -> Operation[RoutingPreview]:
    """`POST /rlm/routing`: nothing is asked of a model, and nothing paid."""
    body = {"query": query, "characters": characters, "config": wire_config(config)}
    return Operation(_post(("rlm", "routing"), body, None), _expect(RoutingPreview))


def models() -> Operation[list[ModelInfo]]:
    """`GET /v1/models`."""
    return Operation(Call("GET", ("v1", "models")), lambda response: parse(_ModelList, response.content).data)


def health(*, deep: bool) -> Operation[Health]:
    """`GET /health`: a deployment that is unhealthy answers 503, which is a result and no error."""
    call = Call("GET", ("health",), query=b"deep=1" if deep else b"", repeatable=False)
    return Operation(call, _expect(Health), accepts=frozenset({503}))


def check(response: httpx.Response, also: frozenset[int] = frozenset()) -> httpx.Response:
    """Return a response that is a success or in `also`; raises what any other stands for. Its body must be read."""
    if response.is_success or response.status_code in also:
        return response
    raise _response_error(response)


def retry_after(response: httpx.Response) -> float | None:
    """Return the seconds that a `Retry-After` header asks to wait, given as a number or as a date (RFC 9110)."""
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())


def encoded(body: object) -> bytes:
    """Return a body as compact JSON; raises `RequestError` for what JSON or UTF-8 cannot express."""
    try:
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RequestError(f"The request cannot be written as JSON: {error}.") from None
    return utf8(text, "request")


class _ModelList(Wire):
    data: list[ModelInfo] = pydantic.Field(default_factory=list)


def _post(
    path: tuple[str, ...],
    body: object,
    key: str | None,
    *,
    read_timeout: float | None = None,
    headers: Mapping[str, str] | None = None,
) -> Call:
    idempotency = {} if key is None else {"Idempotency-Key": key}
    sent = {"Content-Type": "application/json", **idempotency, **(headers or {})}
    return Call("POST", path, body=encoded(body), headers=sent, read_timeout=read_timeout)


def _key(request: RunRequest, given: str | None) -> str | None:
    """Return the idempotency key of a run.

    The Worker names a run by the digest of its request, so that the same request again joins it or gets its result,
    the cached one included; a key would hide that. Only a run that refuses the cache needs a name of its own.
    """
    config = wire_config(request.config)
    cached = config.get("useCache", config.get("use_cache", True))
    return given or (None if cached else _new_key())


def _new_key() -> str:
    """Return an idempotency key: the same request sent again under it is paid once."""
    return str(uuid.uuid4())


def _expect(model: type[WireT]) -> Callable[[httpx.Response], WireT]:
    """Return a reader of responses whose body is one such object."""

    def read(response: httpx.Response) -> WireT:
        return parse(model, response.content)

    return read


def _result_or_none(response: httpx.Response) -> RLMResult | None:
    return None if response.status_code == httpx.codes.ACCEPTED else parse(RLMResult, response.content)


def _rows_call(session_id: str, table: str | None, form: str) -> Call:
    query = urlencode({"format": form, **({} if table is None else {"table": table})}).encode()
    return Call("GET", ("session", session_id, "rows"), query=query)


def _unless_running(response: httpx.Response, read: Callable[[str], T]) -> T | None:
    return None if response.status_code == httpx.codes.ACCEPTED else read(response.text)


def _cancelled(response: httpx.Response) -> Cancelled:
    return parse(Cancelled, response.content or b"{}")


def _response_error(response: httpx.Response) -> APIError | ProtocolError:
    body = read_json(response.content)
    failure = failure_of(body, response.status_code) if isinstance(body, Mapping) else None
    if failure is None and response.status_code < httpx.codes.BAD_REQUEST:
        return ProtocolError(f"Expected an API response and got {_status(response)}: is the base URL right?")
    request_id = response.headers.get("x-request-id")
    return api_error(replace(failure or _foreign(response), request_id=request_id, retry_after=retry_after(response)))


def _foreign(response: httpx.Response) -> Failure:
    # Proxies and the platform answer in their own words; the status still says what to do.
    message = f"{_status(response)} without the API's error body: a proxy in front of the Worker may have answered."
    return Failure("http", message, response.status_code)


def _status(response: httpx.Response) -> str:
    return f"HTTP {response.status_code} {response.reason_phrase}".strip()

"""Every route of the Worker that the client speaks to, one function each."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import httpx
import pydantic

from rlm_client._batch import BatchItem, batch_items
from rlm_client._calls import Call, Operation
from rlm_client._config import Config, wire_config
from rlm_client._context import Context, wire_context
from rlm_client._errors import RequestError
from rlm_client._models import (
    BatchStatus,
    BatchSubmitted,
    Cancelled,
    Health,
    ModelInfo,
    RLMResult,
    SessionStatus,
    StoredContext,
    Submitted,
    Trajectory,
)
from rlm_client._responses import expect
from rlm_client._upload import UploadBody
from rlm_client._wire import Wire, parse

STREAM_READ_TIMEOUT = 60.0
"""Seconds without a byte after which a stream counts as broken: the Worker sends a heartbeat every 15."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One question about one context.

    `response_schema` is a JSON Schema that the final value of a REPL must meet; `cancel_on_disconnect` stops a streamed
    run when whoever follows it leaves, and says nothing to a run that is not streamed.
    """

    context: Context
    query: str
    config: Config | None = None
    response_schema: Mapping[str, object] | None = None
    cancel_on_disconnect: bool = False

    def wire(self) -> dict[str, object]:
        """Return the request as it travels."""
        options = {
            "config": wire_config(self.config),
            "responseSchema": self.response_schema,
            "cancelOnDisconnect": self.cancel_on_disconnect,
        }
        given = {name: value for name, value in options.items() if value}
        return {**wire_context(self.context), "query": self.query, **given}


def run(request: RunRequest, key: str | None) -> Operation[RLMResult]:
    """`POST /rlm`, answered when the run has ended."""
    return Operation(_post(("rlm",), request.wire(), key), expect(RLMResult))


def submit(request: RunRequest, key: str | None) -> Operation[Submitted]:
    """`POST /rlm`, answered when the run has begun."""
    return Operation(_post(("rlm",), {**request.wire(), "background": True}, key, read_timeout=60.0), expect(Submitted))


def stream(request: RunRequest, key: str | None) -> Call:
    """`POST /rlm`, answered with events."""
    body = {**request.wire(), "stream": True}
    return _post(("rlm",), body, key, read_timeout=STREAM_READ_TIMEOUT, headers={"Accept": "text/event-stream"})


def events(session_id: str, after: str | None) -> Call:
    """`GET /session/{id}/events`, those after the given event id."""
    resume = {} if after is None else {"Last-Event-ID": after}
    headers = {"Accept": "text/event-stream", **resume}
    return Call("GET", ("session", session_id, "events"), headers=headers, read_timeout=STREAM_READ_TIMEOUT)


def status(session_id: str) -> Operation[SessionStatus]:
    """`GET /session/{id}/status`."""
    return Operation(Call("GET", ("session", session_id, "status")), expect(SessionStatus))


def result(session_id: str) -> Operation[RLMResult | None]:
    """`GET /session/{id}/result`: None while the run goes on."""
    return Operation(Call("GET", ("session", session_id, "result")), _result_or_none)


def trajectory(session_id: str) -> Operation[Trajectory]:
    """`GET /session/{id}/trajectory`."""
    return Operation(Call("GET", ("session", session_id, "trajectory")), expect(Trajectory))


def cancel(session_id: str) -> Operation[Cancelled]:
    """`DELETE /session/{id}`."""
    return Operation(Call("DELETE", ("session", session_id)), _cancelled)


def upload(body: UploadBody) -> Operation[StoredContext]:
    """`PUT /contexts`; a copy left behind by a broken attempt goes with the deployment's retention."""
    headers = {"Content-Type": "text/plain; charset=utf-8", **body.headers()}
    call = Call("PUT", ("contexts",), stream=body, headers=headers, repeatable=body.replayable, read_timeout=None)
    return Operation(call, expect(StoredContext))


def batch(requests: Sequence[RunRequest | Mapping[str, object]], key: str) -> Operation[BatchSubmitted]:
    """`POST /rlm/batch`; a mapping goes as it is, so that the Worker names what is wrong with it."""
    items = [item.wire() if isinstance(item, RunRequest) else dict(item) for item in requests]
    return Operation(_post(("rlm", "batch"), items, key), expect(BatchSubmitted))


def batch_status(batch_id: str) -> Operation[BatchStatus]:
    """`GET /rlm/batch/{id}`."""
    return Operation(Call("GET", ("rlm", "batch", batch_id)), expect(BatchStatus))


def batch_results(batch_id: str) -> Operation[list[BatchItem]]:
    """`GET /rlm/batch/{id}/results`, in the order of the input."""
    call = Call("GET", ("rlm", "batch", batch_id, "results"), headers={"Accept": "application/x-ndjson"})
    return Operation(call, lambda response: batch_items(response.text))


def cancel_batch(batch_id: str) -> Operation[Cancelled]:
    """`DELETE /rlm/batch/{id}`."""
    return Operation(Call("DELETE", ("rlm", "batch", batch_id)), _cancelled)


def models() -> Operation[list[ModelInfo]]:
    """`GET /v1/models`."""
    return Operation(Call("GET", ("v1", "models")), lambda response: parse(_ModelList, response.content).data)


def health(*, deep: bool) -> Operation[Health]:
    """`GET /health`: a deployment that is not well answers 503, which is an answer and no error."""
    call = Call("GET", ("health",), query=b"deep=1" if deep else b"", repeatable=False)
    return Operation(call, expect(Health), accepts=frozenset({503}))


def new_key() -> str:
    """Return an idempotency key: the same request sent again under it is paid once."""
    return str(uuid.uuid4())


def key_for(request: RunRequest) -> str | None:
    """Return the idempotency key that a run needs when its caller gave none.

    The Worker names a run by the digest of its request, so that the same request again joins it or gets its result,
    the cached one included; a key would hide that. Only a run that refuses the cache needs a name of its own.
    """
    config = wire_config(request.config)
    return None if config.get("useCache", config.get("use_cache", True)) else new_key()


class _ModelList(Wire):
    data: list[ModelInfo] = pydantic.Field(default_factory=list)


def _result_or_none(response: httpx.Response) -> RLMResult | None:
    return None if response.status_code == httpx.codes.ACCEPTED else parse(RLMResult, response.content)


def _cancelled(response: httpx.Response) -> Cancelled:
    return parse(Cancelled, response.content or b"{}")


def _post(
    path: tuple[str, ...],
    body: object,
    key: str | None,
    *,
    read_timeout: float | None = None,
    headers: Mapping[str, str] | None = None,
) -> Call:
    named = {} if key is None else {"Idempotency-Key": key}
    sent = {"Content-Type": "application/json", **named, **(headers or {})}
    return Call("POST", path, body=encoded(body), headers=sent, read_timeout=read_timeout)


def encoded(body: object) -> bytes:
    """Return a body as compact JSON; raises `RequestError` for what JSON or UTF-8 cannot express."""
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError:
        raise RequestError("The request holds half of a surrogate pair, which UTF-8 cannot express.") from None
    except (TypeError, ValueError) as error:
        raise RequestError(f"The request is not JSON: {error}.") from None

"""From an HTTP response to a value, or to the error that it stands for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx

from rlm_client._errors import APIError, Failure, ProtocolError, api_error
from rlm_client._events import failure_of, read_json
from rlm_client._wire import WireT, parse

T = TypeVar("T")


def expect(model: type[WireT]) -> Callable[[httpx.Response], WireT]:
    """Return a reader of responses whose body is one such object."""

    def read(response: httpx.Response) -> WireT:
        return parse(model, response.content)

    return read


def check(response: httpx.Response, also: frozenset[int] = frozenset()) -> httpx.Response:
    """Return a response that is a success or in `also`; raises what any other stands for. Its body must be read."""
    if response.is_success or response.status_code in also:
        return response
    raise response_error(response)


def response_error(response: httpx.Response) -> APIError | ProtocolError:
    """Return the error that a response of another status than 2xx stands for."""
    body = read_json(response.content, lambda: None)
    if not isinstance(body, Mapping) or not isinstance(body.get("error"), Mapping):
        return _foreign(response)
    return api_error(_with_headers(failure_of(body, response.status_code), response))


def _with_headers(failure: Failure, response: httpx.Response) -> Failure:
    return replace(failure, request_id=response.headers.get("x-request-id"), retry_after=retry_after(response))


def _foreign(response: httpx.Response) -> APIError | ProtocolError:
    # Proxies and the platform answer in their own words; the status still says what to do.
    status = f"HTTP {response.status_code} {response.reason_phrase}".strip()
    if response.status_code < httpx.codes.BAD_REQUEST:
        return ProtocolError(f"Expected an answer of the API and got {status}: is the base URL right?")
    message = f"{status}, and not in the API's error form: something between here and the Worker may have answered."
    failure = Failure("http", message, response.status_code)
    return api_error(_with_headers(failure, response))


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

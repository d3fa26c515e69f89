"""How a client is configured: where the Worker is, the key, time-outs, and the retry policy."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import quote

import httpx

from ._errors import RequestError
from ._requests import Call, retry_after

BASE_URL_VARIABLE = "RLM_BASE_URL"
API_KEY_VARIABLE = "RLM_API_KEY"
LOCAL_BASE_URL = "http://127.0.0.1:8787"
"""Where `rlm serve` and `wrangler dev` serve by default."""

_CONNECT_TIMEOUT, _WRITE_TIMEOUT = 10.0, 60.0
# Raised before a byte of the request was sent.
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently; delays are in seconds.

    `attempts` is how often a call is made in all; `resumptions` how often in a row a run's event stream is taken up
    again without a new event: longer, because a run that has begun is worth waiting for.
    """

    attempts: int = 4
    resumptions: int = 8
    first_delay: float = 0.5
    longest_delay: float = 60.0
    jitter: Callable[[], float] = random.random

    def after_error(self, error: httpx.RequestError, call: Call, failures: int) -> float | None:
        """Return how long to wait after the connection failed, or None to give up; `failures` were before it."""
        timed_out = isinstance(error, httpx.ReadTimeout)
        safe = isinstance(error, _NEVER_SENT) or (call.repeatable and not timed_out)
        return self.backoff(failures) if safe else None

    def after_response(self, response: httpx.Response, call: Call, failures: int) -> float | None:
        """Return how long to wait before asking again, or None when the response is to be taken as it is."""
        requested = retry_after(response)
        status, codes = response.status_code, httpx.codes
        busy = status == codes.SERVICE_UNAVAILABLE or (status == codes.TOO_MANY_REQUESTS and requested is not None)
        if not busy or not call.repeatable or (requested or 0.0) > self.longest_delay:
            return None
        pause = self.backoff(failures)
        return None if pause is None else max(pause, requested or 0.0)

    def backoff(self, failures: int) -> float | None:
        """Return the delay before a call is repeated, or None when all attempts are used."""
        return self.delay(failures) if failures + 1 < self.attempts else None

    def delay(self, failures: int) -> float:
        """Return an exponential delay with jitter, half of it to all of it."""
        return min(self.longest_delay, self.first_delay * 2.0**failures) * (0.5 + self.jitter() / 2)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a client is configured with; the key is in neither its repr nor any error."""

    base_url: httpx.URL
    api_key: str | None = field(repr=False)
    timeout: float
    inline_limit: int
    retries: RetryPolicy

    @property
    def origin(self) -> str:
        """The Worker's address, as people know it."""
        return str(self.base_url).rstrip("/")

    def request(self, call: Call) -> httpx.Request:
        """Return the HTTP request for a call."""
        path = "/".join(quote(part, safe="") for part in call.path)
        url = self.base_url.copy_with(path=f"{self.base_url.path.rstrip('/')}/{path}", query=call.query or None)
        headers = {**self._headers(), **call.headers}
        extensions = {"timeout": self._timeouts(call).as_dict()}
        request = httpx.Request(call.method, url, headers=headers, content=call.body, extensions=extensions)
        if call.stream is not None:
            # Given as `content`, a stream would have to choose between the two kinds of client.
            request.stream = call.stream
        return request

    def _headers(self) -> dict[str, str]:
        agent = {"User-Agent": f"rlm-client/{client_version()}", "Accept": "application/json"}
        return agent if self.api_key is None else {**agent, "Authorization": f"Bearer {self.api_key}"}

    def _timeouts(self, call: Call) -> httpx.Timeout:
        read = self.timeout if call.read_timeout is None else min(call.read_timeout, self.timeout)
        return httpx.Timeout(_WRITE_TIMEOUT, connect=_CONNECT_TIMEOUT, read=read)


def settings(
    base_url: str | None,
    api_key: str | None,
    *,
    timeout: float,
    inline_limit: int,
    retries: RetryPolicy | None,
) -> Settings:
    """Return the settings, with `RLM_BASE_URL` and `RLM_API_KEY` for what is not given; raises `RequestError`."""
    return Settings(
        _checked_url(base_url or os.environ.get(BASE_URL_VARIABLE) or LOCAL_BASE_URL),
        _checked_key(api_key or os.environ.get(API_KEY_VARIABLE)),
        timeout,
        inline_limit,
        retries or RetryPolicy(),
    )


def client_version() -> str:
    """Return the version of the installed package; `source` when none is installed."""
    try:
        return version("rlm-worker")
    except PackageNotFoundError:
        return "source"


def _checked_url(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        raise RequestError("The base URL is not a valid URL.") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise RequestError("The base URL must start with http:// or https:// and name a host.")
    if url.userinfo:
        raise RequestError(
            "The base URL must not contain credentials, since URLs get logged: pass the key as `api_key`."
        )
    return url.copy_with(query=None, fragment=None)


def _checked_key(key: str | None) -> str | None:
    stripped = (key or "").strip()
    if not (stripped.isascii() and stripped.isprintable()):
        raise RequestError("The API key contains characters that a header cannot carry.")
    return stripped or None

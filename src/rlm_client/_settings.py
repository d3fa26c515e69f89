"""Where the Worker is, who is calling, and how patient the client is."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import quote

import httpx

from rlm_client._calls import Call
from rlm_client._errors import RequestError
from rlm_client._retry import RetryPolicy

BASE_URL_VARIABLE = "RLM_BASE_URL"
API_KEY_VARIABLE = "RLM_API_KEY"
LOCAL_BASE_URL = "http://127.0.0.1:8787"
"""Where `rlm serve` and `wrangler dev` serve unless told otherwise."""


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
        return httpx.Timeout(60.0, connect=10.0, read=read)


def settings(
    base_url: str | None,
    api_key: str | None,
    *,
    timeout: float,
    inline_limit: int,
    retries: RetryPolicy,
) -> Settings:
    """Return the settings, with `RLM_BASE_URL` and `RLM_API_KEY` for what is not given; raises `RequestError`."""
    return Settings(
        _checked_url(base_url or os.environ.get(BASE_URL_VARIABLE) or LOCAL_BASE_URL),
        _checked_key(api_key or os.environ.get(API_KEY_VARIABLE)),
        timeout,
        inline_limit,
        retries,
    )


def _checked_url(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        raise RequestError("The base URL is not a URL.") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise RequestError("The base URL must start with http:// or https:// and name a host.")
    if url.userinfo:
        raise RequestError("The base URL may not hold credentials: URLs get logged. Give the key as `api_key`.")
    return url.copy_with(query=None, fragment=None)


def _checked_key(key: str | None) -> str | None:
    stripped = (key or "").strip()
    if not (stripped.isascii() and stripped.isprintable()):
        raise RequestError("The API key holds characters that a header cannot carry.")
    return stripped or None


def client_version() -> str:
    """Return the version of the installed package; `source` when none is installed."""
    try:
        return version("rlm-worker")
    except PackageNotFoundError:
        return "source"

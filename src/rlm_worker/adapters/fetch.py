"""Requests and responses of the runtime, as the routes know them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import js
from pyodide.ffi import JsException, to_js

from rlm_worker.errors import MalformedBody
from rlm_worker.http import HttpRequest, HttpResponse

_NO_BODY = frozenset({204, 304})


def from_js(request: Any) -> HttpRequest:
    """The runtime's request; its body is read only as far as a route asks."""
    url = urlsplit(str(request.url))
    return HttpRequest(
        # The wrapper knows only the methods that Python's own list has, and raises for others.
        method=str(request.js_object.method),
        path=url.path,
        query=dict(parse_qsl(url.query, keep_blank_values=True)),
        headers={str(name).lower(): str(value) for name, value in request.headers.items()},
        body=_pieces(request),
    )


async def _pieces(request: Any) -> AsyncIterator[bytes]:
    body = request.body
    if body is None or not hasattr(body, "getReader"):
        return
    reader = body.getReader()
    try:
        while not (block := await reader.read()).done:
            yield block.value.to_bytes()
    except JsException:
        raise MalformedBody("the body broke off") from None
    finally:
        with suppress(JsException):  # a read that is given up is still outstanding
            reader.releaseLock()


def to_response(response: HttpResponse) -> Any:
    """The runtime's response."""
    headers = js.Headers.new([list(pair) for pair in response.headers.items()])
    options = to_js({"status": response.status, "headers": headers}, dict_converter=js.Object.fromEntries)
    if response.status in _NO_BODY:
        return js.Response.new(None, options)
    body = to_js(response.body) if isinstance(response.body, bytes) else response.body
    return js.Response.new(body, options)

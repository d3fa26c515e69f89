"""Which web pages may call: none, unless ops list their origins.

The rules are those of the Fetch standard (https://fetch.spec.whatwg.org/#http-cors-protocol). Keys travel in headers
and not in cookies, so credentials are never allowed.
"""

from __future__ import annotations

from collections.abc import Mapping

from rlm_worker.http import HttpRequest, HttpResponse

_METHODS = "GET, POST, PUT, DELETE"
_REQUEST_HEADERS = "authorization, x-api-key, content-type, idempotency-key, last-event-id, x-request-id, accept"
_SHOWN_HEADERS = "x-request-id, retry-after, location"
_MAX_AGE_SECONDS = "600"


def preflight(request: HttpRequest, origins: tuple[str, ...]) -> HttpResponse | None:
    """The answer to a browser that asks before it calls; None where it does not, or asks for a page not listed."""
    asked = request.method == "OPTIONS" and "access-control-request-method" in request.headers
    if not asked or request.headers.get("origin", "") not in origins:
        return None
    allowed = {
        "access-control-allow-methods": _METHODS,
        "access-control-allow-headers": _REQUEST_HEADERS,
        "access-control-max-age": _MAX_AGE_SECONDS,
    }
    return HttpResponse(204, b"", allowed)


def cors_headers(request: HttpRequest, origins: tuple[str, ...]) -> Mapping[str, str]:
    """What a response says to the browser of a page that may read it; nothing where no page may."""
    if not origins:
        return {}
    origin = request.headers.get("origin", "")
    if origin not in origins:
        return {"vary": "origin"}
    shown = {"access-control-allow-origin": origin, "access-control-expose-headers": _SHOWN_HEADERS}
    return {**shown, "vary": "origin"}

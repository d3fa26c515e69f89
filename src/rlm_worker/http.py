"""HTTP as the routes see it, whatever server stands around them."""

from __future__ import annotations

import asyncio
import codecs
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from .errors import BodyTooSlow, MalformedBody, PayloadTooLarge, UnsupportedMediaType
from .json_scan import Bytes, check_depth
from .log import RequestRecord
from .timers import SharedTimer

_JSON_TYPES = ("application/json", "text/json")
_LINES_TYPES = ("application/x-ndjson", "application/jsonl", "application/json-lines")
_BLANK = re.compile(rb"\s*+")
_LENGTH = re.compile(r"^[0-9]{1,18}$")
_SLOWEST_BYTES_PER_SECOND = 1_000
_ADVICE = "store a large context with PUT /contexts and send its contextId"
_BLOCK_BYTES = 256 * 1024
NDJSON = "application/x-ndjson"
HEARTBEAT = ": still here\n\n"
_EVENT_STREAM = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request; header names in lower case, the body in pieces as it arrives."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """One response; the body is bytes, or a stream of the platform's that is passed through as it is."""

    status: int
    body: bytes | object
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_json(cls, status: int, value: object, headers: Mapping[str, str] | None = None) -> HttpResponse:
        return cls.of_json_text(status, json.dumps(value, ensure_ascii=False), headers)

    @classmethod
    def of_json_text(cls, status: int, text: str, headers: Mapping[str, str] | None = None) -> HttpResponse:
        return cls(status, text.encode(), {"content-type": "application/json", **(headers or {})})


@dataclass(frozen=True, slots=True)
class Call:
    """A request at its handler: whose key it carries, the parameters in its path, and what is written down of it."""

    request: HttpRequest
    owner: str
    parameters: Mapping[str, str]
    record: RequestRecord


Handler = Callable[[Call], Awaitable[HttpResponse]]


def event_stream(body: bytes | object) -> HttpResponse:
    """Server-sent events, as the WHATWG HTML standard writes them."""
    return HttpResponse(200, body, dict(_EVENT_STREAM))


def encode_event(number: int, kind: str, data: str) -> str:
    """One event; `data` is JSON, which has no raw line breaks."""
    return f"id: {number}\nevent: {kind}\ndata: {data}\n\n"


async def read_json(request: HttpRequest, limit: int, idle_seconds: float) -> Bytes:
    """A body that is said to be JSON and may be: whole, in UTF-8; nothing has been built from it yet."""
    require_json(request.headers)
    body = await read_body(request, limit, idle_seconds)
    check_json_bytes(body)
    return body


def announced_bytes(headers: Mapping[str, str], otherwise: int) -> int:
    """How long a body is said to be, `otherwise` where that is not said."""
    announced = headers.get("content-length", "")
    return int(announced) if _LENGTH.match(announced) else otherwise


def are_lines(headers: Mapping[str, str]) -> bool:
    """Whether a body is said to be a line of JSON for each item; raises `UnsupportedMediaType` for another charset."""
    lines = _media_type(headers) in _LINES_TYPES
    if lines:
        _require_plain_utf8(headers)
    return lines


async def read_body(request: HttpRequest, limit: int, idle_seconds: float = 30.0) -> Bytes:
    """The whole body, held once; raises `PayloadTooLarge` as soon as it passes `limit` bytes, whatever it announced."""
    announced = announced_bytes(request.headers, 0)
    if announced > limit:
        raise PayloadTooLarge(limit, "bytes", _ADVICE)
    body, filled = bytearray(announced), 0  # one that grows is moved again and again, and held twice meanwhile
    async for part in in_time(request.body, idle_seconds):
        if filled + len(part) > limit:
            raise PayloadTooLarge(limit, "bytes", _ADVICE)
        body[filled : filled + len(part)] = part
        filled += len(part)
    del body[filled:]
    return body


async def in_time(pieces: AsyncIterator[bytes], idle_seconds: float) -> AsyncIterator[bytes]:
    """The pieces as they come; raises `BodyTooSlow` after that long without one, or below a kilobyte a second."""
    begun, size, timer = time.monotonic(), 0, SharedTimer(idle_seconds)
    while True:
        try:
            async with asyncio.timeout(None) as timeout:
                with timer.over(timeout):
                    piece = await anext(pieces, None)
        except TimeoutError:
            raise BodyTooSlow(f"nothing of the body arrived for {idle_seconds:g} s") from None
        if piece is None:
            return
        size += len(piece)
        if time.monotonic() - begun > idle_seconds + size / _SLOWEST_BYTES_PER_SECOND:
            raise BodyTooSlow(f"the body arrives more slowly than {_SLOWEST_BYTES_PER_SECOND} bytes a second")
        yield piece


def require_json(headers: Mapping[str, str]) -> None:
    """Raises `UnsupportedMediaType` unless the body is said to be JSON in UTF-8."""
    if _media_type(headers) not in _JSON_TYPES:
        raise UnsupportedMediaType("send Content-Type: application/json")
    _require_plain_utf8(headers)


def require_text(headers: Mapping[str, str]) -> None:
    """Raises `UnsupportedMediaType` for a body that is said to be something else than text in UTF-8."""
    media = _media_type(headers)
    if media and not media.startswith("text/") and media not in (*_JSON_TYPES, "application/octet-stream"):
        raise UnsupportedMediaType("send text in UTF-8: Content-Type: text/plain")
    _require_plain_utf8(headers)


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _require_plain_utf8(headers: Mapping[str, str]) -> None:
    charset = headers.get("content-type", "").lower().partition("charset=")[2].strip(' "')
    if charset not in ("", "utf-8", "utf8"):
        raise UnsupportedMediaType("send UTF-8")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("compressed bodies are not read: send the body as it is")


def check_json_bytes(body: Bytes) -> None:
    """Raises `MalformedBody` for what is empty, nested too deep or not UTF-8, before anything is built from it."""
    if _BLANK.fullmatch(body):
        raise MalformedBody("the body is empty: send a JSON object")
    check_depth(body)
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(body), _BLOCK_BYTES):
        try:
            decoder.decode(body[start : start + _BLOCK_BYTES], final=start + _BLOCK_BYTES >= len(body))
        except UnicodeDecodeError as error:
            raise MalformedBody(f"the body is not UTF-8 (byte {start + error.start})") from None

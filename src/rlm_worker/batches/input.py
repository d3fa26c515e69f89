"""The body of `POST /rlm/batch`, item by item: a JSON array, or one request a line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from rlm_worker.errors import InvalidRequest, MalformedBody, PayloadTooLarge, RLMError
from rlm_worker.http import HttpRequest, in_time, read_body
from rlm_worker.models.catalog import Catalog
from rlm_worker.settings import Settings
from rlm_worker.wire.requests import RunRequest, parse_request
from rlm_worker.wire.results import ErrorAnswer, ErrorBody

from .items import BatchEntry

# The platform takes no larger body; lines pass one by one, an array is held whole.
_MOST_BYTES = 100_000_000
_GROUP_ITEMS, _GROUP_CHARACTERS = 100, 2_000_000


@dataclass(slots=True)
class BatchInput:
    """Reads the items of one request and digests them on the way; `groups` may be used once."""

    request: HttpRequest
    settings: Settings
    items: int = 0
    _digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    @property
    def digest(self) -> str:
        """Hex SHA-256 of all items."""
        return self._digest.hexdigest()

    async def groups(self) -> AsyncIterator[list[BatchEntry]]:
        """Checked items in groups small enough to be handed on.

        Raises `MalformedBody` for an array that is none, `PayloadTooLarge` beyond the deployment's number of items or
        the platform's limit of bytes, and `InvalidRequest` where there is no item at all.
        """
        group: list[BatchEntry] = []
        characters = 0
        async for text in _items(self.request, self.settings):
            self._count(text)
            group.append(checked(text, self.settings))
            characters += len(text)
            if len(group) >= _GROUP_ITEMS or characters >= _GROUP_CHARACTERS:
                yield group
                group, characters = [], 0
        if not self.items:
            raise InvalidRequest.at("", "the batch holds no request")
        if group:
            yield group

    def _count(self, text: bytes) -> None:
        self.items += 1
        if self.items > self.settings.max_batch_items:
            raise PayloadTooLarge(self.settings.max_batch_items, "requests in a batch")
        self._digest.update(len(text).to_bytes(8, "big") + text)


def checked(text: bytes, settings: Settings) -> BatchEntry:
    """An item as it is kept: what is wrong with it is its own affair."""
    try:
        if len(text) > settings.max_body_bytes:
            raise PayloadTooLarge(settings.max_body_bytes, "bytes in a request")
        _check_models(parse_request(text, settings.defaults), settings.catalog)
        return BatchEntry(body=text.decode())
    except UnicodeDecodeError:
        return BatchEntry(error=error_result(MalformedBody("the request is not UTF-8")))
    except RLMError as error:
        return BatchEntry(error=error_result(error))


def error_result(error: RLMError) -> str:
    """The JSON of a result for an item that has none, with the fields that were refused."""
    return ErrorAnswer(error=ErrorBody.of(error)).to_json()


def _check_models(request: RunRequest, catalog: Catalog) -> None:
    for path, name in (("config.rootModel", request.config.root_model), ("config.subModel", request.config.sub_model)):
        if catalog.find(name) is None:
            raise InvalidRequest.at(path, "unknown model; GET /v1/models lists those that are known")


async def _items(request: HttpRequest, settings: Settings) -> AsyncIterator[bytes]:
    lines = _Lines()
    pieces = in_time(request.body, settings.body_idle_seconds)
    head = b""
    async for piece in pieces:
        head += piece
        if head.strip():
            break
    if head.lstrip()[:1] == b"[":
        whole = HttpRequest(request.method, request.path, request.query, request.headers, _joined(head, pieces))
        for item in _array_items(await read_body(whole, settings.max_body_bytes, settings.body_idle_seconds)):
            yield item
        return
    for line in lines.feed(head):
        yield line
    async for piece in pieces:
        for line in lines.feed(piece):
            yield line
    if line := lines.rest():
        yield line


async def _joined(head: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield head
    async for piece in pieces:
        yield piece


class _Lines:
    """Cuts bytes that arrive in pieces into lines; blank ones are left out."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._bytes = 0

    def feed(self, piece: bytes) -> list[bytes]:
        self._bytes += len(piece)
        if self._bytes > _MOST_BYTES:
            raise PayloadTooLarge(_MOST_BYTES, "bytes")
        *ended, rest = piece.split(b"\n")
        if ended:
            ended[0] = b"".join([*self._parts, ended[0]])
            self._parts = []
        self._parts.append(rest)
        return [line for line in ended if line.strip()]

    def rest(self) -> bytes:
        return b"".join(self._parts).strip()


def _array_items(body: bytes) -> list[bytes]:
    """The items of a JSON array as they were written; only one of them is parsed at a time."""
    try:
        text = body.decode().strip()
    except UnicodeDecodeError as error:
        raise MalformedBody(f"the body is not UTF-8 (byte {error.start})") from None
    items: list[bytes] = []
    position = _past_blanks(text, 1)
    if text[position : position + 1] == "]":
        return _closed(text, position, items)
    while True:
        end = _item_end(text, position)
        items.append(text[position:end].encode("utf-8", "surrogatepass"))
        position = _past_blanks(text, end)
        if text[position : position + 1] != ",":
            return _closed(text, position, items)
        position = _past_blanks(text, position + 1)


def _item_end(text: str, position: int) -> int:
    try:
        return json.JSONDecoder().raw_decode(text, position)[1]
    except ValueError as error:
        raise MalformedBody(f"the body is not a JSON array: {error}") from None
    except RecursionError:
        raise MalformedBody("the body is nested too deep") from None


def _closed(text: str, position: int, items: list[bytes]) -> list[bytes]:
    if text[position:] != "]":
        raise MalformedBody(f"the body is not a JSON array (character {position})")
    return items


def _past_blanks(text: str, position: int) -> int:
    while text[position : position + 1] in (" ", "\t", "\r", "\n") and position < len(text):
        position += 1
    return position

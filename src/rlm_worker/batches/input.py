"""The body of `POST /rlm/batch`, item by item: a JSON array, or one request a line."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

from rlm_worker.errors import InvalidRequest, MalformedBody, PayloadTooLarge, RLMError
from rlm_worker.http import HttpRequest, in_time, read_body
from rlm_worker.json_scan import LineCutter, array_items, check_depth
from rlm_worker.memory import MIB
from rlm_worker.routing.decide import Question, Router
from rlm_worker.settings import Settings
from rlm_worker.wire.requests import RunRequest, parse_request
from rlm_worker.wire.results import ErrorAnswer

from .items import BatchEntry

# The platform takes no larger body; lines pass one by one, an array is held whole.
MAX_BYTES = 100_000_000
_GROUP_ITEMS, _GROUP_CHARACTERS = 100, 1_000_000
# An item is kept in its batch until it runs, ten at once in an isolate: what is long is put first.
MAX_ITEM_BYTES = MIB // 2
_ADVICE = "store a large context with PUT /contexts and send its contextId"


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


def item_limit(settings: Settings) -> int:
    """How many bytes an item may have."""
    return min(settings.max_body_bytes, MAX_ITEM_BYTES)


def checked(text: bytes, settings: Settings) -> BatchEntry:
    """An item as it is kept: what is wrong with it is its own affair."""
    try:
        if len(text) > (limit := item_limit(settings)):
            raise PayloadTooLarge(limit, "bytes in a request of a batch", _ADVICE)
        check_depth(text)
        _check_item(parse_request(text, settings.defaults), settings)
        return BatchEntry(body=text.decode())
    except UnicodeDecodeError:
        return BatchEntry(error=error_result(MalformedBody("the request is not UTF-8")))
    except RLMError as error:
        return BatchEntry(error=error_result(error))


def error_result(error: RLMError) -> str:
    """The JSON of a result for an item that has none, with the fields that were refused."""
    return ErrorAnswer.of(error).to_json()


def _check_item(request: RunRequest, settings: Settings) -> None:
    catalog = settings.catalog
    if request.previous_session_id is not None:  # the session may be gone, or another one, when the item's turn comes
        raise InvalidRequest.at("previousSessionId", "a follow-up is no item of a batch: ask it on POST /rlm")
    for path, name in (("config.rootModel", request.config.root_model), ("config.subModel", request.config.sub_model)):
        if catalog.find(name) is None:
            raise InvalidRequest.at(path, "unknown model; GET /v1/models lists those that are known")
    router = Router(settings.routing, catalog, has_sandbox=settings.has_sandbox)
    router.decide(request.config, Question(request.query or "", 0))  # a policy or a rule that cannot be is told now
    judge = request.config.relevance
    if judge is not None and (obstacle := catalog.judge_obstacle(judge)):
        raise InvalidRequest.at("config.relevance", f"{judge}: {obstacle}")


async def _items(request: HttpRequest, settings: Settings) -> AsyncIterator[bytes]:
    pieces = in_time(request.body, settings.body_idle_seconds)
    head, blanks = await _first_words(pieces, settings.max_body_bytes)
    if head[:1] != b"[":
        async for line in _lines(_joined(head, pieces), blanks, item_limit(settings)):
            yield line
        return
    whole = replace(request, body=_joined(head, pieces))
    body = await read_body(whole, settings.max_body_bytes, settings.body_idle_seconds)
    for number, item in enumerate(array_items(body), 1):
        _check_utf8(item, number)
        yield item


async def _first_words(pieces: AsyncIterator[bytes], limit: int) -> tuple[bytes, int]:
    """The first piece that says something, and how many blanks came before it; these are kept by nobody."""
    blanks = 0
    async for piece in pieces:
        head = piece.lstrip()
        blanks += len(piece) - len(head)
        if blanks > limit:
            raise PayloadTooLarge(limit, "bytes")
        if head:
            return head, blanks
    return b"", blanks


async def _joined(head: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield head
    async for piece in pieces:
        yield piece


async def _lines(pieces: AsyncIterator[bytes], before: int, line_limit: int) -> AsyncIterator[bytes]:
    """The lines of a body of which so many bytes are gone by already."""
    cutter, size = LineCutter(line_limit), before
    async for piece in pieces:
        size += len(piece)
        if size > MAX_BYTES:
            raise PayloadTooLarge(MAX_BYTES, "bytes")
        for line in cutter.feed(piece):
            yield line
    line = cutter.rest()
    if line := line if len(line) > line_limit else line.rstrip():
        yield line


def _check_utf8(item: bytes, number: int) -> None:
    try:
        item.decode()
    except UnicodeDecodeError as error:
        raise MalformedBody(f"the body is not UTF-8 (item {number}, byte {error.start})") from None

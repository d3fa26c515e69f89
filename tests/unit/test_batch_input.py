"""The body of a batch as it arrives: blanks are dropped, too much is refused, and little is held."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import AsyncIterator, Iterable

import pytest

from rlm_worker.batches.input import BatchInput
from rlm_worker.batches.items import BatchEntry
from rlm_worker.batches.routes import BatchRoutes
from rlm_worker.errors import MalformedBody, PayloadTooLarge
from rlm_worker.http import Call, HttpRequest
from rlm_worker.json_scan import LineCutter
from rlm_worker.log import RequestRecord
from rlm_worker.memory import MemoryBudget
from rlm_worker.wire.batches import BatchAccepted
from tests.unit.conftest import settings

ITEM = {"context": "text", "query": "q"}
DEEP = b"[" * 20_000 + b"]" * 20_000


async def _arriving(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def entries(*pieces: bytes) -> list[BatchEntry]:
    return await entries_of(pieces)


async def entries_of(pieces: Iterable[bytes]) -> list[BatchEntry]:
    request = HttpRequest("POST", "/rlm/batch", {}, {}, _arriving(pieces))
    return [entry async for group in BatchInput(request, settings()).groups() for entry in group]


def endless(piece: bytes) -> Iterable[bytes]:
    while True:
        yield piece


def error_of(entry: BatchEntry) -> str:
    return str(json.loads(entry.error or "")["error"]["type"])


@pytest.mark.parametrize("piece", [b" " * 4_096, b"\n" * 4_096, b" \r\n\t" * 500])
async def test_blanks_are_counted(piece: bytes) -> None:
    with pytest.raises(PayloadTooLarge):
        await entries_of(endless(piece))


@pytest.mark.parametrize("begin", [json.dumps(ITEM).encode() + b"\n", b"["])
async def test_blanks_between_are_counted(begin: bytes) -> None:
    def pieces() -> Iterable[bytes]:
        yield begin
        yield from endless(b" " * 65_536)

    with pytest.raises(PayloadTooLarge):
        await entries_of(pieces())


async def test_blanks_are_dropped() -> None:
    text = json.dumps(ITEM).encode()
    before = [b" " * 4_096] * 3_000
    assert [entry.body for entry in await entries_of([*before, text])] == [text.decode()]
    array = [*before, b"[", *before, text, b" ]"]
    assert [entry.body for entry in await entries_of(array)] == [text.decode()]


async def test_deep_array_is_refused() -> None:
    for body in (DEEP, b"[" + json.dumps(ITEM).encode() + b"," + DEEP + b"]", b'[{"context": ' + DEEP + b"}]"):
        with pytest.raises(MalformedBody):
            await entries(body)


async def test_deep_line_is_refused_alone() -> None:
    deep = b'{"query": "q", "context": ' + DEEP + b"}"
    first, second = await entries(deep + b"\n" + json.dumps(ITEM).encode())
    assert error_of(first) == "malformed_body"
    assert second.body


async def test_broken_item_is_refused_alone() -> None:
    first, second = await entries(b'[{"query": tru}, ' + json.dumps(ITEM).encode() + b"]")
    assert error_of(first) == "malformed_body"
    assert second.body


async def test_endless_line_is_refused_alone() -> None:
    limit = settings().max_body_bytes
    first, second = await entries(b"x" * limit, b" " * limit, b"y\n" + json.dumps(ITEM).encode())
    assert error_of(first) == "payload_too_large"
    assert second.body


def test_small_pieces_take_little() -> None:
    """A line that arrives byte by byte is held once, not as so many objects."""
    cutter = LineCutter(1_000_000)
    tracemalloc.start()
    for _ in range(200_000):
        assert not list(cutter.feed(b"x"))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 1_000_000
    assert list(cutter.feed(b"\n")) == [b"x" * 200_000]


def test_long_line_is_not_held() -> None:
    cutter = LineCutter(1_000)
    for _ in range(1_000):
        assert not list(cutter.feed(b"x" * 1_000))
    assert len(cutter.rest()) == 1_001


async def test_slow_batch_keeps_its_room() -> None:
    """A batch that still arrives is one that is still there, however long it takes."""
    now, used = [0.0], []
    room = MemoryBudget(clock=lambda: now[0])

    async def slow() -> AsyncIterator[bytes]:
        for _ in range(3):
            now[0] += 200
            yield json.dumps(ITEM).encode() + b"\n"
            used.append(room.used)

    request = HttpRequest("POST", "/rlm/batch", {}, {"content-type": "application/x-ndjson"}, slow())
    routes = BatchRoutes(Receiver(), settings(), room)
    await routes.submit(Call(request, "ada", {}, RequestRecord.of("POST", "/rlm/batch", {}, 0.0)))
    assert all(used)
    assert room.used == 0


class Receiver:
    """A batch that takes whatever it is sent."""

    async def call(self, name: str, method: str, *arguments: object) -> object:
        if method != "seal":
            return None
        return {**BatchAccepted(batch_id=name, total=3, accepted=3, rejected=0).to_wire(), "digest": arguments[1]}

    async def stream(self, name: str, method: str, *arguments: object) -> object:
        raise AssertionError(method)


async def test_bad_policy_is_refused_at_once() -> None:
    """And not when the item's turn comes."""
    (entry,) = await entries(json.dumps({**ITEM, "config": {"routing": "dearest"}}).encode())
    assert "there is no policy 'dearest'" in str(entry.error)

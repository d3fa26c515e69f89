"""Large bodies: cut into what a parser that builds them would read, and counted while they are held."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rlm_worker.errors import InvalidRequest, MalformedBody, Overloaded, PayloadTooLarge, RequestError
from rlm_worker.http import check_json_bytes
from rlm_worker.json_scan import string_blocks
from rlm_worker.memory import MIB, MemoryBudget
from rlm_worker.runs.job import Job
from rlm_worker.sessions.bodies import WHOLE_BYTES, read_run
from rlm_worker.sessions.contexts import manifest_key, stored_context_key
from rlm_worker.sessions.prepare import prepare_job
from rlm_worker.sessions.uploads import MAX_LINE_BYTES, Upload, UploadLimits, store_context
from rlm_worker.testing import ManualClock, MemoryStore
from rlm_worker.text.context import ContextManifest, gather_documents
from tests.unit.conftest import settings
from tests.unit.test_stored_contexts import pieces

TEXT = st.text(alphabet='a\\"/\n\t\x7fé\u2028中\U0001f600\U0010ffff', max_size=30)
DOCUMENT = st.fixed_dictionaries({"name": TEXT, "text": TEXT})
CONTEXTS = TEXT | st.lists(TEXT | DOCUMENT, max_size=5)
# Longer than what inline contexts may have, so that the bytes are handed over to be stored.
LONG = "long " * 30_000


async def prepared(body: bytes, *, whole: bool) -> tuple[Job, bytes]:
    wanted, texts = read_run(body, whole_bytes=len(body) if whole else 0)
    assert (texts is None) is whole
    job, content = await prepare_job(wanted, "ada", settings(), MemoryStore(), None, now=0.0, texts=texts)
    assert isinstance(content, Iterable)
    return job, b"".join(content)


@given(CONTEXTS, st.booleans(), st.booleans())
def test_cut_body_says_the_same(context: object, ascii_only: bool, first: bool) -> None:
    """The job, its session's name and the bytes to store are those of a body that was built as a whole."""
    texts = [context, LONG] if isinstance(context, str) else [*context, LONG]  # type: ignore[misc]
    known = {"query": "why?", "config": {"chunkSize": 9}, "context": texts}
    ordered = dict(reversed(known.items())) if first else known
    body = json.dumps(ordered, ensure_ascii=ascii_only, indent=1 if first else None).encode()
    assert asyncio.run(prepared(body, whole=False)) == asyncio.run(prepared(body, whole=True))


@given(st.text(max_size=60), st.booleans())
@example("\U0001f600" * 20, True)
@example("0\U00010000", True)
@example("\\\\\\", False)
def test_blocks_rebuild_string(text: str, ascii_only: bool) -> None:
    body = json.dumps(text.encode("utf-8", "replace").decode(), ensure_ascii=ascii_only).encode()
    for size in (12, 13, 14, 17, 1_000):
        assert "".join(string_blocks(body, 0, len(body), size)) == json.loads(body)


@given(
    st.binary(max_size=30), st.sampled_from([b'{"query": "q", "context": "%s"}', b'{"query": "q", "context": [%s]}'])
)
@example(b"\\ud800", b'{"query": "q", "context": "%s"}')
@example(b"\\ud800\\u0041", b'{"query": "q", "context": "%s"}')
@example(b'{"name": "n"}', b'{"query": "q", "context": [%s]}')
@example(b'{"name": 5, "text": "t"}', b'{"query": "q", "context": [%s]}')
def test_cut_body_refuses_the_same(part: bytes, form: bytes) -> None:
    body = form.replace(b"%s", part)
    refused = []
    for whole in (True, False):
        try:
            check_json_bytes(body)
            _, texts = read_run(body, whole_bytes=len(body) if whole else 0)
            for _, blocks in texts.documents() if texts else ():
                list(blocks)
            refused.append(False)
        except RequestError:
            refused.append(True)
    assert refused[0] is refused[1]


@pytest.mark.parametrize(
    ("item", "path"),
    [({"name": "n"}, "context.1.text"), ({"name": "n" * 2_000, "text": "t"}, "context.1.name"), (7, "context.1")],
)
def test_refused_item_is_named(item: object, path: str) -> None:
    body = json.dumps({"context": [LONG * 3, item], "query": "q"}).encode()
    assert len(body) > WHOLE_BYTES
    with pytest.raises(InvalidRequest) as refused:
        read_run(body)
    assert refused.value.problems[0].path == path


@pytest.mark.parametrize(
    "form",
    [
        r'{"query": "q", "a\q": 1, "context": "%s"}',
        r'{"query": "q", "\ud800": 1, "context": "%s"}',
        r'{"query": "q", "context": [{"name\q": "n", "text": "%s"}]}',
        r'{"query": "q", "context": [{"name": "\ud800", "text": "%s"}]}',
        r'{"query": "q", "context": [{"name": tru, "text": "%s"}]}',
        r'{"query": "q", "context": [tru, "%s"]}',
        r'{"query": "q", "contextId": "ctx_00000000000000000000000000000000", "context": nullary, "%s": 1}',
    ],
)
def test_malformed_body_is_told(form: str) -> None:
    """What is no JSON in a body that is cut is the caller's to mend, as in one that is not."""
    with pytest.raises(RequestError):
        read_run((form % (LONG * 3)).encode())


@pytest.mark.parametrize(
    "form",
    [
        '{"query": "q", "%s": 1, "context": "c"}',
        '{"query": "%s", "context": "c"}',
        '{"query": "q", "context": [{"name": "%s", "text": "t"}]}',
        '{"query": "q", "context": [{"name": "n", "text": "%s", "more": 1}]}',
        '{"query": "q", "context": [{"name": "n", "%s": "t"}]}',
    ],
)
def test_refusal_builds_nothing(form: str) -> None:
    """What is refused for its form is not built: with one emoji it would take four times its bytes."""
    assert_refused_small((form % ("\U0001f600" + "x" * (4 * MIB))).encode())


@pytest.mark.parametrize("form", ['{"query": "q", "context": [%s""]}', '{"query": "q", "context": [{%s"a":1}]}'])
def test_crowd_is_not_gathered(form: str) -> None:
    """Documents and fields beyond what there may be are not even listed."""
    many = '"a":1,' if "{%s" in form else '"",'
    assert_refused_small((form % (many * 500_000)).encode())


def assert_refused_small(body: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(RequestError):
            read_run(body, max_documents=1_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(body)


def test_long_rest_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="beside the context"):
        read_run(json.dumps({"context": "x", "query": LONG * 3}).encode())


async def test_large_requests_wait() -> None:
    room = MemoryBudget(100)
    first = await room.take(80)
    second = asyncio.create_task(room.take(50))
    third = asyncio.create_task(room.take(10))
    await asyncio.sleep(0.2)
    assert (second.done(), third.done()) == (False, False)
    first.close()
    (await second).close()
    (await third).close()
    assert room.used == 0


async def test_crowd_is_told_to_wait() -> None:
    room = MemoryBudget(100)
    held = await room.take(1_000)
    with pytest.raises(Overloaded) as refused:
        await room.take(1, wait_seconds=0.1)
    assert refused.value.retry_after > 0
    held.close()
    (await room.take(100, wait_seconds=0.1)).close()


async def test_lost_request_holds_nothing() -> None:
    """The platform ends a request without a word: neither its place in the queue nor what it held stays."""
    now = 0.0
    room = MemoryBudget(100, lambda: now)
    await room.take(100)
    lost = asyncio.create_task(room.take(100))
    await asyncio.sleep(0.01)
    now = 1_000.0
    waiting = asyncio.create_task(room.take(100))
    await asyncio.wait_for(waiting, 5)
    lost.cancel()


async def test_lines_are_documents() -> None:
    store = MemoryStore()
    lines = b'{"name": "a", "text": "one "}\n{"text": "more", "continues": true}\n\n{"text": "two"}'
    upload = Upload(pieces(lines[:9], lines[9:40], lines[40:]), UploadLimits(100, 2))
    stored = await store_context(upload, "ada", store, ManualClock(), lines=True)
    key = stored_context_key("ada", stored.context_id)
    manifest = ContextManifest.from_json(store.objects[manifest_key(key)].decode())
    assert store.objects[key] == b"one moretwo"
    assert list(manifest.documents.rows()) == [("a", 8, 8), ("document 2", 3, 3)]
    inline = json.dumps({"context": [{"name": "a", "text": "one more"}, "two"], "query": "q"}).encode()
    job, _ = await prepared(inline, whole=True)
    assert ContextManifest.from_json(job.manifest).identity == manifest.identity


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (b'{"text": "a"}\n{"text": 5}', InvalidRequest),
        (b'{"text": "a", "continues": true}', InvalidRequest),
        (b'{"text": " "}', InvalidRequest),
        (b'{"text": "a"}\nnonsense', MalformedBody),
        (b'{"text": "\\ud800"}', MalformedBody),
        (b'{"text": "\xff"}', MalformedBody),
        (b"[" * 100_000, MalformedBody),
        (b'{"text": "a"}\n' * 4, PayloadTooLarge),
        (b'{"text": "' + b"a" * MAX_LINE_BYTES + b'"}', PayloadTooLarge),
        (b'{"text": "' + b"a" * 101 + b'"}', PayloadTooLarge),
    ],
)
async def test_refused_lines_leave_nothing(lines: bytes, error: type[Exception]) -> None:
    store = MemoryStore()
    with pytest.raises(error):
        await store_context(Upload(pieces(lines), UploadLimits(100, 3)), "ada", store, ManualClock(), lines=True)
    assert not store.objects


def test_long_table_is_packed() -> None:
    named = [(f"src/folder/{number}.py" if number % 7 else "naïve \U0001f600\n", "text") for number in range(5_000)]
    manifest, _ = gather_documents(named)
    assert len(manifest.packed()) < len(manifest.to_json()) / 5
    assert ContextManifest.from_json(manifest.packed()) == manifest == ContextManifest.from_json(manifest.to_json())


@pytest.mark.parametrize("text", ["", "no table", "eJw=", "{", b"\xff"])
def test_damaged_table_is_told(text: str | bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        ContextManifest.from_json(text)

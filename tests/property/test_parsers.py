"""Whatever is sent or configured: an answer of the known kinds, never another error."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress

from hypothesis import example, given
from hypothesis import strategies as st

from rlm_worker.api.auth import owner_of
from rlm_worker.errors import NotConfigured, RequestError, RLMError
from rlm_worker.http import check_json_bytes
from rlm_worker.openai.schemas import parse_chat
from rlm_worker.settings import LOCAL_OWNER, allowed_origins
from rlm_worker.text.context import ContextManifest, gather_documents
from rlm_worker.wire.requests import RunRequest, parse_request

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(sorted({name for f, i in RunRequest.model_fields.items() for name in (f, i.alias or f)}))


def _dumped(value: object) -> bytes:
    return json.dumps(value).encode()


BODIES = st.one_of(st.binary(max_size=200), JSON.map(_dumped))
NEARLY = st.dictionaries(FIELDS, JSON, max_size=6).map(_dumped)


@given(st.one_of(BODIES, NEARLY))
@example(b'{"context": "\\ud800", "query": "x"}')
@example(b"[" * 3_000)
@example(b'{"query": 1e999}')
def test_bodies_are_taken_or_refused(body: bytes) -> None:
    for parse in (parse_request, parse_chat):
        with suppress(RequestError):
            check_json_bytes(body)
            parse(body)


@given(st.dictionaries(st.sampled_from(["authorization", "x-api-key"]), st.text(max_size=40)), st.text(max_size=80))
def test_nobody_slips_in(headers: dict[str, str], keys: str) -> None:
    for local in (True, False):
        try:
            owner = owner_of(headers, keys, local=local)
        except RLMError:
            continue
        assert owner == LOCAL_OWNER
        assert local
        assert not keys.replace(",", "").strip()


@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40))
def test_only_the_key_opens(key: str, other: str) -> None:
    digest = hashlib.sha256(key.strip().encode("utf-8", "surrogatepass")).hexdigest()
    keys = f"somebody:{'0' * 64}, ann:{digest}"
    try:
        assert owner_of({"x-api-key": other}, keys, local=False) == "ann"
        assert other.strip() == key.strip()
    except RLMError:
        assert other.strip() != key.strip() or not key.strip()


@given(st.text(max_size=60))
@example("*")
@example("https://a.example,https://b.example:8443/")
@example("https://a.example/path")
@example("null")
def test_origins_are_exact(text: str) -> None:
    try:
        origins = allowed_origins(text)
    except NotConfigured:
        return
    assert all(origin.startswith(("http://", "https://")) and "*" not in origin for origin in origins)


@given(st.lists(st.tuples(st.none() | st.text(max_size=10), st.text(max_size=50)), min_size=1, max_size=6))
def test_manifest_survives_storage(texts: list[tuple[str | None, str]]) -> None:
    manifest, parts = gather_documents(texts)
    assert ContextManifest.from_json(manifest.to_json()) == manifest
    assert b"".join(parts).decode() == "".join(text for _, text in texts)
    assert manifest.bytes == sum(map(len, parts))

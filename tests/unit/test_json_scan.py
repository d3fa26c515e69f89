"""JSON from elsewhere, looked through before anything is built from it."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rlm_worker.errors import MalformedBody
from rlm_worker.json_scan import MAX_BRACKETS, MAX_DEPTH, array_items, check_depth

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='a\\"[]{},é😀\n', max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('"[]{}\\', max_size=4), inner, max_size=4),
    max_leaves=30,
)


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize("text", [nested(MAX_DEPTH), b'{"a":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH])
def test_deepest_is_taken(text: bytes) -> None:
    check_depth(text)
    check_depth(b"[" + text[1:-1] + b"," + b"{}," * 100 + b"1]")


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 20_000, 5_000_000])
def test_deeper_is_refused(depth: int) -> None:
    for text in (nested(depth), b"[" * depth, b'[{"a": ' + nested(depth) + b"}]", nested(depth).decode()):
        with pytest.raises(MalformedBody, match="64 levels"):
            check_depth(text)


@pytest.mark.parametrize("part", [b"[],", b'{"a":1},', b"[[[[{}]]]],"])
def test_many_brackets_are_refused(part: bytes) -> None:
    """Each takes a parser's time, and a body of them takes everybody's."""
    with pytest.raises(MalformedBody, match="arrays and objects"):
        check_depth(b"[" + part * (MAX_BRACKETS + 1) + b"1]")


def test_code_as_text_is_taken() -> None:
    check_depth(json.dumps({"context": "if (a[0]) { b(); }\n" * MAX_BRACKETS}))
    check_depth(json.dumps([{"name": "n", "text": '{"a": [1]}'}] * 100_000))


@given(VALUES)
@example("[" * 100)
@example(['"' + "[" * 100, "\\", "{" * 100])
def test_brackets_in_strings_are_text(value: object) -> None:
    for escaped in (True, False):
        check_depth(json.dumps([value] * 20, ensure_ascii=escaped))


@given(st.lists(VALUES, max_size=6), st.sampled_from(["", " ", "\r\n\t "]))
def test_items_are_those_of_the_array(values: list[object], blank: str) -> None:
    text = f"{blank}[{blank}" + f"{blank},{blank}".join(map(json.dumps, values)) + f"{blank}]{blank}"
    assert [json.loads(item) for item in array_items(text.encode())] == values


@pytest.mark.parametrize(
    "text",
    ["", "[", "]", "{}", "1", "[1,]", "[,1]", "[1 2]", "[1] 2", '[1,"', '["a]', "[[]", "[}", "[{]x", "[1,,2]", "[[1]"],
)
def test_broken_array_is_refused(text: str) -> None:
    with pytest.raises(MalformedBody):
        list(array_items(text.encode()))


@pytest.mark.parametrize("text", [nested(20_000), b"[1, " + nested(20_000) + b"]", b"[" * 5_000_000])
def test_deep_item_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedBody):
        list(array_items(text))

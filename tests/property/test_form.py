"""Any value that fits its schema passes as it was written, whatever stands around it; and no text breaks the reader."""

from __future__ import annotations

import json
from decimal import Decimal

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rlm_worker.citations.said import said_in
from rlm_worker.errors import InvalidRequest
from rlm_worker.json_schema.schema import read_schema
from rlm_worker.structured.form import Form
from rlm_worker.text.json_text import scalars
from tests.property.test_json_schema import FIXED, SCHEMAS, Schema

NUMBERS = st.integers(-(10**40), 10**40).map(str) | st.decimals(allow_nan=False, allow_infinity=False).filter(
    lambda number: abs(number.adjusted()) < 300
).map(lambda number: f"{number:f}" if abs(number.adjusted()) < 30 else f"{number:E}")
STRINGS = st.text(max_size=12).map(lambda text: json.dumps(text, ensure_ascii=len(text) % 2 == 0))
BLANKS = st.sampled_from(["", " ", "\n", "\t\n  "])


def _joined(parts: tuple[str, ...], blank: str) -> str:
    return f"{blank}".join(parts)


def _containers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    arrays = st.tuples(st.lists(inner, max_size=4), BLANKS).map(lambda told: f"[{f',{told[1]}'.join(told[0])}]")
    members = st.dictionaries(st.text(max_size=5), inner, max_size=4)
    objects = st.tuples(members, BLANKS).map(
        lambda told: "{" + f",{told[1]}".join(f"{json.dumps(k)}:{told[1]}{v}" for k, v in told[0].items()) + "}"
    )
    return arrays | objects


WRITTEN = st.recursive(st.sampled_from(["true", "false", "null"]) | NUMBERS | STRINGS, _containers, max_leaves=12)
AROUND = st.sampled_from(
    [("", ""), ("\n ", "\n"), ("```json\n", "\n```"), ("```\n", "\n```"), ("Here:\n\n```json\n", "\n```\nThat is it.")]
)


def _form(schema: Schema) -> Form | None:
    if not isinstance(schema, dict):
        return None
    try:
        read_schema(schema, "s")
    except InvalidRequest:
        return None
    return Form.of(schema)


@settings(max_examples=400)
@given(SCHEMAS | FIXED, WRITTEN, AROUND)
def test_fitting_value_passes_unchanged(schema: Schema, written: str, around: tuple[str, str]) -> None:
    form = _form(schema)
    assume(form is not None)
    assert form is not None
    value = json.loads(written)
    assume(not form.problem(value))
    assume(not around[0].startswith("Here") or written[0] in "{[")
    told = form.read(f"{around[0]}{written}{around[1]}")
    assert (told.text, told.problem) == (written, "")
    assert json.loads(told.text, parse_float=Decimal) == json.loads(written, parse_float=Decimal)


@settings(max_examples=400)
@given(SCHEMAS | FIXED, WRITTEN | st.text(max_size=60) | st.text(alphabet='{}[]",: a1\\`\n', max_size=60))
def test_whatever_is_given_fits(schema: Schema, reply: str) -> None:
    """No reply is an answer whose own text does not fit, and no reply is an error of ours."""
    form = _form(schema)
    assume(form is not None)
    assert form is not None
    told = form.read(reply)
    if not told.problem:
        assert not form.problem(json.loads(told.text))
        assert told.text in reply


@given(WRITTEN)
def test_places_lead_to_values(written: str) -> None:
    for value in scalars(written):
        assert json.loads(written[value.start : value.end]) == json.loads(value.written)
        if value.is_text:
            text, places = value.text(), value.places()
            assert len(places) == len(text) + 1
            for at, sign in enumerate(text):
                assert json.loads(f'"{written[places[at] : places[at + 1]]}"') == sign


@given(WRITTEN)
def test_claims_lie_in_the_answer(written: str) -> None:
    said = said_in(written, as_json=True)
    for claim in [claim for claim, _ in said.claims] + [quote.claim for quote in said.quotes]:
        assert 0 <= claim.start <= claim.end <= len(written)

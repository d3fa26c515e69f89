"""Tables out of texts, whatever the texts and replies are."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from rlm_worker.citations.passages import Documents, Seen
from rlm_worker.errors import InvalidRequest, RLMError
from rlm_worker.tables.entities import resolve
from rlm_worker.tables.reading import read_json, read_plan
from rlm_worker.tables.records import records_of, row_chunks
from rlm_worker.tables.rows import Row, distinct, in_order
from rlm_worker.tables.schema import Column, parse_schema
from rlm_worker.tables.sql import Query, QueryError, TableDatabase
from rlm_worker.tables.values import Hints, follow, hints_of
from rlm_worker.tables.verify import verify
from rlm_worker.text.chunks import Piece

COLUMNS = [
    {"name": "who", "type": "string"},
    {"name": "n", "type": "decimal"},
    {"name": "day", "type": "date"},
    {"name": "kind", "type": "enum", "enum": ["a", "b"]},
]
SCHEMA = parse_schema({"tables": [{"name": "calls", "columns": COLUMNS}]})
TEXTS = st.text(st.characters(codec="utf-8") | st.sampled_from("0123456789,.-$€%/ \n\uffff"), max_size=300)
NUMBERS = st.decimals(-(10**9), 10**9, places=2, allow_nan=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def evidence_of(number: Decimal) -> str:
    return f"the sum was {number:,} in all"


@given(NUMBERS)
def test_numbers_keep_their_value(number: Decimal) -> None:
    column = Column("n", "decimal")
    for written in (f"{number:,}", f"{number}", float(number)):
        for evidence in (evidence_of(number), f"the sum was {number} in all"):
            followed = follow(written, column, evidence, Hints(decimal_point=True))
            assert followed.value is not None
            assert Decimal(repr(followed.value)) == number


@given(NUMBERS, TEXTS)
def test_no_number_out_of_nothing(number: Decimal, text: str) -> None:
    """A number that follows from a text stands there, as one of the ways to write it."""
    followed = follow(str(number), Column("n", "decimal"), text, hints_of(text))
    if followed.value is not None:
        digits = {sign for sign in str(number) if sign.isdigit()} - {"0"}
        assert digits <= set(text) or any(word in text.lower() for word in ("one", "two", "three", "ten"))


@given(st.lists(st.decimals(-1000, 1000, places=2, allow_nan=False), min_size=1, max_size=60))
def test_sums_are_exact(numbers: list[Decimal]) -> None:
    rows = [
        Row("calls", 0, at * 10, at * 10 + 5, {"n": float(number)}, {}, {"n": "verbatim"})
        for at, number in enumerate(numbers)
    ]
    with TableDatabase(SCHEMA, rows) as tables:
        result = tables.run(Query("SELECT row_id FROM calls", "SELECT sum(n) FROM picked"))
    assert Decimal(repr(result.rows[0][0])) == sum(numbers)


ROWS = st.builds(
    lambda document, start, length, who, reading: Row(
        "calls", document, start, start + length, {"who": who}, {"who": who}, {"who": "verbatim"}, reading
    ),
    st.integers(0, 1),
    st.integers(0, 30),
    st.integers(1, 12),
    st.sampled_from(["a", "b", None]),
    st.integers(0, 2),
)


@given(st.lists(ROWS, max_size=30), st.randoms(use_true_random=False))
def test_merging_ignores_order(rows: list[Row], chance: random.Random) -> None:
    kept = distinct(rows)
    shuffled = list(rows)
    chance.shuffle(shuffled)
    assert distinct(shuffled) == kept
    assert distinct(kept.rows).rows == kept.rows
    assert sorted(in_order(sorted(rows, key=lambda row: row.place)), key=lambda row: row.place) == sorted(
        kept.rows, key=lambda row: row.place
    )


@given(st.lists(ROWS, max_size=30))
def test_one_row_for_a_place(rows: list[Row]) -> None:
    kept = distinct(rows).rows
    for at, one in enumerate(kept):
        for other in kept[at + 1 :]:
            apart = one.document != other.document or one.end <= other.start or other.end <= one.start
            assert apart or (one.reading == other.reading and one.values != other.values)


@given(TEXTS, st.lists(st.tuples(st.integers(0, 300), st.integers(1, 80), TEXTS), max_size=6), st.integers(0, 50))
def test_rows_are_slices(text: str, told: list[tuple[int, int, str]], before: int) -> None:
    """Whatever a reader says, what is kept stands in the source, its text as well as its quotation."""
    rows = [
        {"quote": text[start : start + length], "who": text[start : start + length // 2] or other, "kind": "a"}
        for start, length, other in told
    ]
    source = "x" * before + text
    seen = Seen.of([Piece(0, None, before, text)])
    reading = read_json(json.dumps({"rows": rows}), SCHEMA)
    read = verify(reading, seen, SCHEMA, Documents([None], [0, len(source)]))
    for row in read.rows:
        assert 0 <= row.start < row.end <= len(source)
        assert row.start >= before
        assert source[row.start : row.end].strip()


@given(st.text(max_size=200) | JSON.map(json.dumps) | JSON.map(lambda value: json.dumps({"rows": [value, value]})))
def test_any_reply_is_read(reply: str) -> None:
    reading = read_json(reply, SCHEMA)
    assert (reading.outcome == "rows") == bool(reading.candidates)
    with suppress(RLMError):
        read_plan(reply)


@given(JSON)
def test_any_schema_is_answered(value: object) -> None:
    for told in (value, {"tables": value}, {"tables": [value]}, {"tables": [{"name": "a", "columns": [value]}]}):
        with suppress(InvalidRequest):
            schema = parse_schema(told)
            assert parse_schema(schema.to_wire(), "again") == schema


WORDS = "SELECT row_id FROM calls WHERE n ( ) , ; ' \" -- /* * = 1 'a' GROUP BY AS x WITH picked"


@given(st.text(max_size=60) | st.lists(st.sampled_from(WORDS.split()), max_size=14).map(" ".join))
def test_any_statement_ends(statement: str) -> None:
    rows = [Row("calls", 0, 0, 5, {"n": 1.5}, {}, {})]
    with TableDatabase(SCHEMA, rows, max_steps=100_000) as tables:
        for query in (Query(statement, "SELECT 1"), Query("SELECT row_id FROM calls", statement)):
            with suppress(QueryError):
                tables.run(query)
        assert tables.run(Query("SELECT row_id FROM calls", "SELECT n FROM picked")).rows == ((1.5,),)


@given(TEXTS, st.integers(1, 120))
def test_row_chunks_rebuild_the_text(text: str, size: int) -> None:
    pieces = [Piece(0, None, at, text[at : at + 37]) for at in range(0, len(text), 37)]
    chunks = list(row_chunks(pieces, size))
    assert "".join(chunk.text for chunk in chunks) == text
    assert [chunk.start for chunk in chunks[1:]] == [chunk.end for chunk in chunks[:-1]]
    for record in records_of(text):
        assert text.replace("\uffff", "\n")[record.start : record.end] == record.text


@given(st.lists(st.text("JSjs. ,ohn", max_size=12), max_size=12))
def test_names_resolve_once(names: list[str]) -> None:
    resolved = resolve(names).names
    assert all(other not in resolved for other in resolved.values())

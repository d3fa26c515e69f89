"""Replies of readers: rows, nothing, and what is neither; and rows held against the source."""

from __future__ import annotations

import json

import pytest

from rlm_worker.citations.passages import Documents, Seen
from rlm_worker.errors import InvalidRequest
from rlm_worker.strategies.table.lines import shown, written
from rlm_worker.tables.reading import json_object, read_json, read_lines, read_plan
from rlm_worker.tables.records import records_of
from rlm_worker.tables.schema import parse_schema
from rlm_worker.tables.verify import Rejected, verify
from rlm_worker.text.chunks import Piece
from tests.unit.tables_world import schema_of, told, verified

SCHEMA = schema_of({"name": "who", "type": "string"}, {"name": "minutes", "type": "integer", "unit": "minutes"})
LINES = [f"Call {at}: user u{at} spoke for {at + 3} minutes.\n" for at in range(400)]
TEXT = "".join(LINES)


def call(at: int, **changed: object) -> dict[str, object]:
    return {"quote": LINES[at].strip(), "who": f"u{at}", "minutes": f"{at + 3}", **changed}


@pytest.mark.parametrize(
    "reply", ["[]", '{"rows": []}', "```json\n[]\n```", "NONE", "none.", "<think>hm [1]</think>[]"]
)
def test_nothing_is_read(reply: str) -> None:
    assert read_json(reply, SCHEMA).outcome == "empty"


@pytest.mark.parametrize(
    "reply",
    ["", "There are three calls here.", "<think>let me see", "{", "[1, 2]", '{"a": 1}', "[" * 100_000, '{"rows": 5}'],
)
def test_prose_is_unreadable(reply: str) -> None:
    assert read_json(reply, SCHEMA).outcome == "unreadable"


@pytest.mark.parametrize(
    "reply",
    [
        told(call(1), call(2)),
        json.dumps([call(1), call(2)]),
        f"Here are the rows:\n```json\n{told(call(1), call(2))}\n```\nI hope [this] helps.",
        f"<think>[{{}}]</think>{told(call(1), call(2))}",
        "\n".join(map(json.dumps, (call(1), call(2)))),
        json.dumps({"calls": [call(1), call(2)]}),
    ],
)
def test_rows_in_any_dress(reply: str) -> None:
    reading = read_json(reply, SCHEMA)
    assert (reading.outcome, reading.cut, len(reading.candidates)) == ("rows", False, 2)


def test_half_json_keeps_whole_rows() -> None:
    whole = told(*map(call, range(10)))
    for end in range(len('{"rows": ['), len(whole) - 1):
        reading = read_json(whole[:end], SCHEMA)
        rows = whole[:end].count("}")
        assert len(reading.candidates) == rows
        assert reading.cut or not rows or whole[:end].endswith("]")


def test_cut_reply_goes_on() -> None:
    cut = verified(TEXT, told(*map(call, range(10)))[:-30], SCHEMA)
    assert cut.resume_at == len("".join(LINES[:9]).rstrip())
    assert len(cut.rows) == 9


def test_hostile_rows_are_no_rows() -> None:
    deep = '{"rows": [' + '{"quote": ' + "[" * 5_000 + "]" * 5_000 + "}]}"
    assert read_json(deep, SCHEMA).outcome == "unreadable"
    assert read_json('[{"quote": NaN, "who": 1}]', SCHEMA).outcome == "unreadable"


def test_infinite_numbers_are_no_rows() -> None:
    huge = told(call(1, minutes=9), call(2)).replace('"minutes": 9', '"minutes": 1e999')
    read = verified(TEXT, huge, SCHEMA)
    assert [shown(written(row, "quote", None)).values["who"] for row in read.rows] == ["u2"]
    assert read.rejected.invalid == 1


def test_hints_stay_in_their_document() -> None:
    first, second = "Started 04/13/2024, it took 1.5 points. ", "Ann wurde am 03/04/2024 geboren, 1.234 Stueck"
    seen = Seen.of([Piece(0, None, 0, first), Piece(1, None, len(first), second)])
    schema = schema_of(
        {"name": "who", "type": "string"}, {"name": "day", "type": "date"}, {"name": "n", "type": "decimal"}
    )
    reading = read_json(told({"quote": second, "who": "Ann", "day": "03/04/2024", "n": "1.234"}), schema)
    documents = Documents([None, None], [0, len(first), len(first) + len(second)])
    (row,) = verify(reading, seen, schema, documents).rows
    assert row.values == {"who": "Ann", "day": None, "n": None}


def test_long_blanks_cost_little() -> None:
    assert read_lines("1" + " " * 200_000 + "x", SCHEMA, records_of(TEXT)).outcome == "unreadable"
    assert read_lines("\t" * 200_000 + "x", SCHEMA, records_of(TEXT)).outcome == "unreadable"
    assert read_json("[]" * 100_000 + "x", SCHEMA).outcome == "empty"


def test_tables_of_rows() -> None:
    columns = [{"name": "who", "type": "string"}]
    schema = parse_schema({"tables": [{"name": name, "columns": columns} for name in ("calls", "visits")]})
    named = read_json(told({"table": "Visits", "quote": "q", "who": "a"}), schema)
    keyed = read_json('{"calls": [], "visits": [{"quote": "q", "who": "a"}]}', schema)
    assert [row.table for row in (*named.candidates, *keyed.candidates)] == ["visits", "visits"]
    assert read_json(told({"quote": "q", "who": "a"}), schema).invalid == 1


def test_many_records_in_a_chunk() -> None:
    read = verified(TEXT, told(*map(call, range(400))), SCHEMA)
    assert [row.values for row in read.rows] == [{"who": f"u{at}", "minutes": at + 3} for at in range(400)]
    assert all(TEXT[row.start : row.end] == line.strip() for row, line in zip(read.rows, LINES, strict=True))


def test_same_record_three_times() -> None:
    text = "".join(["Call: u1 spoke for 4 minutes.\n", "Nothing else happened on that day.\n"] * 3)
    same = {"quote": "Call: u1 spoke for 4 minutes.", "who": "u1", "minutes": "4"}
    assert len(verified(text, told(same, same, same), SCHEMA).rows) == 3
    again = verified(text, told(same, same, same, same), SCHEMA)
    assert (len(again.rows), again.rejected.duplicate) == (3, 1)


def test_real_quote_wrong_number() -> None:
    read = verified(TEXT, told(call(1), call(2, minutes="6")), SCHEMA)
    assert (len(read.rows), read.rejected) == (1, Rejected(unverified=1))


def test_invented_quote() -> None:
    read = verified(TEXT, told(call(1, quote="Call 1: user u1 spoke for 40 hours.")), SCHEMA)
    assert (read.outcome, read.rejected.unverified) == ("rejected", 1)


def test_value_only_in_question() -> None:
    question = "How long did Anna Weber speak?"
    assert verified(TEXT, told(call(1, who="Anna Weber")), SCHEMA, question=question).outcome == "rejected"


def test_required_value_missing() -> None:
    schema = schema_of({"name": "day", "type": "date", "required": True}, {"name": "who", "type": "string"})
    text = "On 03/04/2024 the user u1 called twice.\n"
    read = verified(text, told({"quote": text.strip(), "day": "03/04/2024", "who": "u1"}), schema)
    assert (read.outcome, read.rejected.invalid) == ("rejected", 1)


def test_raw_values_are_kept() -> None:
    schema = schema_of({"name": "price", "type": "decimal", "unit": "USD"})
    (row,) = verified(
        "It cost them $1.2B in the end.", told({"quote": "cost them $1.2B", "price": "$1.2B"}), schema
    ).rows
    assert (row.values, row.raw, row.basis) == ({"price": 1.2e9}, {"price": "$1.2B"}, {"price": "verbatim"})


def test_short_lines_are_evidence() -> None:
    schema = schema_of({"name": "n", "type": "integer"})
    assert len(verified("a: 5\nb: 6\n", told({"quote": "a: 5", "n": "5"}), schema).rows) == 1
    assert verified("aaa: 5 and more\n", told({"quote": "5", "n": "5"}), schema).outcome == "rejected"


def test_sql_as_a_value() -> None:
    text = "The caller gave the name '; DROP TABLE calls;-- and hung up.\n"
    reply = told({"quote": text.strip(), "who": "'; DROP TABLE calls;--", "minutes": None})
    (row,) = verified(text, reply, SCHEMA).rows
    assert row.values["who"] == "'; DROP TABLE calls;--"


def test_lines_about_records() -> None:
    records = records_of(TEXT)
    schema = schema_of({"name": "kind", "type": "enum", "enum": ["long", "short"]})
    reading = read_lines("1 | long\n2: short\n- 3 | long\n999 | long\nsome prose", schema, records)
    assert [(row.quote, row.values["kind"]) for row in reading.candidates] == [
        (LINES[0].strip(), "long"),
        (LINES[1].strip(), "short"),
        (LINES[2].strip(), "long"),
    ]
    assert reading.invalid == 1


def test_lines_that_say_nothing() -> None:
    schema = schema_of({"name": "kind", "type": "enum", "enum": ["long", "short"]})
    assert read_lines("NONE", schema, records_of(TEXT)).outcome == "empty"
    assert read_lines("They are all long.", schema, records_of(TEXT)).outcome == "unreadable"
    assert len(read_lines("1 | long\n2 | sho", schema, records_of(TEXT), cut=True).candidates) == 1


def test_plan_is_split() -> None:
    schema = {"tables": [{"name": "calls", "columns": [{"name": "who", "type": "string"}]}]}
    plan = read_plan("Sure:\n" + json.dumps({"extract": "every call with who made it", **schema}))
    assert (plan.extract, plan.schema.to_wire()) == ("every call with who made it", schema)
    for reply in ("", "{}", json.dumps({"extract": " ", **schema}), json.dumps({"extract": "x", "tables": [1]})):
        with pytest.raises(InvalidRequest):
            read_plan(reply)


def test_object_amid_prose() -> None:
    assert json_object('Here: {"a": "}"} and {"b": 2}') == {"a": "}"}

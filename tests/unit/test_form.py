"""What of a reply is an answer in the caller's form: read as it was written, and never mended."""

from __future__ import annotations

import json

import pytest

from rlm_worker.citations.attribution import is_said_in
from rlm_worker.structured.form import Form
from rlm_worker.structured.json_mode import WRAPPER, json_mode_schema
from rlm_worker.text.json_text import repeated_key, scalars

Schema = dict[str, object]
INVOICE: Schema = {
    "type": "object",
    "properties": {"total": {"type": "number"}, "currency": {"enum": ["EUR", "USD"]}},
    "required": ["total", "currency"],
    "additionalProperties": False,
}
WRITTEN = '{"total": 12345678901234567890.10, "currency": "EUR"}'
INTEGERS: Schema = {"type": "array", "items": {"type": "integer"}}


def form(schema: Schema) -> Form:
    found = Form.of(schema)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "reply",
    [
        WRITTEN,
        f"\ufeff  {WRITTEN}\n",
        f"```json\n{WRITTEN}\n```",
        f"~~~\n{WRITTEN}\n~~~",
        f"Here it is:\n\n```json\n{WRITTEN}\n```\n\nI hope that helps {{as you said}}.",
        f"See [1] and {{this}}. The answer: {WRITTEN}. Anything else?",
        f"{WRITTEN}\n\nAgain:\n{WRITTEN}",
        f"I first thought of {{}} or of {{'total': 3}}, but: {WRITTEN}",
    ],
)
def test_words_around_are_passed(reply: str) -> None:
    told = form(INVOICE).read(reply)
    assert (told.text, told.problem) == (WRITTEN, "")


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        ("", "not JSON"),
        ("The total is 5 EUR.", "not JSON"),
        ('{"total": 5, "currency": "EUR",}', "not JSON"),
        ("{'total': 5, 'currency': 'EUR'}", "not JSON"),
        ('{"total": 5, "currency": "EUR"', "not JSON"),
        ('{"total": NaN, "currency": "EUR"}', "not JSON"),
        ('{"total": 1e999, "currency": "EUR"}', "not JSON"),
        ('{"total": 5, "total": 6, "currency": "EUR"}', 'gives the key "total" twice'),
        ('{"total": "5", "currency": "EUR"}', "data.total must be number"),
        ('{"total": 5}', "must contain"),
        ('{"total": 5, "currency": "EUR"} or {"total": 6, "currency": "EUR"}', "several JSON values that fit"),
        ("[" * 100_000, "levels deep"),
        ('{"a":' * 60_000, "not JSON|levels deep"),
    ],
)
def test_nothing_is_mended(reply: str, problem: str) -> None:
    found = form(INVOICE).read(reply).problem
    assert any(part in found for part in problem.split("|")), found


def test_reference_is_no_answer() -> None:
    """What stands in brackets in a sentence is no array that was meant."""
    assert form(INTEGERS).read("As [1] says, nothing.").problem
    assert form(INTEGERS).read("The numbers:\n[1, 2]\nThat is all.").text == "[1, 2]"
    assert form({}).read("As {} shows, or [2].").problem


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"total": 5, "currency": "EUR"}, '{"total": 5, "currency": "EUR"}'),
        (WRITTEN, WRITTEN),
        (f"```json\n{WRITTEN}\n```", WRITTEN),
    ],
)
def test_final_value_is_json(value: object, text: str) -> None:
    told = form(INVOICE).read_value(value)
    assert (told.text, told.problem) == (text, "")


def test_string_stays_a_string() -> None:
    assert form({"type": "string"}).read_value("42").text == '"42"'
    assert form({}).read_value("plain words").text == '"plain words"'
    assert form({}).read_value('{"n": 1.10}').text == '{"n": 1.10}'
    assert form(INVOICE).read_value('{"total": 5}').problem.startswith("data must contain")
    assert form(INVOICE).read_value("nothing").problem == "data must be object"


@pytest.mark.parametrize(
    ("reply", "missing"),
    [
        ('{"total": "5", "currency": "EUR"}', False),
        ('{"total": 5, "currency": "EUR", "note": "x"}', False),
        ('{"total": 5}', True),
        ('{"total": null, "currency": "EUR"}', True),
        ('{"total": "", "currency": "EUR"}', True),
        ('{"total": 5, "currency": "unknown"}', True),
        ("The total is 5 EUR.", False),
    ],
)
def test_missing_facts_are_told(reply: str, missing: bool) -> None:
    assert form(INVOICE).read(reply).missing is missing


def test_earlier_schema_goes_on() -> None:
    """A run that was admitted with a keyword of before is resumed, not broken."""
    told = form({"dependencies": {"n": ["m"]}}).read_value({"n": 1})
    assert (told.text, told.problem) == ('{"n": 1}', "")


def test_value_is_wrapped_for_json_mode() -> None:
    schema: Schema = {"$schema": "s", "$defs": {"n": {"type": "integer"}}, "items": {"$ref": "#/$defs/n"}}
    wrapped = json_mode_schema(schema)
    assert wrapped is not None
    assert wrapped["$defs"] == schema["$defs"]
    assert wrapped["properties"] == {WRAPPER: {"items": {"$ref": "#/$defs/n"}}}
    told = form(schema).read(json.dumps({WRAPPER: [1, 2]}))
    assert (told.text, told.problem) == ("[1, 2]", "")
    assert form(schema).read("[1, 2]").text == "[1, 2]"
    assert form(INTEGERS).read(f'{{"{WRAPPER}": [1, "2"]}}').problem == "data[1] must be integer"


def test_objects_stay_as_they_are() -> None:
    assert json_mode_schema(INVOICE) is INVOICE
    assert json_mode_schema({"anyOf": [{"$ref": "#"}, {"type": "null"}]}) is None


def test_values_have_their_places() -> None:
    text = '{"a": "x\\u00e9\\n\\ud83d\\ude00", "b": [1, {"a": true}], "c": -2.50}'
    found = list(scalars(text))
    assert [(value.key, text[value.start : value.end]) for value in found] == [
        ("a", '"x\\u00e9\\n\\ud83d\\ude00"'),
        ("b", "1"),
        ("a", "true"),
        ("c", "-2.50"),
    ]
    assert found[0].text() == "xé\n😀"
    assert [text[at:] for at in found[0].places()][-1].startswith('"')
    assert len(found[0].places()) == len(found[0].text()) + 1


def test_keys_in_other_objects_are_others() -> None:
    assert repeated_key('[{"a": 1}, {"a": {"a": 2}}, "a", "a"]') is None
    assert repeated_key('{"x": {"b": 1, "\\u0062": 2}}') == "b"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (WRITTEN, True),
        ('{"total": 1234.5, "paid": true, "note": null}', True),
        ('{"name": "Café Lumen"}', True),
        ('{"name": "Cafe Umbra"}', False),
        ('{"n": 7}', False),
        ('["EUR"]', True),
        ("[12]", False),
        ('{"paid": true}', False),
    ],
)
def test_values_are_looked_up(answer: str, said: bool) -> None:
    text = "The café lumen took 1,234.50 and 12345678901234567890.10; 123."
    assert is_said_in(answer, text, '{"enum": ["EUR"]}') is said

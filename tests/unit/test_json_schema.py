"""Foreign schemas: what is taken and what is refused by its path, and values held to them in so many steps."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import json
import uuid
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, TypeAdapter

from rlm_worker.errors import InvalidRequest
from rlm_worker.json_schema.patterns import LinearPattern
from rlm_worker.json_schema.schema import JsonSchema, read_schema
from rlm_worker.structured.form import check_schema

INFINITE = float("inf")


def problem(schema: dict[str, object], value: object) -> str:
    return read_schema(schema, "s").problem(value)


def doubled(depth: int, **inner: object) -> dict[str, object]:
    """Definitions of which each refers to the next one twice."""
    two = {n: {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(depth)}
    return {"$defs": {**{f"a{n}": part for n, part in two.items()}, f"a{depth}": inner}, "$ref": "#/$defs/a0"}


def chained(length: int) -> dict[str, object]:
    steps = {f"a{n}": {"$ref": f"#/$defs/a{n + 1}"} for n in range(length)}
    return {"$defs": {**steps, f"a{length}": {"type": "string"}}, "$ref": "#/$defs/a0"}


def deep(depth: int) -> dict[str, object]:
    schema: dict[str, object] = {}
    for _ in range(depth):
        schema = {"items": schema}
    return schema


REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "chained doubling": (doubled(28), "responseSchema.$defs.a"),
    "long chain": (chained(300), "responseSchema.$defs.a"),
    "itself": ({"$ref": "#"}, "responseSchema"),
    "each other": ({"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"not": {"$ref": "#/$defs/a"}}}}, ""),
    "name map": (
        {"properties": {"pattern": {"type": "string"}}, "items": {"$ref": "#/properties"}},
        "responseSchema.items.$ref",
    ),
    "bad pointer": ({"allOf": [{}], "items": {"$ref": "#/allOf/5"}}, "responseSchema.items.$ref"),
    "elsewhere": ({"items": {"$ref": "https://example.com/s"}}, "responseSchema.items.$ref"),
    "anchor": ({"items": {"$ref": "#name"}}, "responseSchema.items.$ref"),
    "dependencies": ({"dependencies": {f"n{n}": ["x"] for n in range(800)}}, "responseSchema.dependencies"),
    "infinite": ({"properties": {"x": {"maximum": INFINITE}}}, "responseSchema.properties.x.maximum"),
    "infinite default": ({"default": [1, -INFINITE]}, "responseSchema.default.1"),
    "not a number": ({"const": float("nan")}, "responseSchema.const"),
    "deep nesting": (deep(100), "responseSchema"),
    "catastrophe": ({"properties": {"x": {"pattern": "(a+)+(?<!b)$"}}}, "responseSchema.properties.x.pattern"),
    "back-reference": ({"pattern": r"(a)\1"}, "responseSchema.pattern"),
    "huge repeat": ({"pattern": "(a{1000}){1000}"}, "responseSchema.pattern"),
    "many repeats": ({"allOf": [{"pattern": "a{999}"}] * 20}, "responseSchema.allOf.10.pattern"),
    "bad name pattern": ({"patternProperties": {"(": {}}}, "responseSchema.patternProperties.("),
    "unknown keyword": ({"properties": {"x": {"minSize": 3}}}, "responseSchema.properties.x.minSize"),
    "unevaluated": ({"unevaluatedProperties": False}, "responseSchema.unevaluatedProperties"),
    "no schema": ({"items": 5}, "responseSchema.items"),
    "old tuple": ({"items": [{}, {}]}, "responseSchema.items"),
    "no type": ({"type": "text"}, "responseSchema.type"),
    "odd type": ({"type": [["string"]]}, "responseSchema.type"),
    "no list": ({"required": "x"}, "responseSchema.required"),
    "negative": ({"minLength": -1}, "responseSchema.minLength"),
    "true as number": ({"maximum": True}, "responseSchema.maximum"),
    "zero divisor": ({"multipleOf": 0}, "responseSchema.multipleOf"),
    "nothing to choose": ({"anyOf": []}, "responseSchema.anyOf"),
    "no names": ({"properties": []}, "responseSchema.properties"),
    "inner identifier": ({"properties": {"x": {"$id": "urn:x"}}}, "responseSchema.properties.x.$id"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusal_has_its_path(name: str) -> None:
    schema, path = REFUSED[name]
    with pytest.raises(InvalidRequest) as refused:
        check_schema(schema)
    assert refused.value.problems[0].path.startswith(path)
    assert len(str(refused.value)) < 400


TAKEN: dict[str, dict[str, object]] = {
    "content": {"type": "string", "contentMediaType": "application/json", "contentEncoding": "base64"},
    "annotations": {"$schema": "x", "$id": "urn:x", "$comment": "c", "title": "t", "examples": [1], "x-order": 2},
    "names like keywords": {"properties": {"$ref": {"type": "string"}, "pattern": {}, "minSize": {}}},
    "huge enum": {"enum": [f"value {n}" for n in range(3_000)]},
    "many choices": {"anyOf": [{"const": n} for n in range(900)]},
    "long description": {"description": "d" * 30_000},
    "any part": {"properties": {"a/b": {"type": "integer"}, "c": {"$ref": "#/properties/a~1b"}}},
    "tree": {"properties": {"children": {"type": "array", "items": {"$ref": "#"}}}},
    "booleans": {"properties": {"a": True, "b": False}},
}


@pytest.mark.parametrize("name", TAKEN)
def test_harmless_is_taken(name: str) -> None:
    check_schema(TAKEN[name])


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: Annotated[int, Field(ge=0, le=9)] = 9


class Dog(BaseModel):
    kind: Literal["dog"]
    name: Annotated[str, Field(min_length=1, max_length=20, pattern=r"^\w+$")]


class Tree(BaseModel):
    value: float | None = None
    children: list[Tree] = []


class Report(BaseModel):
    """Everything that pydantic has a schema for."""

    title: str
    written: dt.datetime
    day: dt.date
    took: dt.timedelta
    price: decimal.Decimal
    rounded: Annotated[decimal.Decimal, Field(max_digits=10, decimal_places=2)]
    identity: uuid.UUID
    colour: Colour
    colours: set[Colour]
    by_name: dict[str, int]
    by_colour: dict[Literal["red", "blue"], list[int]]
    pair: tuple[int, str]
    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]]
    either: int | str | None
    tree: Tree
    data: bytes = b""
    anything: Any = None


REPORT = {
    "title": "t",
    "written": "2026-11-24T08:00:00Z",
    "day": "2026-11-24",
    "took": "PT3S",
    "price": "1.50",
    "rounded": 2.25,
    "identity": str(uuid.UUID(int=7)),
    "colour": "red",
    "colours": ["red", "blue"],
    "by_name": {"x": 1},
    "by_colour": {"red": [1]},
    "pair": [1, "x"],
    "pets": [{"kind": "cat"}, {"kind": "dog", "name": "Rex"}],
    "either": None,
    "tree": {"children": [{"value": 1.5, "children": [{}]}]},
}


@pytest.mark.parametrize("mode", ["validation", "serialization"])
def test_pydantic_schemas_are_taken(mode: Literal["validation", "serialization"]) -> None:
    schema = Report.model_json_schema(mode=mode)
    check_schema(schema)
    known = read_schema(schema, "s")
    written: dict[str, object] = json.loads(Report.model_validate(REPORT).model_dump_json())
    filled = REPORT if mode == "validation" else written
    assert not known.problem(filled)


WRONG = {
    "title": 5,
    "colour": "green",
    "colours": ["red", "red"],
    "by_name": {"x": "1"},
    "by_colour": {"green": []},
    "pair": [1],
    "pets": [{"kind": "dog", "name": "no blanks"}],
    "either": [],
    "tree": {"children": [{"value": 1.5, "children": [{"value": "x"}]}]},
}


@pytest.mark.parametrize("name", WRONG)
def test_pydantic_schemas_are_held(name: str) -> None:
    assert problem(Report.model_json_schema(), REPORT | {name: WRONG[name]}).startswith(f"data.{name}")


def test_other_roots_are_taken() -> None:
    kinds: tuple[Any, ...] = (list[Cat | Dog], dict[str, Tree], Literal["a", 1], Annotated[str, Field(pattern="^a+$")])
    for kind in kinds:
        check_schema(TypeAdapter(kind).json_schema())


def test_decimal_look_ahead_holds() -> None:
    """What other versions of pydantic write for a `Decimal`: an expression that begins by looking ahead."""
    pattern = LinearPattern(r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$")
    assert [text for text in ("", "-", "+.", "1", "-1.5", ".5", "1.5.5", "x", "٣") if pattern.found_in(text)] == [
        *("1", "-1.5", ".5")
    ]
    password = LinearPattern(r"^(?=.*[A-Z])(?=.*\d).{4,}$")
    assert [text for text in ("Aaa1", "aaa1", "Aaaa", "A1") if password.found_in(text)] == ["Aaa1"]


@pytest.mark.parametrize(
    "pattern",
    [
        r"a(?=b)",
        r"(?<=a)b",
        r"(?i)a",
        r"^(?!a)b|c",
        "[^]",
        "[a&&b]",
        "[[a]",
        "(a",
        "a)",
        r"\1",
        r"(?<n>a)\k<n>",
        "a{,2}",
    ],
)
def test_unclear_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError):
        LinearPattern(pattern)


def test_value_doubling_ends() -> None:
    """Each level of the value is held to the next definition twice: 2 to the 40 checks, if nobody counted."""
    two = {f"a{n}": {"properties": {"x": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2}}} for n in range(40)}
    schema: dict[str, object] = {"$defs": {**two, "a40": {}}, "$ref": "#/$defs/a0"}
    value: object = 1
    for _ in range(40):
        value = {"x": value}
    check_schema(schema)
    assert "too large or too deep" in problem(schema, value)


def test_deep_value_ends() -> None:
    schema: dict[str, object] = {"properties": {"c": {"$ref": "#"}}}
    value: object = 1
    for _ in range(60):
        value = {"c": value}
    assert not problem(schema, value)
    for _ in range(60):
        value = {"c": value}
    assert "too large or too deep" in problem(schema, value)


def test_steps_are_a_budget() -> None:
    known: JsonSchema = read_schema({"items": {"type": "integer"}}, "s")
    assert not known.problem([1] * 50, steps=60)
    assert known.problem([1] * 50, steps=40)


def test_large_answer_fits_the_budget() -> None:
    row = {"name": "n", "value": 1.5, "tags": ["a", "b"]}
    schema: dict[str, object] = {
        "$defs": {"row": {"type": "object", "properties": {"name": {"type": "string"}, "tags": {"items": {}}}}},
        "items": {"$ref": "#/$defs/row"},
    }
    assert not problem(schema, [row] * 5_000)


def test_numbers_are_as_written() -> None:
    assert not problem({"multipleOf": 0.1}, 0.3)
    assert problem({"multipleOf": 0.1}, 0.35)
    assert not problem({"multipleOf": 0.01}, 10**400)
    assert problem({"multipleOf": 2}, 10**400 + 1)
    assert not problem({"type": "integer", "maximum": 1e308}, 1.0)
    assert problem({"type": "number"}, True)

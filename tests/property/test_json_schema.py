"""Random schemas and values: the verdict is that of `jsonschema`, and nothing but a refusal comes of any schema."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from rlm_worker.errors import InvalidRequest
from rlm_worker.json_schema.keywords import KEYWORDS
from rlm_worker.json_schema.schema import JsonSchema, read_schema

Schema = dict[str, object] | bool

NAMES = st.sampled_from(["a", "b", "ab", "c"])
NUMBERS = st.integers(-5, 5) | st.sampled_from([0.5, 1.0, -2.5, 1e300, 10**30])
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(alphabet="ab1é😀", max_size=4)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=10
)
COUNTS = st.integers(0, 4) | st.just(2.0)
TYPES = st.sampled_from(["null", "boolean", "number", "integer", "string", "array", "object"])
PATTERNS = st.sampled_from(["^a", "b$", "a.b", "^[ab]+$", "", r"\d", "(a|b)1", "^(?!a)", "^.{2,3}$", "[^a]"])
REFERENCES = st.sampled_from(["#", "#/$defs/a", "#/$defs/b", "#/properties/a", "#/allOf/0"])


def _keywords(inner: st.SearchStrategy[Schema]) -> dict[str, st.SearchStrategy[object]]:
    several, named = st.lists(inner, min_size=1, max_size=3), st.dictionaries(NAMES, inner, max_size=3)
    sizes = ["minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"]
    limits = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]
    return {
        "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
        "enum": st.lists(VALUES, max_size=4),
        "const": VALUES,
        "multipleOf": st.sampled_from([1, 2, 3, 0.5, 0.25]),
        "uniqueItems": st.booleans(),
        "pattern": PATTERNS,
        "required": st.lists(NAMES, max_size=3, unique=True),
        "dependentRequired": st.dictionaries(NAMES, st.lists(NAMES, max_size=2, unique=True), max_size=2),
        "patternProperties": st.dictionaries(PATTERNS, inner, max_size=2),
        "$ref": REFERENCES,
        **dict.fromkeys(sizes, COUNTS),
        **dict.fromkeys(limits, NUMBERS),
        **dict.fromkeys(["allOf", "anyOf", "oneOf", "prefixItems"], several),
        **dict.fromkeys(["properties", "$defs"], named),
        **dict.fromkeys(
            ["items", "additionalProperties", "propertyNames", "not", "if", "then", "else"],
            inner,
        ),
    }


def _schemas(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    keywords = _keywords(inner)
    several = st.lists(st.sampled_from(sorted(keywords)), min_size=1, max_size=4, unique=True)
    return several.flatmap(lambda names: st.fixed_dictionaries({name: keywords[name] for name in names}))


SCHEMAS = st.recursive(st.booleans() | st.fixed_dictionaries({"type": TYPES}), _schemas, max_leaves=8)
DEFINITIONS = st.fixed_dictionaries({"a": SCHEMAS, "b": SCHEMAS})
FIXED = st.fixed_dictionaries({"$defs": DEFINITIONS, "allOf": st.tuples(SCHEMAS).map(list)})


def _taken(schema: dict[str, object]) -> JsonSchema | None:
    try:
        return read_schema(schema, "s")
    except InvalidRequest:
        return None


@settings(max_examples=400)
@given(SCHEMAS | FIXED, VALUES)
def test_verdict_is_the_reference(schema: Schema, value: object) -> None:
    assume(isinstance(schema, dict))
    assert isinstance(schema, dict)
    known = _taken(schema)
    assume(known is not None)
    assert known is not None
    found = known.problem(value)
    assert bool(found) is not Draft202012Validator(schema).is_valid(value), (schema, value, found)


@given(SCHEMAS)
def test_refused_only_for_references(schema: Schema) -> None:
    """Schemas of these keywords that need no reference are all taken."""
    assume(isinstance(schema, dict) and "$ref" not in str(schema))
    assert isinstance(schema, dict)
    read_schema(schema, "s")


ANYTHING = st.recursive(
    SCALARS | st.floats() | TYPES | REFERENCES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(sorted(KEYWORDS)) | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(sorted(KEYWORDS)), ANYTHING, max_size=4), VALUES)
def test_any_schema_is_taken_or_refused(schema: dict[str, object], value: object) -> None:
    with suppress(InvalidRequest):
        assert isinstance(read_schema(schema, "s").problem(value), str)

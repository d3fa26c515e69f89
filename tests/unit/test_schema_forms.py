"""Schemas in the providers' own forms: said where they can be, weaker where not, and by the prompt where neither."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator
from pydantic import BaseModel, ConfigDict

from rlm_worker.adapters.providers.answers import is_exact
from rlm_worker.adapters.providers.chat_shape import ChatShape
from rlm_worker.adapters.providers.failures import Refusal, failure
from rlm_worker.adapters.providers.messages_shape import MessagesShape
from rlm_worker.adapters.providers.schema_forms import anthropic_form, is_strict
from rlm_worker.errors import SchemaRefused, TerminalError
from rlm_worker.messages import Message, ModelRequest
from rlm_worker.models.catalog import Catalog
from tests.property.test_json_schema import FIXED, SCHEMAS, VALUES, Schema

Json = dict[str, Any]


class Line(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    amount: float | None


class Invoice(BaseModel):
    model_config = ConfigDict(extra="forbid")
    lines: list[Line]
    paid: bool


STRICT: Json = Invoice.model_json_schema()
OPEN: Json = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}, "required": ["n"]}
MAP: Json = {"type": "object", "additionalProperties": {"type": "string"}}
RECURSIVE: Json = {
    "type": "object",
    "properties": {"tree": {"$ref": "#/$defs/tree"}},
    "$defs": {"tree": {"anyOf": [{"type": "null"}, {"type": "array", "items": {"$ref": "#/$defs/tree"}}]}},
}


def asked(name: str, schema: Json) -> ModelRequest:
    model = Catalog.standard().find(name)
    assert model is not None
    return ModelRequest(model, (Message("user", "hello"),), 10, response_schema=schema)


@pytest.mark.parametrize(("schema", "strict"), [(STRICT, True), (OPEN, False), (MAP, False), (RECURSIVE, False)])
def test_strict_is_said_where_met(schema: Json, strict: bool) -> None:
    assert is_strict(schema) is strict
    body = ChatShape("openai").body(asked("openai/gpt-5-mini", schema), stream=False)
    form = {"name": "answer", "schema": schema, "strict": strict}
    assert body["response_format"] == {"type": "json_schema", "json_schema": form}


def test_anthropic_is_told_what_it_knows() -> None:
    body = MessagesShape("anthropic").body(asked("anthropic/claude-haiku-4-5", OPEN), stream=False)
    properties = {"n": {"type": "integer"}}
    schema = {"type": "object", "properties": properties, "required": ["n"], "additionalProperties": False}
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": schema}}
    assert anthropic_form(STRICT) == STRICT


@pytest.mark.parametrize("schema", [MAP, RECURSIVE, {"type": "object"}, {}, {"$ref": "#/properties/a"}])
def test_unsaid_schema_goes_by_prompt(schema: Json) -> None:
    body = MessagesShape("anthropic").body(asked("anthropic/claude-haiku-4-5", schema), stream=False)
    assert "output_config" not in body


def test_several_types_are_alternatives() -> None:
    form = anthropic_form({"type": ["array", "null"], "items": {"type": "string", "minLength": 2}, "title": "t"})
    assert form == {"title": "t", "anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]}


@given(SCHEMAS | FIXED, VALUES)
def test_form_is_weaker_or_closed(schema: Schema, value: object) -> None:
    """What fits the schema fits its form too, but for properties that are not named."""
    if not isinstance(schema, dict) or "$ref" in str(schema) or "properties" in str(schema):
        return
    form = anthropic_form(schema)
    if form is not None and Draft202012Validator(schema).is_valid(value):
        assert Draft202012Validator(form).is_valid(value)


@pytest.mark.parametrize(
    ("message", "refused"),
    [
        ("Invalid schema for response_format 'answer'", True),
        ("output_config.format.schema: too complex", True),
        ("messages: first message must use the user role", False),
    ],
)
def test_refused_schema_is_known(message: str, refused: bool) -> None:
    error = failure("openai", 400, Refusal("invalid_request_error", message))
    assert isinstance(error, TerminalError)
    assert (isinstance(error, SchemaRefused), error.work) == (refused, "none")


@pytest.mark.parametrize(
    ("value", "exact"),
    [
        ({"n": [1, 0.1, -123456789012345, 1e300, 123456789012345000000, True, None, "12345678901234567890"]}, True),
        ({"n": 1234567890123456}, False),
        ([0.12345678901234567], False),
        (9007199254740993, False),
    ],
)
def test_long_numbers_are_inexact(value: object, exact: bool) -> None:
    assert is_exact(value) is exact

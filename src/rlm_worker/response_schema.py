"""Whether a final value fits the JSON Schema that a request has asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping

import fastjsonschema

from .errors import InvalidRequest

_PATH = "responseSchema"


def check_schema(schema: Mapping[str, object]) -> None:
    """Raises `InvalidRequest` for what is no JSON Schema, or refers to one elsewhere: a Worker fetches none."""
    if _refers_elsewhere(schema):
        raise InvalidRequest.at(_PATH, "may refer only to its own parts ($ref: '#…')")
    try:
        fastjsonschema.compile(dict(schema))
    except (fastjsonschema.JsonSchemaDefinitionException, TypeError, ValueError, AttributeError, KeyError) as error:
        raise InvalidRequest.at(_PATH, f"is not a JSON Schema: {error}") from None
    except RecursionError:
        raise InvalidRequest.at(_PATH, "is nested too deeply") from None


def accepted_value(value: object, schema: Mapping[str, object] | None) -> tuple[object, str]:
    """A final value, and what is wrong with it; text that is JSON stands for what it says where that fits."""
    if schema is None:
        return value, ""
    problem = _problem(value, schema)
    if problem and isinstance(value, str):
        try:
            parsed = json.loads(value)
        except ValueError:
            return value, problem
        return (value, problem) if _problem(parsed, schema) else (parsed, "")
    return value, problem


def _problem(value: object, schema: Mapping[str, object]) -> str:
    try:
        # Defaults are not filled in: the answer is what the model has given.
        fastjsonschema.validate(dict(schema), value, use_default=False)
    except fastjsonschema.JsonSchemaValueException as error:
        return str(error.message)
    return ""


def _refers_elsewhere(part: object) -> bool:
    if isinstance(part, Mapping):
        target = part.get("$ref")
        if isinstance(target, str) and not target.startswith("#"):
            return True
        return any(_refers_elsewhere(item) for item in part.values())
    return isinstance(part, list) and any(_refers_elsewhere(item) for item in part)

"""Whether a final value fits the JSON Schema that a request has asked for.

Regular expressions in a schema are told to the model and not enforced: matching one against text from a sandbox could
take for ever, and nothing in a Worker can interrupt it.
"""

from __future__ import annotations

from collections.abc import Mapping

import fastjsonschema
from pydantic_core import from_json

from rlm_worker.errors import InvalidRequest

from .code_blocks import fenced_blocks

_PATH = "responseSchema"
_DEEPEST = 24
_NOT_ENFORCED = frozenset({"pattern", "patternProperties", "format"})
_NOT_A_SCHEMA = (fastjsonschema.JsonSchemaDefinitionException, TypeError, ValueError, AttributeError, KeyError)


def check_schema(schema: Mapping[str, object]) -> None:
    """Raises `InvalidRequest` for what is no JSON Schema, or refers to one elsewhere: a Worker fetches none."""
    if _refers_elsewhere(schema):
        raise InvalidRequest.at(_PATH, "may refer only to its own parts ($ref: '#…')")
    try:
        fastjsonschema.compile(_enforced(schema))  # type: ignore[arg-type] # checked by itself
    except _NOT_A_SCHEMA as error:
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
            parsed = from_json(_unfenced(value))
        except ValueError:
            return value, problem
        return (value, problem) if _problem(parsed, schema) else (parsed, "")
    return value, problem


def _unfenced(text: str) -> str:
    blocks = [block.code for block in fenced_blocks(text) if block.label in ("json", "")]
    return blocks[0] if blocks else text


def _problem(value: object, schema: Mapping[str, object]) -> str:
    try:
        # Defaults are not filled in: the answer is what the model has given.
        fastjsonschema.validate(_enforced(schema), value, use_default=False)  # type: ignore[arg-type] # checked
    except fastjsonschema.JsonSchemaValueException as error:
        return str(error.message)
    return ""


def _enforced(schema: object, *, names: bool = False) -> object:
    """The schema without its regular expressions; the names of properties are names, whatever they are."""
    if isinstance(schema, Mapping):
        kept = [key for key in schema if names or key not in _NOT_ENFORCED]
        return {
            key: _enforced(schema[key], names=not names and key in ("properties", "$defs", "definitions"))
            for key in kept
        }
    return [_enforced(item) for item in schema] if isinstance(schema, list) else schema


def _refers_elsewhere(part: object, depth: int = 0) -> bool:
    if depth > _DEEPEST:
        raise InvalidRequest.at(_PATH, "is nested too deeply")
    if isinstance(part, Mapping):
        target = part.get("$ref")
        if isinstance(target, str) and not target.startswith("#"):
            return True
        return any(_refers_elsewhere(item, depth + 1) for item in part.values())
    return isinstance(part, list) and any(_refers_elsewhere(item, depth + 1) for item in part)

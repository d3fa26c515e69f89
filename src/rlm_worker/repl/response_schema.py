"""Whether a final value fits the JSON Schema that a request has asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic_core import from_json

from rlm_worker.errors import InvalidRequest, MalformedBody
from rlm_worker.json_scan import check_depth
from rlm_worker.json_schema.schema import read_schema

from .code_blocks import fenced_blocks

_PATH = "responseSchema"


def check_schema(schema: Mapping[str, object]) -> None:
    """Raises `InvalidRequest` with the path of what is no JSON Schema, or none that can be checked in bounded time."""
    read_schema(schema, _PATH)


def accepted_value(value: object, schema: Mapping[str, object] | None) -> tuple[object, str]:
    """A final value, and what is wrong with it; text that is JSON stands for what it says where that fits."""
    if schema is None:
        return value, ""
    try:
        known = read_schema(schema, _PATH)
    except InvalidRequest:
        return value, ""  # an earlier version has admitted it: its run goes on, and nothing of it is run
    problem = known.problem(value)
    if problem and isinstance(value, str):
        try:
            parsed = _parsed(_unfenced(value))
        except (ValueError, MalformedBody):
            return value, problem
        return (value, problem) if known.problem(parsed) else (parsed, "")
    return value, problem


def _parsed(text: str) -> object:
    """The value of a JSON text; raises `ValueError` for numbers that JSON cannot hold, too."""
    check_depth(text)
    value = from_json(text, allow_inf_nan=False)
    json.dumps(value, allow_nan=False)
    return value


def _unfenced(text: str) -> str:
    blocks = [block.code for block in fenced_blocks(text) if block.label in ("json", "")]
    return blocks[0] if blocks else text

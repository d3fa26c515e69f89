"""JSON Schema of others, checked in a bounded number of steps and never turned into code.

Source: JSON Schema, draft 2020-12 (json-schema.org), core and validation, as far as `keywords` has its keywords:
those that pydantic, zod and the providers' structured outputs write. A keyword beyond these is refused, not passed
over. No library for Python can be held to a budget: `jsonschema` recurses and matches with `re`, `fastjsonschema`
compiles foreign schemas into code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from rlm_worker.errors import InvalidRequest

from .keywords import KEYWORDS
from .nodes import MAX_STEPS, Check, Node, Reader, TooManySteps

_MAX_NESTING = 64


@dataclass(frozen=True, slots=True)
class JsonSchema:
    """A schema that was found to be one."""

    root: Node

    def problem(self, value: object, *, steps: int = MAX_STEPS) -> str:
        """What is wrong with a value, in a sentence for whoever made it; empty where nothing is."""
        try:
            return Check(steps).problem(self.root, value, "data")
        except TooManySteps:
            return "data is too large or too deep to be checked against the schema"


def read_schema(schema: Mapping[str, object], path: str) -> JsonSchema:
    """Reads a schema; raises `InvalidRequest` with the path of what is refused, which begins with `path`."""
    _check_plain(schema, path)
    try:
        return JsonSchema(Reader(KEYWORDS, path).root(schema))
    except TooManySteps:
        raise InvalidRequest.at(path, "is too large to be read") from None


def _check_plain(schema: object, path: str) -> None:
    """JSON has no infinite numbers, though some parsers make them; and nesting has its end."""
    waiting: list[tuple[object, str, int]] = [(schema, path, 0)]
    while waiting:
        part, where, depth = waiting.pop()
        if depth > _MAX_NESTING:
            raise InvalidRequest.at(path, "is nested too deeply")
        if isinstance(part, float) and not math.isfinite(part):
            raise InvalidRequest.at(where, "is not a finite number")
        if isinstance(part, Mapping):
            waiting += [(item, f"{where}.{str(name)[:80]}", depth + 1) for name, item in part.items()]
        elif isinstance(part, list):
            waiting += [(item, f"{where}.{number}", depth + 1) for number, item in enumerate(part)]

"""The schema that a model's JSON mode is given: that of an object, because not every provider takes anything else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rlm_worker.json_scan import member_ranges

# The one property of the object that is put around a value that need not be one.
WRAPPER = "the_answer"
_DEFINITIONS = ("$defs", "definitions")


def json_mode_schema(schema: Mapping[str, object]) -> Mapping[str, object] | None:
    """The schema itself where it is that of an object, else that of an object around it.

    None where its references would point elsewhere then: such a schema goes by the prompt alone.
    """
    if schema.get("type") == "object":
        return schema
    if not all(_is_kept(reference) for reference in _references(schema)):
        return None
    inner = {name: part for name, part in schema.items() if name not in (*_DEFINITIONS, "$schema", "$id")}
    wrapped = {"type": "object", "properties": {WRAPPER: inner}, "required": [WRAPPER], "additionalProperties": False}
    return {**wrapped, **{name: schema[name] for name in _DEFINITIONS if name in schema}}


def unwrapped(text: str, value: object) -> tuple[str, object] | None:
    """What stands within the object that was put around a value, as it was written; None where there is none."""
    if not isinstance(value, Mapping) or value.keys() != {WRAPPER}:
        return None
    body = text.encode()
    ((_, start, end),) = member_ranges(body, 0, len(body))
    return body[start:end].decode(), value[WRAPPER]


def _is_kept(reference: object) -> bool:
    return isinstance(reference, str) and reference.startswith(tuple(f"#/{name}/" for name in _DEFINITIONS))


def _references(schema: object) -> Iterator[object]:
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            if "$ref" in part:
                yield part["$ref"]
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part

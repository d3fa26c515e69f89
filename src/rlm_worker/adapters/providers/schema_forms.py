"""What of a JSON Schema the providers' structured outputs can hold; our own check holds the rest.

Rules as Anthropic's and OpenAI's documentation of structured outputs, and what their SDKs do to schemas, have them
(read in November 2026). A schema that cannot be said there goes by the prompt alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

Schema = Mapping[str, object]

_DEFINITIONS = ("$defs", "definitions")
_WORDS = frozenset({"title", "description"})
_OF_TYPES: Mapping[str, frozenset[str]] = {
    "object": frozenset({"properties", "required", "additionalProperties"}),
    "array": frozenset({"items"}),
}
_OF_SOME_TYPE = frozenset().union(*_OF_TYPES.values())
_STRICT = frozenset(
    {"type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf", "$ref", "pattern"}
    | {"format", "multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems"}
    | {*_WORDS, *_DEFINITIONS}
)
_MAX_NESTING = 64


class _Unsaid(Exception):
    """A schema that this provider's form has no words for."""


def is_strict(schema: Schema) -> bool:
    """Whether OpenAI's strict mode takes it: every property required, nothing beside them, known keywords only."""
    return schema.get("type") == "object" and all(_is_strict(part) for part in _parts(schema))


def anthropic_form(schema: Schema) -> Schema | None:
    """The schema without what Anthropic's output format does not know, which leaves it weaker; None where that fails.

    Objects take what they name and nothing else there: a map of any names cannot be said, nor can recursion.
    """
    try:
        _check_references(schema)
        return _without_unknown(schema)
    except _Unsaid:
        return None


def _is_strict(part: object) -> bool:
    if not isinstance(part, Mapping) or not part.keys() <= _STRICT:
        return False
    if not part.keys() & {"type", "anyOf", "enum", "const", "$ref"}:
        return False
    if part.get("type") == "array":
        return "items" in part
    if part.get("type") != "object":
        return True
    named, required = part.get("properties"), part.get("required")
    whole = isinstance(named, Mapping) and isinstance(required, list) and set(required) == set(named)
    return whole and part.get("additionalProperties") is False


def _parts(schema: object) -> Iterator[object]:
    """A schema, and those that lie in it."""
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        yield part
        if isinstance(part, Mapping):
            for name in ("properties", *_DEFINITIONS):
                named = part.get(name)
                waiting += named.values() if isinstance(named, Mapping) else []
            several = part.get("anyOf")
            waiting += several if isinstance(several, list) else []
            waiting += [part["items"]] if "items" in part else []


def _without_unknown(part: object, depth: int = 0) -> dict[str, object]:
    if not isinstance(part, Mapping) or depth > _MAX_NESTING:
        raise _Unsaid
    if {"allOf", "patternProperties", "prefixItems"} & part.keys():
        raise _Unsaid
    kept = {name: part[name] for name in (*sorted(_WORDS), "enum", "const", "$ref") if name in part}
    for name in _DEFINITIONS:
        if name in part:
            kept[name] = _each(part[name], depth)
    either = part.get("anyOf", part.get("oneOf"))
    kind = part.get("type")
    if isinstance(kind, list):
        either = [{"type": one, **_fit_for(part, str(one))} for one in kind]
    elif either is None and kind is not None:
        kept |= {"type": kind, **_typed(part, str(kind), depth)}
    if either is not None:
        kept["anyOf"] = [_without_unknown(one, depth + 1) for one in _listed(either)]
    if not kept.keys() & {"type", "anyOf", "enum", "const", "$ref"}:
        raise _Unsaid
    return kept


def _typed(part: Schema, kind: str, depth: int) -> dict[str, object]:
    """What belongs to a type: of objects their properties, and no others; of arrays their items."""
    if kind == "array" and "items" in part:
        return {"items": _without_unknown(part["items"], depth + 1)}
    if kind != "object":
        return {}
    if not part.get("properties") or part.get("additionalProperties", False) is not False:
        raise _Unsaid
    required = {"required": part["required"]} if "required" in part else {}
    return {"properties": _each(part["properties"], depth), **required, "additionalProperties": False}


def _fit_for(part: Schema, kind: str) -> dict[str, object]:
    """What of a schema for several types is for one of them."""
    own = _OF_TYPES.get(kind, frozenset())
    outside = {"type", *_WORDS, *_DEFINITIONS, "enum", "const"} | (_OF_SOME_TYPE - own)
    return {name: value for name, value in part.items() if name not in outside}


def _each(named: object, depth: int) -> dict[str, object]:
    if not isinstance(named, Mapping):
        raise _Unsaid
    return {name: _without_unknown(part, depth + 1) for name, part in named.items()}


def _listed(several: object) -> list[object]:
    if not isinstance(several, list):
        raise _Unsaid
    return several


def _check_references(schema: Schema) -> None:
    """Raises `_Unsaid` for a reference to anything but a definition, and for definitions that come back to one."""
    known = {f"#/{kind}/{name}": part for kind in _DEFINITIONS for name, part in _named(schema, kind)}
    ways = {reference: set(_references(part)) for reference, part in known.items()}
    if not set(_references({name: part for name, part in schema.items() if name not in _DEFINITIONS})) <= ways.keys():
        raise _Unsaid
    while ends := [reference for reference, way in ways.items() if not way & ways.keys()]:
        ways = {reference: way for reference, way in ways.items() if reference not in ends}
    if ways:
        raise _Unsaid


def _named(schema: Schema, kind: str) -> Iterator[tuple[str, object]]:
    named = schema.get(kind)
    return iter(named.items() if isinstance(named, Mapping) else ())


def _references(schema: object) -> Iterator[str]:
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            if "$ref" in part:
                yield str(part["$ref"])
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part

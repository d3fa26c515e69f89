"""What the providers' structured outputs refuse of a schema, as their documentation has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

_ANTHROPIC_LACKS = frozenset(
    {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "maxItems"}
    | {"patternProperties", "propertyNames", "minProperties", "maxProperties", "uniqueItems", "not", "if", "oneOf"}
)
_OPENAI_LACKS = frozenset(
    {"allOf", "oneOf", "not", "if", "then", "else", "dependentRequired", "patternProperties", "propertyNames"}
    | {"uniqueItems", "default", "prefixItems", "minProperties", "maxProperties"}
)


def anthropic_problem(output_config: object) -> str:
    """What is wrong with an `output_config`; empty where nothing is."""
    form = _mapping(_mapping(output_config).get("format"))
    if not form:
        return ""
    if form.keys() != {"type", "schema"} or form["type"] != "json_schema":
        return "output_config.format: must be {type: json_schema, schema}"
    for part in _parts(form["schema"]):
        if lacking := sorted(_ANTHROPIC_LACKS & part.keys()):
            return f"output_config.format.schema: property '{lacking[0]}' is not supported"
        if part.get("type") == "object" and part.get("additionalProperties") is not False:
            return "output_config.format.schema: for 'object' type, 'additionalProperties' must be explicitly false"
    return ""


def openai_problem(response_format: object) -> str:
    """What is wrong with a `response_format`; empty where nothing is."""
    form = _mapping(response_format)
    if form.get("type") != "json_schema":
        return ""
    told = _mapping(form.get("json_schema"))
    if not told.get("name") or not isinstance(told.get("schema"), Mapping):
        return "Missing required parameter: 'response_format.json_schema'"
    if told.get("strict") is not True:
        return ""
    for part in _parts(told["schema"]):
        whole = set(_mapping(part.get("properties"))) == set(_list(part.get("required")))
        closed = part.get("type") != "object" or (part.get("additionalProperties") is False and whole)
        if not closed or _OPENAI_LACKS & part.keys():
            return f"Invalid schema for response_format '{told['name']}'"
    return ""


def _parts(schema: object) -> Iterator[Mapping[str, object]]:
    """A schema, and those in it."""
    part = _mapping(schema)
    if not part:
        return
    yield part
    for name in ("properties", "$defs", "definitions"):
        for inner in _mapping(part.get(name)).values():
            yield from _parts(inner)
    for inner in (*_list(part.get("anyOf")), part.get("items")):
        yield from _parts(inner)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []

"""What each keyword of JSON Schema means: how its argument is read, and the rule that comes of it.

Source: JSON Schema, draft 2020-12. Strings are measured in characters (6.3), 1.0 is an integer (6.1.1), numbers are
compared as they are written, so that 0.3 is a multiple of 0.1. `format` and the like are for readers (7 and 9).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sized
from fractions import Fraction

from .nodes import Check, Keyword, Node, Place, Rule
from .patterns import MAX_WEIGHT, LinearPattern

_MAX_SHOWN = 1_000
_NAMES_PER_STEP = 16
_PATTERN_WORK_PER_STEP = 1_000

Number = int | float


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: object) -> bool:
    return _is_number(value) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))


_TYPES: Mapping[str, Callable[[object], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "number": _is_number,
    "integer": _is_integer,
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, Mapping),
}


# Arguments


def _number(place: Place, argument: object) -> Number:
    if not _is_number(argument):
        raise place.refusal("must be a number")
    assert isinstance(argument, int | float)
    return argument


def _count(place: Place, argument: object) -> int:
    if not _is_integer(argument) or (number := int(_number(place, argument))) < 0:
        raise place.refusal("must be a whole number of 0 or more")
    return number


def _names(place: Place, argument: object, *names: str) -> list[str]:
    if not isinstance(argument, list) or not all(isinstance(name, str) for name in argument):
        raise place.refusal("must be a list of names", *names)
    return argument


def _named(place: Place, argument: object) -> Mapping[str, object]:
    if not isinstance(argument, Mapping):
        raise place.refusal("must be an object")
    return argument


def _several(place: Place, argument: object) -> list[object]:
    if not isinstance(argument, list) or not argument:
        raise place.refusal("must be a list of schemas")
    return argument


def _pattern(place: Place, argument: object, *names: str) -> LinearPattern:
    if not isinstance(argument, str):
        raise place.refusal("must be a regular expression", *names)
    try:
        pattern = LinearPattern(argument)
    except ValueError as error:
        raise place.refusal(str(error), *names) from None
    place.reader.pattern_weight += pattern.weight
    if place.reader.pattern_weight > MAX_WEIGHT:
        raise place.refusal("is one regular expression too many: together they repeat too much", *names)
    return pattern


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def _within(where: str, name: str) -> str:
    return f"{where}.{name[:80]}"


# Any value


def _type(place: Place, argument: object) -> Rule:
    names = [argument] if isinstance(argument, str) else argument
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name in _TYPES for name in names):
        raise place.refusal(f"must be one of {', '.join(_TYPES)}, or a list of them")
    tests = [_TYPES[str(name)] for name in names]
    message = f"must be {' or '.join(names)}"
    return lambda _check, value, where: "" if any(test(value) for test in tests) else f"{where} {message}"


def _enum(place: Place, argument: object) -> Rule:
    if not isinstance(argument, list):
        raise place.refusal("must be a list of values")
    reader = Check()
    known, message = {reader.identity(value) for value in argument}, f"must be one of {_shown(argument)}"
    return lambda check, value, where: "" if check.identity(value) in known else f"{where} {message}"


def _const(_place: Place, argument: object) -> Rule:
    known, message = Check().identity(argument), f"must be same as const definition: {_shown(argument)}"
    return lambda check, value, where: "" if check.identity(value) == known else f"{where} {message}"


def _all_of(place: Place, argument: object) -> Rule:
    nodes = [place.applied(part, str(number)) for number, part in enumerate(_several(place, argument))]

    def rule(check: Check, value: object, where: str) -> str:
        for node in nodes:
            if problem := check.problem(node, value, where):
                return problem
        return ""

    return rule


def _fitting(check: Check, nodes: list[Node], value: object, where: str) -> int:
    return sum([not check.problem(node, value, where) for node in nodes])


def _any_of(place: Place, argument: object) -> Rule:
    nodes = [place.applied(part, str(number)) for number, part in enumerate(_several(place, argument))]

    def rule(check: Check, value: object, where: str) -> str:
        for node in nodes:
            if not check.problem(node, value, where):
                return ""
        return f"{where} cannot be validated by any definition"

    return rule


def _one_of(place: Place, argument: object) -> Rule:
    nodes = [place.applied(part, str(number)) for number, part in enumerate(_several(place, argument))]

    def rule(check: Check, value: object, where: str) -> str:
        count = _fitting(check, nodes, value, where)
        return "" if count == 1 else f"{where} must be valid exactly by one definition ({count} matches found)"

    return rule


def _not(place: Place, argument: object) -> Rule:
    node = place.applied(argument)

    def rule(check: Check, value: object, where: str) -> str:
        return "" if check.problem(node, value, where) else f"{where} must NOT match a disallowed definition"

    return rule


def _if(place: Place, argument: object) -> Rule:
    condition = place.applied(argument)
    branches = {name: _branch(place, name) for name in ("then", "else") if name in place.siblings}

    def rule(check: Check, value: object, where: str) -> str:
        branch = branches.get("else" if check.problem(condition, value, where) else "then")
        return check.problem(branch, value, where) if branch else ""

    return rule


def _branch(place: Place, name: str) -> Node:
    node = place.reader.read(place.siblings[name], (*place.pointer[:-1], name))
    place.node.applied.append(node)
    return node


def _unconditional(place: Place, argument: object) -> None:
    """`then` and `else` are read with their `if`; without one they are a schema that nothing is held to."""
    if "if" not in place.siblings:
        place.schema(argument)


def _ref(place: Place, argument: object) -> Rule:
    if not isinstance(argument, str):
        raise place.refusal("must be text")
    target, nodes = place.reader.refer(place, argument), place.reader.nodes
    return lambda check, value, where: check.problem(nodes[target], value, where)


def _definitions(place: Place, argument: object) -> None:
    for name, part in _named(place, argument).items():
        place.schema(part, name)


def _identifier(place: Place, _argument: object) -> None:
    if len(place.pointer) > 1:
        raise place.refusal("is supported at the top only")


# Numbers


def _compared(fits: Callable[[Number, Number], bool], words: str) -> Keyword:
    def keyword(place: Place, argument: object) -> Rule:
        limit = _number(place, argument)

        def rule(_check: Check, value: object, where: str) -> str:
            if not isinstance(value, int | float) or isinstance(value, bool) or fits(value, limit):
                return ""
            return f"{where} must be {words} {limit}"

        return rule

    return keyword


def _exact(number: Number) -> Fraction:
    return Fraction(number) if isinstance(number, int) else Fraction(repr(number))


def _multiple_of(place: Place, argument: object) -> Rule:
    if (divisor := _number(place, argument)) <= 0:
        raise place.refusal("must be a number above 0")
    exact = _exact(divisor)

    def rule(_check: Check, value: object, where: str) -> str:
        if not isinstance(value, int | float) or isinstance(value, bool):
            return ""
        fits = math.isfinite(value) if isinstance(value, float) else True
        return "" if fits and _exact(value) % exact == 0 else f"{where} must be multiple of {divisor}"

    return rule


# Sizes


def _sized(kind: type[Sized], fits: Callable[[int, int], bool], words: str) -> Keyword:
    def keyword(place: Place, argument: object) -> Rule:
        limit = _count(place, argument)

        def rule(_check: Check, value: object, where: str) -> str:
            return "" if not isinstance(value, kind) or fits(len(value), limit) else f"{where} {words.format(limit)}"

        return rule

    return keyword


def _at_least(value: Number, limit: Number) -> bool:
    return value >= limit


def _at_most(value: Number, limit: Number) -> bool:
    return value <= limit


# Strings


def _matches(check: Check, pattern: LinearPattern, text: str) -> bool:
    check.spend(1 + pattern.weight * len(text) // _PATTERN_WORK_PER_STEP)
    return pattern.found_in(text)


def _pattern_rule(place: Place, argument: object) -> Rule:
    pattern = _pattern(place, argument)

    def rule(check: Check, value: object, where: str) -> str:
        if not isinstance(value, str):
            return ""
        return "" if _matches(check, pattern, value) else f"{where} must match pattern {pattern.pattern}"

    return rule


# Arrays


def _unique_items(place: Place, argument: object) -> Rule | None:
    if not isinstance(argument, bool):
        raise place.refusal("must be true or false")

    def rule(check: Check, value: object, where: str) -> str:
        if not isinstance(value, list) or len({check.identity(item) for item in value}) == len(value):
            return ""
        return f"{where} must contain unique items"

    return rule if argument else None


def _prefix_items(place: Place, argument: object) -> Rule:
    nodes = [place.schema(part, str(number)) for number, part in enumerate(_several(place, argument))]

    def rule(check: Check, value: object, where: str) -> str:
        for number, (node, item) in enumerate(zip(nodes, value if isinstance(value, list) else [], strict=False)):
            if problem := check.problem(node, item, f"{where}[{number}]"):
                return problem
        return ""

    return rule


def _items(place: Place, argument: object) -> Rule:
    if isinstance(argument, list):
        raise place.refusal("must be one schema; a list of them is prefixItems")
    node, before = place.schema(argument), place.siblings.get("prefixItems", [])
    first = len(before) if isinstance(before, list) else 0

    def rule(check: Check, value: object, where: str) -> str:
        items = value if isinstance(value, list) else []
        for number in range(first, len(items)):
            if problem := check.problem(node, items[number], f"{where}[{number}]"):
                return problem
        return ""

    return rule


# Objects


def _required(place: Place, argument: object) -> Rule:
    names = _names(place, argument)

    def rule(check: Check, value: object, where: str) -> str:
        if not isinstance(value, Mapping):
            return ""
        check.spend(len(names) // _NAMES_PER_STEP)
        missing = [name for name in names if name not in value]
        return f"{where} must contain {_shown(missing)} properties" if missing else ""

    return rule


def _dependent_required(place: Place, argument: object) -> Rule:
    needed = {name: _names(place, names, name) for name, names in _named(place, argument).items()}

    def rule(check: Check, value: object, where: str) -> str:
        for name, names in needed.items() if isinstance(value, Mapping) else ():
            check.spend(1 + len(names) // _NAMES_PER_STEP)
            missing = [other for other in names if other not in value] if name in value else []  # type: ignore[operator]
            if missing:
                return f"{where} missing dependency {_shown(missing)} for {name}"
        return ""

    return rule


def _properties(place: Place, argument: object) -> Rule:
    nodes = {name: place.schema(part, name) for name, part in _named(place, argument).items()}

    def rule(check: Check, value: object, where: str) -> str:
        if not isinstance(value, Mapping):
            return ""
        check.spend(len(nodes) // _NAMES_PER_STEP)
        for name, node in nodes.items():
            if name in value and (problem := check.problem(node, value[name], _within(where, name))):
                return problem
        return ""

    return rule


def _pattern_properties(place: Place, argument: object) -> Rule:
    parts = _named(place, argument)
    nodes = [(_pattern(place, name, name), place.schema(part, name)) for name, part in parts.items()]

    def rule(check: Check, value: object, where: str) -> str:
        for name, item in value.items() if isinstance(value, Mapping) else ():
            for pattern, node in nodes:
                if _matches(check, pattern, name) and (problem := check.problem(node, item, _within(where, name))):
                    return problem
        return ""

    return rule


def _additional_properties(place: Place, argument: object) -> Rule:
    node = place.schema(argument)
    named, patterns = place.siblings.get("properties", {}), place.siblings.get("patternProperties", {})
    own = frozenset(named) if isinstance(named, Mapping) else frozenset()
    # Read a second time where they stand, which is where they are refused too.
    matched = [LinearPattern(pattern) for pattern in patterns] if isinstance(patterns, Mapping) else []

    def rule(check: Check, value: object, where: str) -> str:
        if not isinstance(value, Mapping):
            return ""
        check.spend(len(value) // _NAMES_PER_STEP)
        rest = [name for name in value if name not in own]
        rest = [name for name in rest if not any(_matches(check, pattern, name) for pattern in matched)]
        if argument is False:
            return f"{where} must not contain {{{_shown(str(rest)[1:-1])}}} properties" if rest else ""
        for name in rest:
            if problem := check.problem(node, value[name], _within(where, name)):
                return problem
        return ""

    return rule


def _property_names(place: Place, argument: object) -> Rule:
    node = place.schema(argument)

    def rule(check: Check, value: object, where: str) -> str:
        for name in value if isinstance(value, Mapping) else ():
            if check.problem(node, name, where):
                return f"{where} must be named by propertyName definition"
        return ""

    return rule


# In the order in which they are looked at. None: for readers, and true of any value.
KEYWORDS: Mapping[str, Keyword | None] = {
    "$ref": _ref,
    "type": _type,
    "enum": _enum,
    "const": _const,
    "allOf": _all_of,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "not": _not,
    "if": _if,
    "then": _unconditional,
    "else": _unconditional,
    "minLength": _sized(str, _at_least, "must be longer than or equal to {} characters"),
    "maxLength": _sized(str, _at_most, "must be shorter than or equal to {} characters"),
    "pattern": _pattern_rule,
    "minimum": _compared(_at_least, "bigger than or equal to"),
    "maximum": _compared(_at_most, "smaller than or equal to"),
    "exclusiveMinimum": _compared(lambda value, limit: value > limit, "bigger than"),
    "exclusiveMaximum": _compared(lambda value, limit: value < limit, "smaller than"),
    "multipleOf": _multiple_of,
    "minItems": _sized(list, _at_least, "must contain at least {} items"),
    "maxItems": _sized(list, _at_most, "must contain less than or equal to {} items"),
    "uniqueItems": _unique_items,
    "prefixItems": _prefix_items,
    "items": _items,
    "minProperties": _sized(dict, _at_least, "must contain at least {} properties"),
    "maxProperties": _sized(dict, _at_most, "must contain less than or equal to {} properties"),
    "required": _required,
    "dependentRequired": _dependent_required,
    "properties": _properties,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "propertyNames": _property_names,
    "$defs": _definitions,
    "definitions": _definitions,
    "$id": _identifier,
    **dict.fromkeys(
        (
            *("$schema", "$comment", "title", "description", "default", "example", "examples", "deprecated"),
            *("readOnly", "writeOnly", "format", "contentEncoding", "contentMediaType", "contentSchema"),
            "discriminator",
        )
    ),
}

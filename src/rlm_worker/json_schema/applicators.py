"""Keywords that hold schemas: for the same value, or for what lies in it. The applicator vocabulary, draft 2020-12."""

from __future__ import annotations

from collections.abc import Mapping

from .arguments import object_of, pattern_of, schemas_of
from .nodes import NAMES_PER_STEP, Check, Node, Place, Rule, shown, within
from .patterns import LinearPattern, matches


def all_of(place: Place, argument: object) -> Rule:
    nodes = [place.applied(part, str(number)) for number, part in enumerate(schemas_of(place, argument))]

    def rule(check: Check, value: object, where: str) -> str:
        for node in nodes:
            if problem := check.problem(node, value, where):
                return problem
        return ""

    return rule


def _fitting(check: Check, nodes: list[Node], value: object, where: str) -> int:
    return sum([not check.problem(node, value, where) for node in nodes])


def any_of(place: Place, argument: object) -> Rule:
    nodes = [place.applied(part, str(number)) for number, part in enumerate(schemas_of(place, argument))]

    def rule(check: Check, value: object, where: str) -> str:
        for node in nodes:
            if not check.problem(node, value, where):
                return ""
        return f"{where} cannot be validated by any definition"

    return rule


def one_of(place: Place, argument: object) -> Rule:
    nodes = [place.applied(part, str(number)) for number, part in enumerate(schemas_of(place, argument))]

    def rule(check: Check, value: object, where: str) -> str:
        count = _fitting(check, nodes, value, where)
        return "" if count == 1 else f"{where} must be valid exactly by one definition ({count} matches found)"

    return rule


def not_(place: Place, argument: object) -> Rule:
    node = place.applied(argument)

    def rule(check: Check, value: object, where: str) -> str:
        return "" if check.problem(node, value, where) else f"{where} must NOT match a disallowed definition"

    return rule


def if_(place: Place, argument: object) -> Rule:
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


def unconditional(place: Place, argument: object) -> None:
    """`then` and `else` are read with their `if`; without one they are a schema that nothing is held to."""
    if "if" not in place.siblings:
        place.schema(argument)


def prefix_items(place: Place, argument: object) -> Rule:
    nodes = [place.schema(part, str(number)) for number, part in enumerate(schemas_of(place, argument))]

    def rule(check: Check, value: object, where: str) -> str:
        for number, (node, item) in enumerate(zip(nodes, value if isinstance(value, list) else [], strict=False)):
            if problem := check.problem(node, item, f"{where}[{number}]"):
                return problem
        return ""

    return rule


def items(place: Place, argument: object) -> Rule:
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


def properties(place: Place, argument: object) -> Rule:
    nodes = {name: place.schema(part, name) for name, part in object_of(place, argument).items()}

    def rule(check: Check, value: object, where: str) -> str:
        if not isinstance(value, Mapping):
            return ""
        check.spend(len(nodes) // NAMES_PER_STEP)
        for name, node in nodes.items():
            if name in value and (problem := check.problem(node, value[name], within(where, name))):
                return problem
        return ""

    return rule


def pattern_properties(place: Place, argument: object) -> Rule:
    parts = object_of(place, argument)
    nodes = [(pattern_of(place, name, name), place.schema(part, name)) for name, part in parts.items()]

    def rule(check: Check, value: object, where: str) -> str:
        for name, item in value.items() if isinstance(value, Mapping) else ():
            for pattern, node in nodes:
                if matches(check, pattern, name) and (problem := check.problem(node, item, within(where, name))):
                    return problem
        return ""

    return rule


def additional_properties(place: Place, argument: object) -> Rule:
    node = place.schema(argument)
    named, patterns = place.siblings.get("properties", {}), place.siblings.get("patternProperties", {})
    own = frozenset(named) if isinstance(named, Mapping) else frozenset()
    # Read a second time where they stand, which is where they are refused too.
    matched = [LinearPattern(pattern) for pattern in patterns] if isinstance(patterns, Mapping) else []

    def rule(check: Check, value: object, where: str) -> str:
        if not isinstance(value, Mapping):
            return ""
        check.spend(len(value) // NAMES_PER_STEP)
        rest = [name for name in value if name not in own]
        rest = [name for name in rest if not any(matches(check, pattern, name) for pattern in matched)]
        if argument is False:
            return f"{where} must not contain {{{shown(str(rest)[1:-1])}}} properties" if rest else ""
        for name in rest:
            if problem := check.problem(node, value[name], within(where, name)):
                return problem
        return ""

    return rule


def property_names(place: Place, argument: object) -> Rule:
    node = place.schema(argument)

    def rule(check: Check, value: object, where: str) -> str:
        for name in value if isinstance(value, Mapping) else ():
            if check.problem(node, name, where):
                return f"{where} must be named by propertyName definition"
        return ""

    return rule

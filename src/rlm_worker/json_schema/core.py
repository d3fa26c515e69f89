"""Keywords that name schemas and refer to them: the core vocabulary, draft 2020-12."""

from __future__ import annotations

from .arguments import object_of
from .nodes import Place, Rule


def ref(place: Place, argument: object) -> Rule:
    if not isinstance(argument, str):
        raise place.refusal("must be text")
    target, nodes = place.reader.refer(place, argument), place.reader.nodes
    return lambda check, value, where: check.problem(nodes[target], value, where)


def definitions(place: Place, argument: object) -> None:
    for name, part in object_of(place, argument).items():
        place.schema(part, name)


def identifier(place: Place, _argument: object) -> None:
    if len(place.pointer) > 1:
        raise place.refusal("is supported at the top only")

"""Schemas as they are read: each a list of rules, in places that `$ref` can name; and the check of one value.

What a keyword means stands in `keywords`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from rlm_worker.errors import InvalidRequest

MAX_STEPS = 250_000
# Schemas for one and the same value, below each other and in all; and schemas that are being checked at once.
_MAX_HEIGHT, _MAX_APPLIED, _MAX_AT_ONCE = 24, 2_000, 160
_MAX_NAME = 80
_MAX_SHOWN = 1_000
# Names that are compared at the cost of one step.
NAMES_PER_STEP = 16

Pointer = tuple[str, ...]
Rule = Callable[["Check", object, str], str]
Keyword = Callable[["Place", object], Rule | None]


@dataclass(slots=True, eq=False)
class Node:
    """One schema; `applied` are the schemas that it holds its own value to. A rule says what is wrong, or nothing."""

    pointer: Pointer
    rules: list[Rule] = field(default_factory=list)
    applied: list[Node] = field(default_factory=list)


class TooManySteps(Exception):
    """A value takes more work to check than it may."""


@dataclass(slots=True)
class Check:
    """The check of one value within a number of steps; raises `TooManySteps`."""

    steps: int = MAX_STEPS
    _at_once: int = 0

    def problem(self, node: Node, value: object, where: str) -> str:
        """What is wrong with a value by one schema; empty where nothing is."""
        self.spend(1)
        if self._at_once >= _MAX_AT_ONCE:
            raise TooManySteps
        self._at_once += 1
        for rule in node.rules:
            if problem := rule(self, value, where):
                break
        else:
            problem = ""
        self._at_once -= 1
        return problem

    def spend(self, steps: int) -> None:
        self.steps -= steps
        if self.steps < 0:
            raise TooManySteps

    def identity(self, value: object) -> object:
        """What is the same for values that are equal as JSON: 1 and 1.0 are, 1 and true are not."""
        self.spend(1)
        if isinstance(value, bool) or value is None:
            return ("constant", value)
        if isinstance(value, Mapping):
            return ("object", frozenset((name, self.identity(item)) for name, item in value.items()))
        if isinstance(value, list):
            return ("array", tuple([self.identity(item) for item in value]))
        return value


@dataclass(frozen=True, slots=True)
class Place:
    """Where a keyword stands, and the schema that it belongs to."""

    reader: Reader
    node: Node
    siblings: Mapping[str, object]
    pointer: Pointer

    def refusal(self, message: str, *names: str) -> InvalidRequest:
        return self.reader.refusal((*self.pointer, *names), message)

    def schema(self, part: object, *names: str) -> Node:
        """A schema within this keyword, for parts of the value."""
        return self.reader.read(part, (*self.pointer, *names))

    def applied(self, part: object, *names: str) -> Node:
        """A schema within this keyword, for the same value."""
        node = self.schema(part, *names)
        self.node.applied.append(node)
        return node


class Reader:
    """Reads a schema with all that lies in it; raises `InvalidRequest` with the path of what is refused."""

    def __init__(self, keywords: Mapping[str, Keyword | None], path: str) -> None:
        self.keywords = keywords
        self.path = path
        self.nodes: dict[Pointer, Node] = {}
        self.pattern_weight = 0
        self._references: list[tuple[Place, Pointer]] = []

    def root(self, schema: Mapping[str, object]) -> Node:
        node = self.read(schema, ())
        for place, target in self._references:
            if target not in self.nodes:
                raise place.refusal("refers to nothing that is a schema")
            place.node.applied.append(self.nodes[target])
        self._check_cost()
        return node

    def read(self, schema: object, pointer: Pointer) -> Node:
        node = self.nodes[pointer] = Node(pointer)
        if isinstance(schema, bool):
            node.rules += [] if schema else [lambda _check, _value, where: f"{where} must not be there"]
            return node
        if not isinstance(schema, Mapping):
            raise self.refusal(pointer, "is not a JSON Schema: it must be an object, true or false")
        for name in schema:
            if name not in self.keywords and not name.startswith("x-"):
                raise self.refusal((*pointer, name), "is a keyword of JSON Schema that is not supported")
        for name, keyword in self.keywords.items():
            if keyword is not None and name in schema:
                rule = keyword(Place(self, node, schema, (*pointer, name)), schema[name])
                node.rules += [rule] if rule else []
        return node

    def refer(self, place: Place, reference: str) -> Pointer:
        """The place that a `$ref` names; that there is a schema is seen once all are read."""
        if not reference.startswith("#"):
            raise place.refusal("may refer only to its own parts ('#…')")
        parts = unquote(reference[1:]).split("/")
        if parts[0]:
            raise place.refusal("may refer only to its own parts ('#/…'): anchors are not supported")
        target = tuple(part.replace("~1", "/").replace("~0", "~") for part in parts[1:])
        self._references.append((place, target))
        return target

    def refusal(self, pointer: Pointer, message: str) -> InvalidRequest:
        names = [name if len(name) <= _MAX_NAME else f"{name[:_MAX_NAME]}…" for name in pointer]
        return InvalidRequest.at(".".join((self.path, *names)), message)

    def _check_cost(self) -> None:
        """Refuses schemas that hold a value to themselves without end, or to too many others."""
        costs: dict[Node, tuple[int, int]] = {}
        for node in self.nodes.values():
            self._cost(node, costs, [])

    def _cost(self, node: Node, costs: dict[Node, tuple[int, int]], above: list[Node]) -> tuple[int, int]:
        """How many schemas a value is held to by this one, and how many below each other."""
        if node in costs:
            return costs[node]
        if node in above:
            raise self.refusal(node.pointer, "refers to itself without end")
        if len(above) > _MAX_HEIGHT:
            raise self.refusal(node.pointer, "refers from schema to schema too often")
        below = [self._cost(other, costs, [*above, node]) for other in node.applied]
        count, height = 1 + sum(cost for cost, _ in below), 1 + max((depth for _, depth in below), default=0)
        if count > _MAX_APPLIED or height > _MAX_HEIGHT:
            raise self.refusal(node.pointer, f"holds one value to more than {_MAX_APPLIED:,} schemas")
        costs[node] = count, height
        return costs[node]


def shown(value: object) -> str:
    """A value in a message, cut where it is long."""
    text = str(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def within(where: str, name: str) -> str:
    """Where a member of an object lies."""
    return f"{where}.{name[:_MAX_NAME]}"

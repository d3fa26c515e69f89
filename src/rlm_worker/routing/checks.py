"""What is wrong with rules, each with the path of its field and the sentence that mends it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from rlm_worker.errors import FieldProblem
from rlm_worker.models.catalog import Catalog
from rlm_worker.wire.routing import RoutingRule, RuleChoice, RuleConditions

from .rules import covers


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What rules are held to: the models, whether there are sandboxes, and the names of all keys where they are known.

    A caller's own rules may not look at `key`: they are asked with one.
    """

    catalog: Catalog
    has_sandbox: bool = True
    keys: Collection[str] | None = None
    of_caller: bool = False


def problems_of(rules: Sequence[RoutingRule], path: str, around: Surroundings) -> Iterator[FieldProblem]:
    """Everything that is wrong; `path` leads to the list."""
    names: dict[str, int] = {}
    for number, rule in enumerate(rules):
        here = f"{path}.{number}" if path else str(number)
        yield from _conditions(rule.when, f"{here}.when", around)
        yield from _choice(rule.use, f"{here}.use", around)
        yield from _strategies(rule, f"{here}.use.strategy")
        if rule.name is not None and names.setdefault(rule.name, number) != number:
            yield FieldProblem(f"{here}.name", f"is the name of rule {names[rule.name]} too")
        broader = next((other for other in range(number) if covers(rules[other].when, rule.when)), None)
        if broader is not None:
            yield FieldProblem(here, f"can never hold: rule {broader} holds wherever it would, and comes first")


def _conditions(when: RuleConditions, path: str, around: Surroundings) -> Iterator[FieldProblem]:
    for name in ("strategy", "task", "language", "key"):
        if getattr(when, name) == []:
            yield FieldProblem(f"{path}.{name}", "is empty, so the rule can never hold")
    if when.key is None:
        return
    if around.of_caller:
        yield FieldProblem(f"{path}.key", "is for the deployment's own rules")
    elif around.keys is not None:
        named = [when.key] if isinstance(when.key, str) else when.key
        known = ", ".join(sorted(around.keys)) or "none"
        for name in named:
            if name not in around.keys:
                yield FieldProblem(f"{path}.key", f"there is no key {name!r}; there is {known}")


def _choice(use: RuleChoice, path: str, around: Surroundings) -> Iterator[FieldProblem]:
    if use.strategy == "repl" and not around.has_sandbox:
        yield FieldProblem(f"{path}.strategy", "repl needs the binding RLM_LOADER, which this deployment does not have")
    named = [("rootModel", use.root_model), ("subModel", use.sub_model)]
    named += [(f"fallbacks.{number}", name) for number, name in enumerate(use.fallbacks)]
    ids: dict[str, str] = {}
    for field, name in named:
        if name is None:
            continue
        model = around.catalog.find(name)
        if model is None:
            yield FieldProblem(f"{path}.{field}", around.catalog.unknown(name))
        elif obstacle := around.catalog.obstacle(model):
            yield FieldProblem(f"{path}.{field}", f"{model.id} {obstacle}")
        else:
            ids[field] = model.id
    yield from _circles(ids, path)


def _circles(ids: dict[str, str], path: str) -> Iterator[FieldProblem]:
    """A model may stand in for the other one, but not for itself, and no more than once."""
    models = {ids[name] for name in ("rootModel", "subModel") if name in ids}
    seen: set[str] = set()
    for field, model in ids.items():
        if not field.startswith("fallbacks."):
            continue
        if model in seen:
            yield FieldProblem(f"{path}.{field}", f"{model} stands in the chain already")
        elif models == {model}:
            yield FieldProblem(f"{path}.{field}", f"goes in a circle: {model} would stand in for itself")
        seen.add(model)


def _strategies(rule: RoutingRule, path: str) -> Iterator[FieldProblem]:
    asked = rule.when.strategy
    named = {asked} if isinstance(asked, str) else set(asked or ("auto",))
    if rule.use.strategy is not None and "auto" not in named:
        yield FieldProblem(path, "can never be used: a strategy that the request names wins over a rule")

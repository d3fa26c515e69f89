"""Whether a rule holds for a request, and whether one rule leaves nothing to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlm_worker.wire.routing import CharacterRange, RoutingRule, RuleConditions, Task


@dataclass(frozen=True, slots=True)
class Facts:
    """What rules look at: the strategy that was asked for, the query's task and language, the context's length."""

    strategy: str
    task: Task
    characters: int
    language: str | None
    key: str


def first_holding(rules: Sequence[RoutingRule], facts: Facts) -> tuple[str, RoutingRule] | None:
    """The rule that decides, with its name, or its place where it has none; None where no rule holds."""
    for number, rule in enumerate(rules, start=1):
        if holds(rule.when, facts):
            return rule.name or f"#{number}", rule
    return None


def holds(when: RuleConditions, facts: Facts) -> bool:
    """Whether everything is so that a rule names."""
    named = zip(_named(when), (facts.strategy, facts.task, facts.language, facts.key), strict=True)
    return all(values is None or fact in values for values, fact in named) and (
        when.characters is None or when.characters.holds(facts.characters)
    )


def covers(earlier: RuleConditions, later: RuleConditions) -> bool:
    """Whether the earlier rule holds wherever the later one does."""
    pairs = zip(_named(earlier), _named(later), strict=True)
    broader = all(ours is None or (theirs is not None and theirs <= ours) for ours, theirs in pairs)
    return broader and (earlier.characters or CharacterRange()).covers(later.characters or CharacterRange())


def looks_at_task(rules: Sequence[RoutingRule]) -> bool:
    """Whether any of the rules asks for the query's task."""
    return any(rule.when.task is not None for rule in rules)


def _named(when: RuleConditions) -> tuple[frozenset[str] | None, ...]:
    return tuple(_values(value) for value in (when.strategy, when.task, when.language, when.key))


def _values(value: str | Sequence[str] | None) -> frozenset[str] | None:
    if value is None:
        return None
    return frozenset({value}) if isinstance(value, str) else frozenset(value)

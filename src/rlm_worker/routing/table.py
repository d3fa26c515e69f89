"""The var `ROUTING`: a deployment's own rules and policies, and what of them callers may use.

Its JSON is a list of rules, or an object: `rules` for requests that name no policy, `policies` (lists of rules by name,
beside those that ship), `callerPolicies` (those that a request may name; all, where it is missing), `callerRules`
(whether a request may bring rules of its own), `taskModel` (asked for a query's task where rules look at it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.alias_generators import to_camel

from rlm_worker.errors import FieldProblem, InvalidRequest, NotConfigured
from rlm_worker.models.catalog import Catalog
from rlm_worker.variables import parsed_var
from rlm_worker.wire.routing import MAX_RULES, PolicyName, RoutingRule, RuleList

from .checks import Surroundings, problems_of
from .policies import SHIPPED, shipped_rules

_VAR = "ROUTING"
_Rules = Annotated[list[RoutingRule], Field(max_length=MAX_RULES)]
# What `policy` says in a result where no policy was named.
_RESERVED = frozenset({"default", "deployment", "request"})


class RoutingVar(BaseModel):
    """The var as ops write it."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", strict=True)

    rules: _Rules = Field(default_factory=list)
    policies: dict[PolicyName, RuleList] = Field(default_factory=dict)
    caller_policies: list[PolicyName] | None = None
    caller_rules: bool = True
    task_model: str | None = None


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """A deployment's rules, checked; `callers` are the policies that a request may name."""

    rules: tuple[RoutingRule, ...] = ()
    policies: Mapping[str, tuple[RoutingRule, ...]] = field(default_factory=dict)
    callers: tuple[str, ...] = SHIPPED
    caller_rules: bool = True
    task_model: str | None = None

    @classmethod
    def parse(cls, text: str, around: Surroundings) -> RoutingTable:
        """The table that the var's JSON stands for; raises `NotConfigured`, naming the field."""
        if not text.strip():
            return cls()
        var = _parsed(text)
        for problem in _problems(var, around, "" if text.lstrip().startswith("[") else "rules"):
            raise NotConfigured(f"the var {_VAR}, {problem.path}: {problem.message}")
        policies = {name: tuple(rules) for name, rules in var.policies.items()}
        known = tuple(dict.fromkeys((*SHIPPED, *policies)))
        callers = known if var.caller_policies is None else tuple(dict.fromkeys(var.caller_policies))
        return cls(tuple(var.rules), policies, callers, var.caller_rules, var.task_model)

    def named(self, policy: str, catalog: Catalog, characters: int) -> Sequence[RoutingRule]:
        """The rules of a policy, for prompts of so many characters; raises `InvalidRequest` where none may be named."""
        if policy not in self.callers:
            known = ", ".join(self.callers) or "none"
            raise InvalidRequest.at("config.routing", f"there is no policy {policy!r} to be named here; known: {known}")
        own = self.policies.get(policy)
        return shipped_rules(policy, catalog, characters) if own is None else own

    def check_own(self, rules: Sequence[RoutingRule], around: Surroundings) -> None:
        """Raises `InvalidRequest` for rules that a request may not bring, or that cannot be right."""
        if not self.caller_rules:
            message = f"this deployment takes no rules of callers; name a policy: {', '.join(self.callers) or 'none'}"
            raise InvalidRequest.at("config.routing", message)
        problems = list(problems_of(rules, "config.routing", around))
        if problems:
            raise InvalidRequest(problems[:20])


def _parsed(text: str) -> RoutingVar:
    if text.lstrip().startswith("["):
        return RoutingVar(rules=parsed_var(_VAR, _LIST, text))
    return parsed_var(_VAR, _OBJECT, text)


def _problems(var: RoutingVar, around: Surroundings, path: str) -> list[FieldProblem]:
    found = list(problems_of(var.rules, path, around))
    for name, rules in var.policies.items():
        if name in _RESERVED:
            found.append(FieldProblem(f"policies.{name}", "is a name that results use for what is no policy"))
        found += problems_of(rules, f"policies.{name}", around)
    known = {*SHIPPED, *var.policies}
    for number, name in enumerate(var.caller_policies or ()):
        if name not in known:
            there = ", ".join(sorted(known))
            found.append(FieldProblem(f"callerPolicies.{number}", f"there is no policy {name!r}; there is {there}"))
    if var.task_model is not None:
        model = around.catalog.find(var.task_model)
        obstacle = around.catalog.unknown(var.task_model) if model is None else around.catalog.obstacle(model)
        if obstacle:
            found.append(FieldProblem("taskModel", obstacle))
    return found


_LIST: TypeAdapter[list[RoutingRule]] = TypeAdapter(_Rules)
_OBJECT = TypeAdapter(RoutingVar)

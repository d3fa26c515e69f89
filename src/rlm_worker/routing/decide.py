"""From a request and the rules to its models: what the caller names wins, then the first rule that holds."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from rlm_worker.models.catalog import Catalog
from rlm_worker.wire.requests import RunConfig
from rlm_worker.wire.routing import Chooser, ChosenBy, Routing, RoutingRule, RuleChoice, Task

from .checks import Surroundings
from .language import language_of
from .rules import Facts, first_holding, looks_at_task
from .table import RoutingTable
from .task import task_of

_MODELS = ("root_model", "sub_model")


@dataclass(frozen=True, slots=True)
class Decision:
    """The config with what was chosen, how that is told, and who stands in for whom, by the ids of models."""

    config: RunConfig
    routing: Routing
    chains: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def identity(self) -> list[object] | None:
        """What tells a session from that of the same request without rules; None where no rule has chosen."""
        if self.routing.rule is None:
            return None
        return [self.routing.policy, self.routing.rule, self.lists()]

    def lists(self) -> dict[str, list[str]]:
        """The chains as JSON has them."""
        return {model: list(names) for model, names in self.chains.items()}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, as far as rules look at it: whose key, which query, how many characters of context."""

    query: str
    characters: int
    key: str = ""


@dataclass(frozen=True, slots=True)
class Router:
    """Decides by a deployment's rules and its models."""

    table: RoutingTable
    catalog: Catalog
    has_sandbox: bool = True

    def decide(
        self, config: RunConfig, question: Question, task: Task | None = None, *, named: Collection[str] | None = None
    ) -> Decision:
        """What is chosen for a request; raises `InvalidRequest`.

        `task` where a model has told it; `named` are the fields that a caller has named, where not all that are set.
        """
        named = config.model_fields_set if named is None else named
        facts = Facts(
            strategy=config.strategy,
            task=task or task_of(question.query),
            characters=question.characters,
            language=language_of(question.query),
            key=question.key,
        )
        policy, rules = self._rules(config, question)
        found = first_holding(rules, facts)
        told = Routing(task=facts.task, task_by="model" if task else "rule", language=facts.language)
        if found is None:
            told = told.model_copy(update={"policy": policy})
            return _decided(config, told, RuleChoice(), self.catalog, named)
        told = told.model_copy(update={"policy": policy, "rule": found[0]})
        return _decided(config, told, found[1].use, self.catalog, named)

    def wants_task(self, config: RunConfig, question: Question) -> bool:
        """Whether a model is to tell the task: one is configured, and a rule looks at it."""
        return self.table.task_model is not None and looks_at_task(self._rules(config, question)[1])

    def _rules(self, config: RunConfig, question: Question) -> tuple[str, Sequence[RoutingRule]]:
        asked = config.routing
        if asked is None:
            return ("deployment", self.table.rules) if self.table.rules else ("default", ())
        if isinstance(asked, str):
            at_once = min(question.characters, config.chunk_size)
            return asked, self.table.named(asked, self.catalog, at_once)
        self.table.check_own(asked, Surroundings(self.catalog, self.has_sandbox, of_caller=True))
        return "request", asked


def _decided(config: RunConfig, told: Routing, use: RuleChoice, catalog: Catalog, asked: Collection[str]) -> Decision:
    by: dict[str, Chooser] = {
        name: _chooser(config, name, named=name in asked, ruled=getattr(use, name) is not None)
        for name in ("strategy", *_MODELS)
    }
    chosen: dict[str, object] = {name: getattr(use, name) for name, who in by.items() if who == "rule"}
    decided = config.model_copy(update=chosen)
    names: dict[str, str] = {name: catalog.id_of(getattr(decided, name)) for name in _MODELS}
    fallbacks = [catalog.id_of(name) for name in use.fallbacks]
    # A model that the caller names is answered for by nobody else, in neither role, unless the caller's rules say so.
    alone = {names[name] for name in _MODELS if told.policy != "request" and by[name] == "request"}
    led = [model for model in names.values() if model not in alone]
    chains = {model: others for model in led if (others := [name for name in fallbacks if name != model])}
    routing = told.model_copy(
        update={
            **names,
            "strategy": decided.strategy,
            "fallbacks": fallbacks if chains else [],
            "chosen_by": ChosenBy.model_validate(by),
        }
    )
    return Decision(decided, routing, chains)


def _chooser(config: RunConfig, name: str, *, named: bool, ruled: bool) -> Chooser:
    # `auto` leaves the choice to us, said or not.
    if named and not (name == "strategy" and config.strategy == "auto"):
        return "request"
    if ruled:
        return "rule"
    return "auto" if name == "strategy" and config.strategy == "auto" else "default"

"""Rules that choose strategy and models, as ops and callers write them, and what a result says of their choice."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import Discriminator, Field, Tag, model_validator

from .base import Wire
from .strategies import StrategyName

Task = Literal["lookup", "count", "list", "compare", "summarize", "code", "other"]
# Who has chosen: the caller by name, a rule, what is usual here, or the run by the context's size.
Chooser = Literal["request", "rule", "default", "auto"]

ModelName = Annotated[str, Field(min_length=1, max_length=200)]
_Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]
_RuleName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$")]
PolicyName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
MAX_RULES = 50
MAX_FALLBACKS = 8
# Tags of unions show up in pydantic's error paths; nobody ever wrote them.
TAGS = frozenset({"<policy>", "<rules>", "<one>", "<several>"})
_NO_EFFORT = "effort is not built yet: leave it out"


_Value = TypeVar("_Value")


def _number(value: object) -> str:
    return "<several>" if isinstance(value, list) else "<one>"


OneOrMore = Annotated[
    Annotated[_Value, Tag("<one>")] | Annotated[list[_Value], Tag("<several>")], Discriminator(_number)
]


class CharacterRange(Wire):
    """Lengths of a context in characters, both ends inclusive; an end that is missing is open."""

    min: Annotated[int, Field(ge=0)] | None = None
    max: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _is_not_empty(self) -> CharacterRange:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min ({self.min:,}) is above max ({self.max:,}): no context is so long")
        return self

    def holds(self, characters: int) -> bool:
        return (self.min or 0) <= characters and (self.max is None or characters <= self.max)

    def covers(self, other: CharacterRange) -> bool:
        """Whether every length of the other is one of this."""
        return (self.min or 0) <= (other.min or 0) and (
            self.max is None or (other.max is not None and other.max <= self.max)
        )


class RuleConditions(Wire):
    """When a rule holds: where all that is named is so; what takes several holds for any of them.

    `strategy` is the one that was asked for, `language` that of the query (ISO 639), `key` the name of the caller's
    key.
    """

    strategy: OneOrMore[StrategyName] | None = None
    task: OneOrMore[Task] | None = None
    characters: CharacterRange | None = None
    language: OneOrMore[_Language] | None = None
    key: OneOrMore[str] | None = None


class RuleChoice(Wire):
    """What a rule chooses; the rest is as if there were no rule.

    `fallbacks` stand in for both models, in their order.
    """

    strategy: StrategyName | None = None
    root_model: ModelName | None = None
    sub_model: ModelName | None = None
    effort: str | None = None
    fallbacks: Annotated[list[ModelName], Field(max_length=MAX_FALLBACKS)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _is_built(self) -> RuleChoice:
        if self.effort is not None:
            raise ValueError(_NO_EFFORT)
        return self


class RoutingRule(Wire):
    """One rule; the first that holds for a request decides."""

    name: _RuleName | None = None
    when: RuleConditions = Field(default_factory=RuleConditions)
    use: RuleChoice


RuleList = Annotated[list[RoutingRule], Field(min_length=1, max_length=MAX_RULES)]


def _form(value: object) -> str:
    return "<policy>" if isinstance(value, str) else "<rules>"


# The name of a policy, or rules of the caller's own.
RoutingChoice = Annotated[
    Annotated[PolicyName, Tag("<policy>")] | Annotated[RuleList, Tag("<rules>")],
    Discriminator(_form),
]


class ChosenBy(Wire):
    """Who has chosen what."""

    strategy: Chooser = "default"
    root_model: Chooser = "default"
    sub_model: Chooser = "default"


class Routing(Wire):
    """Which rule has chosen strategy and models of a run, and why.

    `policy` is the one that the caller named, `deployment` (the rules of the var `ROUTING`), `request` (rules that came
    with it) or `default`: no rule. `rule` is its name, else its place, as in `#2`. `taskBy` says whether rules of ours
    or a model have told the query's `task`. `reason` is why the context is read by this strategy. `fallbacks` answer,
    in their order, where a model fails; `models` in the result says who did.
    """

    policy: str = "default"
    rule: str | None = None
    task: Task = "other"
    task_by: Literal["rule", "model"] = "rule"
    language: str | None = None
    reason: str = ""
    strategy: str = ""
    root_model: str = ""
    sub_model: str = ""
    fallbacks: list[str] = Field(default_factory=list)
    chosen_by: ChosenBy = Field(default_factory=ChosenBy)

    def reading_by(self, strategy: str, reason: str) -> Routing:
        """The same once it is decided how the context is read."""
        return self.model_copy(update={"strategy": strategy, "reason": reason})

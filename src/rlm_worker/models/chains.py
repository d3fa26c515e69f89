"""Who answers in whose place in one run: the fallbacks of its rule, and those that the catalogue names.

What a run has learned of a model holds for that run: one that will answer nothing more, because it has no credits or is
not allowed, is not asked again; one that has no room rests for a while.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from rlm_worker.errors import InputTooLarge, ModelError, RetryableError, TerminalError
from rlm_worker.messages import ModelReply, ModelRequest, ModelSpec, UnusableReply
from rlm_worker.ports import Clock

from .catalog import Catalog
from .pricing import Pricing

# How long a model without room is left alone where another one stands behind it and it has named no time itself.
_REST_SECONDS = 5.0
_MAX_REST_SECONDS = 300.0
_MAX_REASON_CHARACTERS = 240


@dataclass(frozen=True, slots=True)
class Link:
    """One model of a chain.

    `willing`: another model stands behind it, in a chain that a rule has made: whatever its provider refuses is asked
    there. Else only what it has no room for, or does not answer in time, is.
    """

    model: ModelSpec
    willing: bool = False

    def passes_on(self, error: ModelError) -> bool:
        """Whether the next model is asked where this one fails so."""
        if isinstance(error, RetryableError):
            return error.fallback or (self.willing and not isinstance(error, UnusableReply))
        return self.willing and isinstance(error, TerminalError) and error.unavailable


@dataclass(frozen=True, slots=True)
class Failed:
    """What a model of a chain has said."""

    model: ModelSpec
    error: ModelError


class Chains:
    """The chains of one run; `fallbacks` are a rule's, by the ids of the models that they stand in for.

    With `output_is_set` the caller has said how long an answer may be, so that no model gets room for thinking.
    """

    def __init__(
        self,
        catalog: Catalog,
        clock: Clock,
        pricing: Pricing,
        fallbacks: Mapping[str, Iterable[ModelSpec]] | None = None,
        *,
        output_is_set: bool = False,
    ) -> None:
        self._catalog = catalog
        self._clock = clock
        self._pricing = pricing
        self._fallbacks = {name: tuple(models) for name, models in (fallbacks or {}).items()}
        self._output_is_set = output_is_set
        self._known: dict[str, list[Link]] = {}
        self._gone: dict[str, str] = {}
        self._resting: dict[str, tuple[float, RetryableError]] = {}

    def use(self, fallbacks: Mapping[str, Iterable[ModelSpec]]) -> None:
        """Takes other fallbacks of a rule: one that has just been chosen."""
        self._fallbacks = {name: tuple(models) for name, models in fallbacks.items()}
        self._known.clear()

    def of(self, model: ModelSpec) -> list[Link]:
        """The model and those that stand in for it, in their order, each once: a rule's first, then the catalogue's."""
        if (known := self._known.get(model.id)) is None:
            known = self._known[model.id] = self._linked(model)
        return known

    def _linked(self, model: ModelSpec) -> list[Link]:
        named = [other for other in self._fallbacks.get(model.id, ()) if other != model]
        chain = [model, *dict.fromkeys(named)]
        while (fallback := self._catalog.fallback_of(chain[-1])) is not None and fallback not in chain:
            chain.append(fallback)
        return [*(Link(one, willing=bool(named)) for one in chain[:-1]), Link(chain[-1])]

    def acting(self, model: ModelSpec) -> ModelSpec:
        """Who is asked first in place of a model, as far as this run knows: the first that is not gone for good."""
        return next((link.model for link in self.of(model) if link.model.id not in self._gone), model)

    def stood_in(self, request: ModelRequest, reply: ModelReply) -> bool:
        """Whether one may have answered by a rule who is no match for the model that was asked: not to be kept as its.

        A model may answer under another name than its own; where a reply was recalled that cannot be told apart.
        """
        other = reply.recalled and reply.model != request.model.id
        return bool(self._fallbacks) and (other or bool(reply.passed_over))

    def left(self, chain: list[Link]) -> tuple[list[Link], list[Failed]]:
        """Those of a chain that may answer now, and what keeps the others from it."""
        if not self._gone and not self._resting:
            return chain, []
        able, failed = [], []
        for link in chain:
            if (gone := self._gone.get(link.model.id)) is None:
                able.append(link)
            else:
                failed.append(Failed(link.model, TerminalError(gone, unavailable=True)))
        awake = [link for link in able if not self._rests(link.model)]
        if not awake:  # all rest: who has no other to ask waits with its request
            return able, failed
        resting = [link.model for link in able if link not in awake]
        return awake, [*failed, *(Failed(model, self._resting[model.id][1]) for model in resting)]

    def misfit(self, link: Link, request: ModelRequest) -> InputTooLarge | None:
        """Why a stand-in cannot take a prompt; None where it can. To estimate a long prompt takes its time."""
        if link.model == request.model:
            return None
        asked = self.asked_of(link, request, last=True)
        tokens = self._pricing.prompt_tokens(asked) + asked.max_output_tokens
        if tokens <= link.model.window:
            return None
        return InputTooLarge(f"about {tokens:,} tokens do not fit its window of {link.model.window:,}")

    def learn(self, link: Link, error: ModelError) -> None:
        """Notes what a failure says of the calls to come."""
        if isinstance(error, TerminalError) and error.unavailable:
            self._gone[link.model.id] = str(error)
        elif link.willing and isinstance(error, RetryableError) and error.capacity:
            rest = min(error.retry_after or _REST_SECONDS, _MAX_REST_SECONDS)
            self._resting[link.model.id] = (self._clock.now() + rest, error)

    def asked_of(self, link: Link, request: ModelRequest, *, last: bool) -> ModelRequest:
        """The request as one of its chain takes it: one that thinks needs room for that too."""
        model = link.model
        tokens = request.max_output_tokens
        if model.id != request.model.id and not self._output_is_set and model.thinks(request.effort):
            tokens = min(max(tokens, model.output_floor), max(tokens, model.window // 2))
        return replace(request, model=model, max_output_tokens=tokens, reject_if_busy=not last)

    def _rests(self, model: ModelSpec) -> bool:
        return model.id in self._resting and self._clock.now() < self._resting[model.id][0]


def chain_error(failed: list[Failed]) -> ModelError:
    """The error of a whole chain, naming what each of its models has said, in their order.

    It passes where one of them may answer later; it is one of size where the others are gone and the rest too small.
    """
    if len(failed) == 1:
        return failed[0].error
    said = "; ".join(f"{one.model.id}: {str(one.error)[:_MAX_REASON_CHARACTERS]}" for one in failed)
    message = f"no model of the chain has answered: {said}"
    passing = [one.error for one in failed if isinstance(one.error, RetryableError)]
    if passing:
        return RetryableError(
            message,
            passing[-1].code,
            min(error.retry_after for error in passing),
            capacity=all(error.capacity for error in passing),
            work="none",
        )
    if any(isinstance(one.error, InputTooLarge) for one in failed):
        return InputTooLarge(message)
    return TerminalError(message, failed[-1].error.code, unavailable=True)

"""What a call costs: at most before it is made, and about where its model reported nothing."""

from __future__ import annotations

from rlm_worker.ports import CallUsage, ModelReply, ModelRequest, ModelSpec
from rlm_worker.text.tokens import RESERVE_MARGIN, TOKENS_PER_MESSAGE, TokenEstimator

from .catalog import Catalog

_TOKENS_AROUND = 64
_EARLY_REPLIES = 16


class Pricing:
    """Prices the calls of one run; its estimates of tokens learn from what the models report."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._estimators: dict[str, TokenEstimator] = {}
        self._replies = 0

    def estimator(self, model: ModelSpec) -> TokenEstimator:
        """The run's estimator for that model; it learns from every reported usage."""
        return self._estimators.setdefault(model.id, TokenEstimator())

    def prompt_tokens(self, request: ModelRequest) -> int:
        """About how many tokens a prompt has."""
        estimator = self.estimator(request.model)
        return sum(estimator.estimate(message.content) + TOKENS_PER_MESSAGE for message in request.messages)

    def worst_usd(self, request: ModelRequest) -> float:
        """The most that a call may cost, in US dollars, whichever of the model and its fallback answers."""
        worst = int(self.prompt_tokens(request) * RESERVE_MARGIN)
        return max(model.cost(worst, request.max_output_tokens) for model in self._possible(request))

    def at_most_usd(self, request: ModelRequest) -> float:
        """More than `worst_usd`, told by the prompt's length alone: weighing a long prompt exactly is not free."""
        tokens = request.characters() + _TOKENS_AROUND
        return max(
            model.cost(min(model.window, tokens), request.max_output_tokens) for model in self._possible(request)
        )

    def under_way_usd(self, request: ModelRequest) -> float:
        """What a call that was sent and then given up costs if the model writes as much as it may, in US dollars."""
        return request.model.cost(self.prompt_tokens(request), request.max_output_tokens)

    def estimated_usage(self, request: ModelRequest, text: str) -> CallUsage:
        """What a call has used whose model reported nothing."""
        output = self.estimator(request.model).estimate(text)
        return CallUsage(self.prompt_tokens(request), output, estimated=True)

    def learn(self, request: ModelRequest, reply: ModelReply) -> None:
        """Corrects the estimator: by every early reply, later by some; the ratio hardly changes within a run."""
        self._replies += 1
        telling = self._replies <= _EARLY_REPLIES or self._replies % _EARLY_REPLIES == 0
        if telling and reply.usage is not None and reply.model == request.model.id:
            prompt = "\n".join(message.content for message in request.messages)
            self.estimator(request.model).observe(prompt, reply.usage.input_tokens)

    def _possible(self, request: ModelRequest) -> list[ModelSpec]:
        """The models that may answer: the one that is asked, and its fallback."""
        fallback = self._catalog.fallback_of(request.model)
        return [request.model] if fallback is None else [request.model, fallback]

"""What a call costs: at most before it is made, and about where its model reported nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from rlm_worker.messages import CallUsage, Message, ModelReply, ModelRequest, ModelSpec
from rlm_worker.text.tokens import TOKENS_PER_MESSAGE, TokenEstimator, byte_length

# A chat template may open every prompt with words of its own: the date, the rules of its tools.
_TEMPLATE_TOKENS = 64
_EARLY_REPLIES = 16
_MILLION = 1_000_000


class Pricing:
    """Prices the calls of one run; its estimates of tokens learn from what the models report."""

    def __init__(self) -> None:
        self._estimators: dict[str, TokenEstimator] = {}
        self._replies = 0

    def estimator(self, model: ModelSpec) -> TokenEstimator:
        """The run's estimator for that model; it learns from every reported usage."""
        return self._estimators.setdefault(model.id, TokenEstimator())

    def prompt_tokens(self, request: ModelRequest) -> int:
        """About how many tokens a prompt has, never more than it can have."""
        estimator = self.estimator(request.model)
        if request.texts:
            return min(_judged_tokens(request, estimator.estimate), max_prompt_tokens(request))
        tokens = sum(estimator.estimate(message.content) + TOKENS_PER_MESSAGE for message in request.messages)
        return min(tokens, max_prompt_tokens(request))

    def worst_usd(self, request: ModelRequest) -> float:
        """The most that an attempt can cost, in US dollars, whatever its text and its model's vocabulary."""
        return request.model.cost(max_prompt_tokens(request), request.max_output_tokens)

    def affordable_output(self, request: ModelRequest, usd: float) -> int:
        """How many tokens an answer may have so that the call surely costs no more than that; may be negative."""
        tokens = max_prompt_tokens(request)
        price = request.model.prices(tokens).output
        if not price:
            return request.model.window
        return int((usd - request.model.cost(tokens, 0)) * _MILLION / price) - 1

    def usage_under_way(self, request: ModelRequest) -> CallUsage:
        """What an attempt has used that was sent and given up, if the model writes as much as it may."""
        return CallUsage(self.prompt_tokens(request), request.max_output_tokens, estimated=True)

    def estimated_usage(self, request: ModelRequest, text: str) -> CallUsage:
        """What an attempt has used whose model reported nothing."""
        output = min(self.estimator(request.model).estimate(text), byte_length(text), request.max_output_tokens)
        return CallUsage(self.prompt_tokens(request), output, estimated=True)

    def learn(self, request: ModelRequest, reply: ModelReply) -> None:
        """Corrects the estimator: by every early reply, later by some; the ratio hardly changes within a run."""
        if request.texts:
            return
        self._replies += 1
        telling = self._replies <= _EARLY_REPLIES or self._replies % _EARLY_REPLIES == 0
        if telling and reply.usage is not None and reply.model == request.model.id:
            prompt = "\n".join(message.content for message in request.messages)
            self.estimator(request.model).observe(prompt, reply.usage.input_tokens)


def max_prompt_tokens(request: ModelRequest) -> int:
    """No prompt has more tokens: none is shorter than a byte of UTF-8, and a prompt beyond the window is refused."""
    if request.texts:
        return _judged_tokens(request, byte_length)
    schema = request.response_schema
    tokens = max_tokens_of(request.messages) + (len(json.dumps(schema)) if schema is not None else 0)
    return min(tokens, request.model.window) if request.model.window_published else tokens


def _judged_tokens(request: ModelRequest, measure: Callable[[str], int]) -> int:
    """The tokens of a judge's call: one that reads query and text together reads the query with each text."""
    query = measure(request.messages[0].content) + TOKENS_PER_MESSAGE
    texts = sum(measure(text) + TOKENS_PER_MESSAGE for text in request.texts)
    if request.model.task == "rerank":
        return texts + query * len(request.texts)
    return texts + query + _TEMPLATE_TOKENS


def max_tokens_of(messages: Sequence[Message]) -> int:
    """No more tokens than these stand in a prompt, whichever model reads it."""
    around = _TEMPLATE_TOKENS + TOKENS_PER_MESSAGE * len(messages)
    return around + sum(byte_length(message.content) for message in messages)

"""The root model's last word, streamed to whoever watches."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rlm_worker.errors import UsageLimitExceeded
from rlm_worker.ports import CallKind, Message, ModelRequest

from .run import Run

# Fewer tokens than these are not worth calling an answer.
_SHORTEST_ANSWER_TOKENS = 48


@dataclass(frozen=True, slots=True)
class AnswerEvents:
    """Turns the deltas of an answer into events."""

    run: Run

    def write(self, delta: str) -> None:
        self.run.emit("answer", {"delta": delta})

    def restart(self) -> None:
        self.run.emit("answer", {"delta": "", "restart": True})


async def answer(run: Run, kind: CallKind, messages: tuple[Message, ...]) -> tuple[str, bool]:
    """Asks the root model; gives its answer and whether the answer was cut by a limit on its length.

    Where dollars are short the answer may be shorter; raises `UsageLimitExceeded` when not even a short one is left.
    """
    request = _affordable(run, run.request("root", kind, messages))
    deltas = AnswerEvents(run) if run.job.stream else None
    reply = await run.model.complete(request, deltas)
    cut = reply.usage is not None and reply.usage.output_tokens >= request.max_output_tokens
    if cut:
        run.warn(f"the answer was cut at {request.max_output_tokens} tokens")
    return reply.text.strip(), cut


def _affordable(run: Run, request: ModelRequest) -> ModelRequest:
    remaining = run.ledger.remaining_usd()
    if remaining is None:
        return request
    prompt = run.pricing.worst_usd(replace(request, max_output_tokens=0))
    tokens = int((remaining - prompt) * 1_000_000 / request.model.output_price) - 1
    if tokens >= request.max_output_tokens:
        return request
    if tokens < _SHORTEST_ANSWER_TOKENS:
        limit = run.ledger.limits.max_cost_usd or 0.0
        raise UsageLimitExceeded("maxCostUsd", limit, round(limit - remaining, 8))
    return replace(request, max_output_tokens=tokens)

"""The call that asks the root model for the answer: what it is, and what of it the run can pay."""

from __future__ import annotations

from dataclasses import replace

from rlm_worker.errors import UsageLimitExceeded
from rlm_worker.messages import CallKind, Message, ModelReply, ModelRequest
from rlm_worker.structured.words import reminded

from .run import Run

# Fewer tokens than these are not worth calling an answer.
_MIN_ANSWER_TOKENS = 48


def is_affordable(run: Run, kind: CallKind, messages: tuple[Message, ...]) -> bool:
    """Whether the run's dollars surely cover an answer to that prompt, or have paid for it before."""
    request = root_call(run, kind, messages)
    return run.ports.journal.recall(request.call) is not None or _is_worth_asking(request, _tokens_left(run, request))


def cut_at(reply: ModelReply, request: ModelRequest) -> int:
    """How many tokens a reply has that was cut."""
    return reply.usage.output_tokens if reply.usage is not None else request.max_output_tokens


def root_call(run: Run, kind: CallKind, messages: tuple[Message, ...], salt: str = "") -> ModelRequest:
    """The call, named before its answer is made shorter: a resumed run has other dollars left and asks for the same.

    Where the answer is to have a form, the model is held to it; what the REPL asks last says so itself.
    """
    form = run.form
    if form is None:
        request = run.request("root", kind, messages)
    else:
        messages = messages if kind in ("extract", "mend") else reminded(messages)
        request = replace(run.request("root", kind, messages), response_schema=form.json_mode, salt=salt)
    return replace(request, call=request.key())


def affordable(run: Run, request: ModelRequest) -> ModelRequest:
    """The same with an answer as long as dollars are left for; raises `UsageLimitExceeded` where that is too short."""
    if run.ports.journal.recall(request.call) is not None:
        return request
    tokens = _tokens_left(run, request)
    if not _is_worth_asking(request, tokens):
        limit = run.ledger.limits.max_cost_usd or 0.0
        raise UsageLimitExceeded("maxCostUsd", limit, round(limit - (run.ledger.remaining_usd() or 0.0), 8))
    return replace(request, max_output_tokens=tokens)


def _is_worth_asking(request: ModelRequest, tokens: int) -> bool:
    """Whether so many tokens are enough, or all that was asked for."""
    least = max(_MIN_ANSWER_TOKENS, request.model.least_output(request.effort))
    return tokens >= min(least, request.max_output_tokens)


def _tokens_left(run: Run, request: ModelRequest) -> int:
    """How many tokens the answer may have."""
    remaining = run.ledger.remaining_usd()
    if remaining is None:
        return request.max_output_tokens
    return min(request.max_output_tokens, run.pricing.affordable_output(request, remaining))

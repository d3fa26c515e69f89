"""The root model's last word, streamed to whoever watches."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from rlm_worker.errors import UsageLimitExceeded
from rlm_worker.messages import CallKind, Message, ModelReply, ModelRequest
from rlm_worker.wire.events import AnswerEvent

from .run import Run

# Fewer tokens than these are not worth calling an answer.
_MIN_ANSWER_TOKENS = 48
# How long pieces of an answer are joined before they become an event.
BEAT_SECONDS = 0.1


@dataclass(slots=True)
class AnswerEvents:
    """Turns the deltas of an answer into events: the first at once, what comes within a beat of the last one together.

    Each event is a row that is written and billed. Who makes one closes it, so that its last words are said.
    """

    run: Run
    beat_seconds: float = BEAT_SECONDS
    _held: list[str] = field(default_factory=list)
    _beating: asyncio.TimerHandle | None = None

    def write(self, delta: str) -> None:
        self._held.append(delta)
        if self._beating is None:
            self._beat()

    def restart(self) -> None:
        """What is held back is void with all that came before."""
        self._held.clear()
        self.run.emit(AnswerEvent(delta="", restart=True))

    def close(self) -> None:
        """Says what is held back."""
        if self._beating is not None:
            self._beating.cancel()
            self._beating = None
        self._say()

    def _beat(self) -> None:
        """Says what has come; as long as something comes, again after a beat."""
        self._beating = asyncio.get_running_loop().call_later(self.beat_seconds, self._beat) if self._held else None
        self._say()

    def _say(self) -> None:
        if delta := "".join(self._held):
            self._held.clear()
            self.run.emit(AnswerEvent(delta=delta))


async def answer(run: Run, kind: CallKind, messages: tuple[Message, ...]) -> tuple[str, bool]:
    """Asks the root model; gives its answer and whether the answer was cut by a limit on its length.

    Where dollars are short the answer may be shorter; raises `UsageLimitExceeded` when not even a short one is left.
    """
    request = _affordable(run, _call(run, kind, messages))
    deltas = AnswerEvents(run) if run.job.stream else None
    try:
        reply = await run.model.complete(request, deltas)
    finally:
        if deltas is not None:
            deltas.close()
    if reply.is_cut:
        run.warn(f"the answer was cut at {cut_at(reply, request)} tokens")
    return reply.text.strip(), reply.is_cut


def is_affordable(run: Run, kind: CallKind, messages: tuple[Message, ...]) -> bool:
    """Whether the run's dollars surely cover an answer to that prompt, or have paid for it before."""
    request = _call(run, kind, messages)
    return run.ports.journal.recall(request.call) is not None or _is_worth_asking(request, _tokens_left(run, request))


def cut_at(reply: ModelReply, request: ModelRequest) -> int:
    """How many tokens a reply has that was cut."""
    return reply.usage.output_tokens if reply.usage is not None else request.max_output_tokens


def _call(run: Run, kind: CallKind, messages: tuple[Message, ...]) -> ModelRequest:
    """The call, named before its answer is made shorter: a resumed run has other dollars left and asks for the same."""
    request = run.request("root", kind, messages)
    return replace(request, call=request.key())


def _affordable(run: Run, request: ModelRequest) -> ModelRequest:
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

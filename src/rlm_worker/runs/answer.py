"""The root model's last word, streamed to whoever watches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from rlm_worker.messages import CallKind, Message
from rlm_worker.wire.events import AnswerEvent

from .formed import formed_answer
from .root_call import affordable, cut_at, is_affordable, root_call
from .run import Run

__all__ = ["BEAT_SECONDS", "AnswerEvents", "answer", "cut_at", "is_affordable"]

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


async def answer(
    run: Run, kind: CallKind, messages: tuple[Message, ...], check: Callable[[str], str] | None = None
) -> tuple[str, bool]:
    """Asks the root model; gives its answer and whether the answer was cut by a limit on its length.

    Where dollars are short the answer may be shorter; raises `UsageLimitExceeded` when not even a short one is left.
    One that is to have a form is said when it is whole and has it, and passes the `check`: see `formed`, `Form.check`.
    """
    request = affordable(run, root_call(run, kind, messages))
    if run.form is not None:
        text, cut = await formed_answer(run, replace(run.form, check=check), request)
        if run.job.stream and not run.unfit:
            run.emit(AnswerEvent(delta=text))
        return text, cut
    deltas = AnswerEvents(run) if run.job.stream else None
    try:
        reply = await run.model.complete(request, deltas)
    finally:
        if deltas is not None:
            deltas.close()
    if reply.is_cut:
        run.warn(f"the answer was cut at {cut_at(reply, request)} tokens")
    return reply.text.strip(), reply.is_cut

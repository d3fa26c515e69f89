"""What the root model has said and seen, made shorter where it does not fit its window.

Shortening depends on the turns alone, so that a resumed run asks exactly what it asked before. Variables live in the
REPL and are not touched by it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rlm_worker.messages import Message
from rlm_worker.sandbox.output import cut_between_lines

_RECENT = 2
_SHORT_OUTPUT = 600
_SHORT_CODE = 500
_LAST_OUTPUTS = (4_000, 2_000, 1_000, 400)

Fits = Callable[[tuple[Message, ...]], bool]


@dataclass(frozen=True, slots=True)
class Turn:
    """One reply of the model, what it was shown of it, and the variables that were there then."""

    reply: str
    feedback: str
    variables: tuple[str, ...] = ()


@dataclass(slots=True)
class Transcript:
    """The opening messages and the turns since."""

    opening: tuple[Message, ...]
    turns: list[Turn] = field(default_factory=list)

    def add(self, turn: Turn) -> None:
        self.turns.append(turn)

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables as they were last seen."""
        return self.turns[-1].variables if self.turns else ()

    def messages(self, fits: Fits, *last: Message) -> tuple[Message, ...]:
        """The prompt: everything if it fits; else old turns in short, then without them, then recent ones in short."""
        for turns in self._shorter():
            messages = _joined([*self.opening, *_spoken(turns), *last])
            if fits(messages):
                return messages
        return _joined([*self.opening, *last])

    def _shorter(self) -> list[Sequence[Turn]]:
        old, recent = self.turns[:-_RECENT], self.turns[-_RECENT:]
        short = [_short(turn) for turn in old]
        steps: list[Sequence[Turn]] = [self.turns, [*short, *recent]]
        for dropped in (len(old) // 2, len(old)):
            steps.append([*self._note(dropped), *short[dropped:], *recent])
        for limit in _LAST_OUTPUTS:
            steps.append([*self._note(len(old)), *(_cut(turn, limit) for turn in recent)])
        return steps

    def _note(self, dropped: int) -> list[Turn]:
        if not dropped:
            return []
        known = "\n".join(self.variables) or "(none)"
        return [Turn(f"({dropped} earlier turns are left out.)", f"Variables in the REPL:\n{known}")]


def _spoken(turns: Sequence[Turn]) -> list[Message]:
    return [message for turn in turns for message in (Message("assistant", turn.reply), Message("user", turn.feedback))]


def _joined(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Neighbours of one role as one message: some chat templates insist on turns."""
    joined: list[Message] = []
    for message in messages:
        if joined and joined[-1].role == message.role:
            joined[-1] = Message(message.role, f"{joined[-1].content}\n\n{message.content}")
        else:
            joined.append(message)
    return tuple(joined)


def _short(turn: Turn) -> Turn:
    return Turn(shortened(turn.reply, _SHORT_CODE), shortened(turn.feedback, _SHORT_OUTPUT), turn.variables)


def _cut(turn: Turn, limit: int) -> Turn:
    return Turn(shortened(turn.reply, limit), shortened(turn.feedback, limit), turn.variables)


def shortened(text: str, limit: int) -> str:
    """Head and tail of a text of more than `limit` characters, in whole lines where it has some."""
    if len(text) <= limit:
        return text
    half = limit // 2
    left_out = len(text) - 2 * half
    return cut_between_lines(text[:half], text[-half:], left_out, text.count("\n", half, len(text) - half))

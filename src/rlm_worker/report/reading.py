"""What was read of a context: its chunks by their state, and what nobody read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rlm_worker.messages import Span

State = Literal["evidence", "nothing", "read", "failed", "unread"]
# As the events of sub-calls say it; of a cached note nobody says any more whether it held something.
_STATES: Mapping[str, State] = {"ok": "evidence", "none": "nothing", "cached": "read", "failed": "failed"}


@dataclass(frozen=True, slots=True)
class Stretch:
    """Characters `start` to `end` (exclusive) of the context, which are in one state."""

    start: int
    end: int
    state: State


@dataclass(frozen=True, slots=True)
class Reading:
    """The whole context in stretches, and how many chunks are in each state; no stretches where no plan tells them."""

    characters: int
    stretches: tuple[Stretch, ...] = ()
    chunks: Mapping[State, int] | None = None

    @property
    def unread(self) -> list[Stretch]:
        """What no model has read."""
        return [stretch for stretch in self.stretches if stretch.state in ("unread", "failed")]


def reading_of_chunks(characters: int, spans: Iterable[Span], statuses: Mapping[int, str]) -> Reading:
    """The reading of a context by chunks, each with the status of its last event."""
    states = [(span, _STATES.get(statuses.get(span.index, ""), "unread")) for span in spans]
    counts: dict[State, int] = {}
    for _, state in states:
        counts[state] = counts.get(state, 0) + 1
    return Reading(characters, tuple(_joined(_gapless(states, characters))), counts)


def whole(characters: int) -> Reading:
    """The reading of a context that one call has read."""
    return Reading(characters, (Stretch(0, characters, "read"),) if characters else ())


def _gapless(states: Sequence[tuple[Span, State]], characters: int) -> Iterator[Stretch]:
    at = 0
    for span, state in states:
        if span.start > at:
            yield Stretch(at, span.start, "unread")
        yield Stretch(max(at, span.start), span.end, state)
        at = max(at, span.end)
    if at < characters:
        yield Stretch(at, characters, "unread")


def _joined(stretches: Iterable[Stretch]) -> Iterator[Stretch]:
    """Neighbours in the same state as one."""
    last: Stretch | None = None
    for stretch in stretches:
        if last is not None and last.state == stretch.state:
            last = Stretch(last.start, stretch.end, last.state)
            continue
        if last is not None:
            yield last
        last = stretch
    if last is not None:
        yield last

"""Ctrl-C stops what is being paid for, not only what is being watched."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console

from rlm_client._client import RLMClient
from rlm_client._errors import NotFoundError, RLMError
from rlm_client._stream import EventStream

from .console import batch_line, count, money
from .errors import Exit
from .progress import RunState


class Work(Protocol):
    """Something that the Worker is paid for until it is cancelled; `name` says what, as in `session 5f2c`."""

    @property
    def name(self) -> str | None:
        """What is running; None before the Worker has named it."""

    def cancel(self) -> str:
        """Stop it and return a sentence about it; raises `RLMError`."""


@contextmanager
def cancelled_on_interrupt(work: Work, console: Console) -> Iterator[None]:
    """Cancel the work when the block is interrupted, say what became of it, and leave with 130."""
    try:
        yield
    except KeyboardInterrupt:
        console.print(_stopped(work), soft_wrap=True)
        sys.exit(Exit.INTERRUPTED)


def _stopped(work: Work) -> str:
    if work.name is None:
        return "Interrupted before the run had started."
    try:
        return work.cancel()
    except RLMError as error:
        return f"Interrupted, but {work.name} could not be cancelled: {error}"


@dataclass(frozen=True, slots=True)
class RunningSession:
    """A run that is followed, and what its events add up to."""

    client: RLMClient
    stream: EventStream
    state: RunState

    @property
    def name(self) -> str | None:
        """The session, as people call it."""
        return self.stream.session_id and f"session {self.stream.session_id}"

    def cancel(self) -> str:
        """Cancel the session and say what was spent for what."""
        state, spent = self.state, self._cancelled()
        read = f" for {state.done} of {count(state.chunks, 'chunk')}" if state.chunks > 1 else ""
        return f"Cancelled. Spent {money(spent)}{read}; {self.name} is deleted."

    def _cancelled(self) -> float:
        """Cancel the session and return what it has cost, as the Worker knows it best."""
        assert self.stream.session_id is not None
        try:
            spent = max(self.state.cost_usd, self.client.status(self.stream.session_id).cost_usd)
            return max(spent, self.client.cancel(self.stream.session_id).cost_usd or 0.0)
        except NotFoundError:
            # It ended, or somebody else cancelled it, in this very moment.
            return self.state.cost_usd


@dataclass(frozen=True, slots=True)
class RunningBatch:
    """A batch that is waited for."""

    client: RLMClient
    batch_id: str

    @property
    def name(self) -> str:
        """The batch, as people call it."""
        return f"batch {self.batch_id}"

    def cancel(self) -> str:
        """Cancel the batch and say how far it was."""
        status = self.client.batch_status(self.batch_id)
        self.client.cancel_batch(self.batch_id)
        return f"Cancelled: {batch_line(status)}."

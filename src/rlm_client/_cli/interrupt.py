"""Ctrl-C stops what is being paid for, not only what is being watched."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from rlm_client._client import RLMClient
from rlm_client._errors import NotFoundError, RLMError
from rlm_client._stream import EventStream

from .console import count, money
from .errors import Exit
from .progress import RunState


@contextmanager
def cancelled_on_interrupt(client: RLMClient, stream: EventStream, state: RunState, console: Console) -> Iterator[None]:
    """Cancel the stream's run when the block is interrupted, say what it cost, and leave with 130."""
    try:
        yield
    except KeyboardInterrupt:
        stream.close()
        console.print(_stopped(client, stream.session_id, state), soft_wrap=True)
        sys.exit(Exit.INTERRUPTED)


def _stopped(client: RLMClient, session_id: str | None, state: RunState) -> str:
    if session_id is None:
        return "Interrupted before the run had a session."
    try:
        spent = _cancel(client, session_id, state.cost_usd)
    except RLMError as error:
        return f"Interrupted, but session {session_id} could not be cancelled: {error}"
    read = f" for {state.done} of {count(state.chunks, 'chunk')}" if state.chunks > 1 else ""
    return f"Cancelled. Spent {money(spent)}{read}; session {session_id} is deleted."


def _cancel(client: RLMClient, session_id: str, seen: float) -> float:
    """Cancel a session and return what it has cost, as the Worker knows it best."""
    try:
        spent = max(seen, client.status(session_id).cost_usd)
        return max(spent, client.cancel(session_id).cost_usd or 0.0)
    except NotFoundError:
        # It ended, or somebody else cancelled it, in this very moment.
        return seen

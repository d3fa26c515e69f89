"""The events of a session, as they stand in its stream and in its journal."""

from __future__ import annotations

from typing import Literal

from .base import Answer


class SessionEvent(Answer):
    """The run has a session."""

    session_id: str


class PlanEvent(Answer):
    """How the context will be read; sizes in characters."""

    strategy: str
    characters: int
    chunks: int
    chunk_size: int
    root_model: str
    sub_model: str


class SubcallEvent(Answer):
    """A sub-model has read a chunk; `done` of `chunks` are through."""

    chunk: int
    chunks: int
    done: int
    status: Literal["ok", "none", "failed", "cached"]
    model: str
    input_tokens: int
    output_tokens: int
    cost_usd: float
    duration_ms: int


class IterationEvent(Answer):
    """The root model took a turn: in the REPL, the code that it wrote and what that printed.

    `costUsd` holds the turn and what its cell has asked, `durationMs` the cell's time; `parent` names the cell that
    asked for a child run, and is missing in the run's own turns.
    """

    iteration: int
    code: str | None = None
    output: str | None = None
    cost_usd: float = 0.0
    duration_ms: int = 0
    parent: str | None = None


class AnswerEvent(Answer):
    """A further piece of the answer; with `restart` what came before is void."""

    delta: str
    restart: bool = False


EVENTS: dict[str, type[Answer]] = {
    "session": SessionEvent,
    "plan": PlanEvent,
    "subcall": SubcallEvent,
    "iteration": IterationEvent,
    "answer": AnswerEvent,
}

"""The query's task as a model tells it, where a deployment has one for that and its rules look at the task."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import get_args

from rlm_worker.errors import ModelError, UsageLimitExceeded
from rlm_worker.messages import Message, ModelRequest
from rlm_worker.wire.routing import Task

from .run import Run

_TASKS: tuple[Task, ...] = get_args(Task)
_SYSTEM = (
    "You sort questions about a text by what they ask for. Answer with one word of this list and with nothing else: "
    "lookup (a fact or a passage), count (how many there are), list (all things of a kind), compare (things with each "
    "other), summarize (what the text says), code (how a program works), other."
)
_MAX_CHARACTERS = 2_000
_OUTPUT_TOKENS = 16
# Kept where no task was told.
_NONE = "none"
_WORD = re.compile(r"[a-z]+")


async def take_task(run: Run) -> None:
    """Asks for the task and takes what the rules choose for it; where no answer comes, our own word for it stands.

    The call is one of the run's sub-calls. What came of it is kept: a run that goes on asks nobody again.
    """
    if take_kept_task(run) or not run.job.by_task or (request := _request(run)) is None:
        return
    run.ports.journal.keep_task(await _asked(run, request) or _NONE)
    take_kept_task(run)


def take_kept_task(run: Run) -> bool:
    """Takes what was chosen for the task that was told in an earlier life of the run; whether one was asked for."""
    kept = run.ports.journal.task()
    if (task := told_task(kept)) is not None and (choice := run.job.by_task.get(task)) is not None:
        run.route(choice)
    return bool(kept)


async def _asked(run: Run, request: ModelRequest) -> Task | None:
    try:
        return told_task((await run.model.complete(request)).text)
    except (ModelError, UsageLimitExceeded):
        return None


def told_task(text: str) -> Task | None:
    """The task that a model's words name; None where they name none, or several."""
    named = {word for word in _WORD.findall(text.lower()) if word in _TASKS}
    return next((task for task in _TASKS if task in named), None) if len(named) == 1 else None


def _request(run: Run) -> ModelRequest | None:
    """The call that asks for the task; None where there is no such model, or no sub-call left for reading beside it.

    What was paid before needs no room.
    """
    model = run.ports.catalog.find(run.job.task_model)
    if model is None:
        return None
    messages = (Message("system", _SYSTEM), Message("user", run.job.query[:_MAX_CHARACTERS]))
    tokens = max(_OUTPUT_TOKENS, model.output_floor if model.thinks(None) else 0)
    request = ModelRequest(model, messages, tokens, role="sub", kind="task")
    request = replace(request, call=request.key())
    known = run.ports.journal.recall(request.call) is not None
    return request if known or run.ledger.remaining_sub_calls() > 1 else None

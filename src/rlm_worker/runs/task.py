"""The query's task as a model tells it, where a deployment has one for that and its rules look at the task."""

from __future__ import annotations

import re
from typing import get_args

from rlm_worker.errors import ModelError, UsageLimitExceeded
from rlm_worker.messages import Message, ModelRequest, ModelSpec
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
_WORD = re.compile(r"[a-z]+")


async def take_task(run: Run) -> None:
    """Asks for the task and takes what the rules choose for it; where no answer comes, our own word for it stands.

    The call is one of the run's sub-calls: reserved, booked and journalled, so that a resumed run hears the same.
    """
    model = run.ports.catalog.find(run.job.task_model)
    if model is None or not run.job.by_task or run.ledger.remaining_sub_calls() < 2:  # one is left for reading
        return
    try:
        reply = await run.model.complete(_request(model, run.job.query))
    except (ModelError, UsageLimitExceeded):
        return
    if (task := told_task(reply.text)) is not None:
        run.route(run.job.by_task[task])


def told_task(text: str) -> Task | None:
    """The task that a model's words name; None where they name none, or several."""
    named = {word for word in _WORD.findall(text.lower()) if word in _TASKS}
    return next((task for task in _TASKS if task in named), None) if len(named) == 1 else None


def _request(model: ModelSpec, query: str) -> ModelRequest:
    messages = (Message("system", _SYSTEM), Message("user", query[:_MAX_CHARACTERS]))
    tokens = max(_OUTPUT_TOKENS, model.output_floor if model.thinks(None) else 0)
    return ModelRequest(model, messages, tokens, role="sub", kind="task")

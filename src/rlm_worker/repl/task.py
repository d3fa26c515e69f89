"""One question to be answered in a REPL: the run's own, or that of a child run; and what was found."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from rlm_worker.messages import ModelReply
from rlm_worker.ports import Interval, Model
from rlm_worker.runs.run import Run
from rlm_worker.structured.form import Form

from .passages import Passage


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a task, the ranges of the context that models were given for it, and whether a limit cut it.

    `cited` are the places that its code has cited, in order; the first `earlier` of them for an earlier question.
    """

    value: object
    read: tuple[Interval, ...] = ()
    truncated: bool = False
    cited: tuple[Interval, ...] = ()
    earlier: int = 0

    def as_text(self) -> str:
        """The answer as the wire has it: text as it is, anything else as JSON."""
        return self.value if isinstance(self.value, str) else json.dumps(self.value, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Task:
    """A question about a passage; `path` is empty for the run's own and names the asking cell for a child's."""

    run: Run
    query: str
    passage: Passage
    model: Model
    answer_child: Callable[[Task], Awaitable[Found]]
    path: str = ""
    depth: int = 0
    form: Form | None = None

    @property
    def may_recurse(self) -> bool:
        return self.depth < self.run.job.config.max_depth

    @property
    def may_cite(self) -> bool:
        """Whether its passage is a part of the context; a text that code made has no places there."""
        return self.passage.place(0, self.passage.characters) is not None

    def cell_name(self, number: int) -> str:
        """What the calls of a cell have as their parent."""
        return f"{self.path}/{number}" if self.path else str(number)

    def cost_of(self, reply: ModelReply) -> float:
        """What a reply has cost, in US dollars, whenever it was paid."""
        model = self.run.ports.catalog.answering(reply.model, self.run.sub)
        return model.bill(reply.usage) if reply.usage else 0.0

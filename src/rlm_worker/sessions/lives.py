"""How often the host of a run has ended under it, and when that is the run's own doing.

An object can be moved, a deploy can come, a machine can fail: a run outlives that. But one that ends its host whenever
it gets to a certain point would take everybody on it along, for ever.
"""

from __future__ import annotations

from rlm_worker.journal.session import SessionJournal
from rlm_worker.messages import ModelReply, ModelRequest
from rlm_worker.ports import DeltaSink, Model

# Deaths at one point: while the run computed, and while it waited for a model, which is hardly its doing but paid for.
MAX_DEATHS, MAX_WAITING_DEATHS = 3, 20
_FACT = "lives"


class Lives:
    """Counts the deaths of a run since it last got further; every life is to be begun here."""

    def __init__(self, journal: SessionJournal) -> None:
        self._journal = journal

    def begin(self) -> int:
        """Begins a life; gives the deaths at this point where they are too many, else 0."""
        point, known = self._journal.progress(), self._journal.fact(_FACT)
        computing, waiting = 0, 0
        if known:
            last, asked, *counts = (int(number) for number in known.split())
            computing, waiting = counts if last == point else (0, 0)
            computing, waiting = (computing, waiting + 1) if asked else (computing + 1, waiting)
        self._write(point, False, computing, waiting)
        return computing + waiting if computing >= MAX_DEATHS or waiting >= MAX_WAITING_DEATHS else 0

    def ask(self) -> None:
        """Notes that this life waits for a model."""
        point, _, computing, waiting = (int(number) for number in (self._journal.fact(_FACT) or "0 0 0 0").split())
        self._write(point, True, computing, waiting)

    def _write(self, point: int, asked: bool, computing: int, waiting: int) -> None:
        self._journal.set_fact(_FACT, f"{point} {int(asked)} {computing} {waiting}")


class AskingModel:
    """A model that notes in a run's life the first call that is not answered from the journal."""

    def __init__(self, model: Model, lives: Lives) -> None:
        self._model = model
        self._lives = lives
        self._asked = False

    async def complete(self, request: ModelRequest, deltas: DeltaSink | None = None) -> ModelReply:
        if not self._asked:
            self._asked = True
            self._lives.ask()
        return await self._model.complete(request, deltas)

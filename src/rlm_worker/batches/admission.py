"""How many items run at once: as many as the rate of the model that reads them carries."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from rlm_worker.errors import RateLimited, RLMError
from rlm_worker.messages import ModelSpec
from rlm_worker.models.catalog import Catalog
from rlm_worker.pace.rates import Rates
from rlm_worker.ports import Clock, Pace, Rate
from rlm_worker.runs.job import Job
from rlm_worker.text.context import ContextManifest

# An item waits so long in its delivery, whose place no other takes, before it goes back to the queue.
WAIT_SECONDS = 300.0
_FIRST_PAUSE, _MAX_PAUSE = 0.5, 5.0
_LATER_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Admission:
    """Lets an item's run begin when the pace has room for one more beside those that go on."""

    pace: Pace
    rates: Rates
    catalog: Catalog
    clock: Clock

    @asynccontextmanager
    async def of(self, job: Job, waiting: Callable[[], None]) -> AsyncIterator[None]:
        """Waits for room, which is given back at the end; raises `RateLimited` where there is none for long.

        `waiting` is called where it is not there at once.
        """
        model = self._reader_of(job)
        rate = self.rates.of(model) if model is not None else None
        if model is None or rate is None:
            yield
            return
        await self._enter(model, rate, job, waiting)
        try:
            yield
        finally:
            with suppress(RLMError):
                await self.pace.leave(model.id, rate, job.owner, job.session_id, 0)

    async def _enter(self, model: ModelSpec, rate: Rate, job: Job, waiting: Callable[[], None]) -> None:
        began, pause = self.clock.now(), _FIRST_PAUSE
        while not await self._has_room(model, rate, job):
            waiting()
            if self.clock.now() - began >= WAIT_SECONDS:
                raise RateLimited(f"other runs take up the rate of {model.id}", _LATER_SECONDS)
            await self.clock.sleep(pause)
            pause = min(_MAX_PAUSE, 2 * pause)

    async def _has_room(self, model: ModelSpec, rate: Rate, job: Job) -> bool:
        try:
            return await self.pace.enter(model.id, rate, job.owner, job.session_id)
        except RLMError:  # a pace that cannot be reached stops nobody
            return True

    def _reader_of(self, job: Job) -> ModelSpec | None:
        """The model that gets most of a run's calls: the root model where it reads the context itself."""
        config = job.config
        short = ContextManifest.from_json(job.manifest).characters <= config.chunk_size
        direct = config.strategy == "direct" or (config.strategy == "auto" and short)
        return self.catalog.find(config.root_model if direct else config.sub_model)

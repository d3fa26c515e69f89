"""Each attempt at a call waits for leave to send it."""

from __future__ import annotations

from dataclasses import dataclass

from rlm_worker.errors import RetryableError
from rlm_worker.messages import ModelReply, ModelRequest
from rlm_worker.ports import DeltaSink, Model

from .client import RunPace


@dataclass(frozen=True, slots=True)
class Paced:
    """Sends an attempt when the model's pace has a place for it, an attempt anew before those that were never sent."""

    model: Model
    pace: RunPace

    async def complete(self, request: ModelRequest, deltas: DeltaSink | None = None) -> ModelReply:
        await self.pace.acquire(request.model, first=request.attempt > 0)
        try:
            return await self.model.complete(request, deltas)
        except RetryableError as error:
            if error.capacity and not error.fallback:  # the account's rate, which another model's room does not help
                self.pace.refused(request.model, error.retry_after)
            raise

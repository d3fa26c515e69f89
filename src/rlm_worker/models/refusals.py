"""Refusals in the log, where ops count them by code: `{"event": "model_refused", "code": 3021, …}`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from rlm_worker.errors import ModelError
from rlm_worker.log import write_line
from rlm_worker.messages import ModelReply, ModelRequest
from rlm_worker.ports import DeltaSink, Model


@dataclass(frozen=True, slots=True)
class LoggedRefusals:
    """Writes a line for each attempt that failed: the error's number and class, the model, nothing that was asked."""

    model: Model
    write_line: Callable[[str], None] = write_line

    async def complete(self, request: ModelRequest, deltas: DeltaSink | None = None) -> ModelReply:
        try:
            return await self.model.complete(request, deltas)
        except ModelError as error:
            entry = {"event": "model_refused", "code": error.code, "error": error.type, "model": request.model.id}
            self.write_line(json.dumps(entry))
            raise

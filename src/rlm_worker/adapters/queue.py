"""The `ItemQueue` port on the queue that feeds the consumers of batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyodide.ffi import JsException

from rlm_worker.errors import StorageUnavailable

from .bindings import binding, first_line


class BatchQueue:
    """Messages under `RLM_BATCH_QUEUE`."""

    def __init__(self, env: Any) -> None:
        self._env = env

    async def send(self, messages: Sequence[str]) -> None:
        """Sends up to 100 messages at once."""
        await self._sent("sendBatch", [{"body": message, "contentType": "text"} for message in messages])

    async def send_later(self, message: str, delay_seconds: int) -> None:
        """Sends one message that arrives after a while."""
        await self._sent("send", message, {"contentType": "text", "delaySeconds": delay_seconds})

    async def _sent(self, method: str, *arguments: object) -> None:
        queue = binding(self._env, "RLM_BATCH_QUEUE")
        if queue is None:
            raise StorageUnavailable("the binding RLM_BATCH_QUEUE is missing")
        try:
            await getattr(queue, method)(*arguments)
        except (JsException, OSError) as error:
            raise StorageUnavailable(f"queue send failed: {first_line(error)}") from None

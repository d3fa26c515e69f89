"""What the queue brings: its messages, each acknowledged or retried by itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Protocol

from .consumer import BatchConsumer, ItemMessage
from .keeper import ItemQueue

_RETRY_SECONDS = 10


class QueueMessage(Protocol):
    """One message of a delivery, as the platform has it."""

    @property
    def body(self) -> object: ...

    def ack(self) -> None: ...

    def retry(self, options: Mapping[str, object], /) -> None: ...


class Delivery(Protocol):
    """Some messages of one queue."""

    @property
    def queue(self) -> object: ...

    @property
    def messages(self) -> Iterable[QueueMessage]: ...


async def consume(delivery: Delivery, consumer: BatchConsumer, queue: ItemQueue) -> None:
    """Works through the messages of one delivery, all at once."""
    dead = str(delivery.queue).endswith("-dlq")
    messages = list(delivery.messages)
    handled = [_handle(message, consumer, queue, dead=dead) for message in messages]
    for message, outcome in zip(messages, await asyncio.gather(*handled, return_exceptions=True), strict=True):
        if isinstance(outcome, BaseException):
            consumer.write_line(json.dumps({"event": "batch_item", "error": f"{type(outcome).__name__}: {outcome}"}))
            message.retry({"delaySeconds": _RETRY_SECONDS})


async def _handle(message: QueueMessage, consumer: BatchConsumer, queue: ItemQueue, *, dead: bool) -> None:
    item = ItemMessage.from_json(str(message.body))
    if dead:
        await consumer.give_up(item)
        message.ack()
        return
    again = await consumer.process(item)
    if again is None:
        message.ack()
    elif again.counted:
        message.retry({"delaySeconds": again.after_seconds})
    else:
        await queue.send_later(item.to_json(), again.after_seconds)
        message.ack()

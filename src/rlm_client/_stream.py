"""A run as it happens: iterate over its events, leave when you like."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Self

from ._drivers import AsyncDriver, Driver
from ._events import RunEvent
from ._flows import Cursor, Flow
from ._models import RLMResult


class _Followed:
    """What both kinds of stream know; it stays readable after the stream has broken or been left."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor

    @property
    def session_id(self) -> str | None:
        """The run's session, from its first event on."""
        return self._cursor.session_id

    @property
    def last_event_id(self) -> str | None:
        """The id of the last event that was handed out."""
        return self._cursor.last_event_id

    @property
    def result(self) -> RLMResult | None:
        """The run's result, once its last event was handed out."""
        return self._cursor.result


class EventStream(_Followed):
    """An iterator over a run's events that resumes by itself when the connection breaks.

    Leaving early closes the connection and lets the run go on, unless it was started with `cancel_on_disconnect`;
    `client.cancel(stream.session_id)` stops it.
    Raises `RunFailedError` when the run ends in an error, `StreamBrokenError` when resuming does not help.
    """

    def __init__(self, driver: Driver, flow: Flow[None], cursor: Cursor) -> None:
        super().__init__(cursor)
        self._events = driver.events(flow)

    def __iter__(self) -> Iterator[RunEvent]:
        return self

    def __next__(self) -> RunEvent:
        return next(self._events)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the run goes on, unless it was started with `cancel_on_disconnect`."""
        self._events.close()


class AsyncEventStream(_Followed):
    """`EventStream` for `async for` and `async with`."""

    def __init__(self, driver: AsyncDriver, flow: Flow[None], cursor: Cursor) -> None:
        super().__init__(cursor)
        self._events = driver.events(flow)

    def __aiter__(self) -> AsyncIterator[RunEvent]:
        return self

    async def __anext__(self) -> RunEvent:
        return await anext(self._events)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection; the run goes on, unless it was started with `cancel_on_disconnect`."""
        await self._events.aclose()

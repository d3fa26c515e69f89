"""Taking the steps of a flow: over a blocking client, and over an asynchronous one."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import TypeAlias

import anyio
import httpx

from ._events import RunEvent
from ._flows import Answer, Emit, Flow, Open, Read, Send, Sleep, Step
from ._requests import T

Outcome: TypeAlias = Answer | httpx.RequestError


class Driver:
    """Takes steps over an `httpx.Client`; holds at most one open response."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._open: httpx.Response | None = None
        self._bytes: Iterator[bytes] = iter(())

    def run(self, flow: Flow[T]) -> T:
        """Take every step of a flow and return what it returns."""
        try:
            step = next(flow)
            while True:
                step = _resumed(flow, self._outcome(step))
        except StopIteration as stop:
            value: T = stop.value
            return value

    def events(self, flow: Flow[None]) -> Generator[RunEvent, None, None]:
        """Take the steps of a flow and yield the events that it emits."""
        try:
            step = next(flow)
            while True:
                if isinstance(step, Emit):
                    yield step.event
                step = _resumed(flow, self._outcome(step))
        except StopIteration:
            return
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the response that is open, if one is."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _outcome(self, step: Step) -> Outcome:
        try:
            return self._take(step)
        except httpx.RequestError as error:
            return error

    def _take(self, step: Step) -> Answer:
        match step:
            case Send(request):
                return self._client.send(request)
            case Open(request):
                return self._opened(request)
            case Read():
                return next(self._bytes, b"")
            case Sleep(seconds):
                self.close()
                time.sleep(seconds)
        return None

    def _opened(self, request: httpx.Request) -> httpx.Response:
        self.close()
        self._open = response = self._client.send(request, stream=True)
        if not response.is_success:
            response.read()
        self._bytes = response.iter_bytes()
        return response


class AsyncDriver:
    """Takes steps over an `httpx.AsyncClient`; holds at most one open response."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._open: httpx.Response | None = None
        self._bytes: AsyncIterator[bytes] | None = None

    async def run(self, flow: Flow[T]) -> T:
        """Take every step of a flow and return what it returns."""
        try:
            step = next(flow)
            while True:
                step = _resumed(flow, await self._outcome(step))
        except StopIteration as stop:
            value: T = stop.value
            return value

    async def events(self, flow: Flow[None]) -> AsyncGenerator[RunEvent, None]:
        """Take the steps of a flow and yield the events that it emits."""
        try:
            step = next(flow)
            while True:
                if isinstance(step, Emit):
                    yield step.event
                step = _resumed(flow, await self._outcome(step))
        except StopIteration:
            return
        finally:
            await self.close()

    async def close(self) -> None:
        """Let go of the response that is open, if one is."""
        if self._open is not None:
            await self._open.aclose()
            self._open = None

    async def _outcome(self, step: Step) -> Outcome:
        try:
            return await self._take(step)
        except httpx.RequestError as error:
            return error

    async def _take(self, step: Step) -> Answer:
        match step:
            case Send(request):
                return await self._client.send(request)
            case Open(request):
                return await self._opened(request)
            case Read():
                return b"" if self._bytes is None else await anext(self._bytes, b"")
            case Sleep(seconds):
                await self.close()
                await anyio.sleep(seconds)
        return None

    async def _opened(self, request: httpx.Request) -> httpx.Response:
        await self.close()
        self._open = response = await self._client.send(request, stream=True)
        if not response.is_success:
            await response.aread()
        self._bytes = response.aiter_bytes()
        return response


def _resumed(flow: Flow[T], outcome: Outcome) -> Step:
    # Called from the loop itself: a StopIteration may not cross the edge of a coroutine.
    return flow.throw(outcome) if isinstance(outcome, httpx.RequestError) else flow.send(outcome)

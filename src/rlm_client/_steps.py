"""What a client does, free of I/O.

A flow is a generator that yields steps and is sent what came of them, or thrown the transport's error. The two
clients differ only in how they take a step (`_drivers.py`), so every decision is written once.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import httpx

from rlm_client._events import RunEvent

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Send:
    """Send this and come back with the response, its body read."""

    request: httpx.Request


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Open:
    """Send this and come back with the response, its body unread unless the status is an error."""

    request: httpx.Request


@dataclass(frozen=True, slots=True)
class Read:
    """Come back with the next bytes of the open response, or with none at its end."""


@dataclass(frozen=True, slots=True)
class Emit:
    """Hand this to whoever follows the run."""

    event: RunEvent


Step: TypeAlias = Send | Sleep | Open | Read | Emit
Answer: TypeAlias = httpx.Response | bytes | None
Flow: TypeAlias = Generator[Step, Answer, T]


def sent(request: httpx.Request) -> Flow[httpx.Response]:
    """Send a request and return its response."""
    return _response((yield Send(request)))


def opened(request: httpx.Request) -> Flow[httpx.Response]:
    """Open a request's response for reading bit by bit and return it."""
    return _response((yield Open(request)))


def read() -> Flow[bytes]:
    """Return the next bytes of the open response."""
    answer = yield Read()
    assert isinstance(answer, bytes)
    return answer


def _response(answer: Answer) -> httpx.Response:
    assert isinstance(answer, httpx.Response)
    return answer

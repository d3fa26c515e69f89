"""The calls that the API knows, as values: what to send, and how to read what comes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import httpx

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One request before it has a host: path segments unquoted, `read_timeout` in seconds or the client's own."""

    method: str
    path: tuple[str, ...]
    body: bytes | None = None
    stream: httpx.SyncByteStream | httpx.AsyncByteStream | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    query: bytes = b""
    repeatable: bool = True
    read_timeout: float | None = 60.0


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """A call and the reader of its answer; `accepts` are statuses beyond 2xx that the reader understands."""

    call: Call
    read: Callable[[httpx.Response], T]
    accepts: frozenset[int] = frozenset()

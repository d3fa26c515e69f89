"""Texts by character: the whole context, a part of it, or a text that was handed over."""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import Protocol

from rlm_worker.ports import Interval
from rlm_worker.text.context import RANGE_BYTES, ContextReader

# One mark for this many characters: 100 million of them take 200 KB.
_STEP = 4_096


class Passage(Protocol):
    """A text that is read by character ranges; `place` says where a range lies in the run's context, if it does."""

    @property
    def characters(self) -> int: ...

    def documents(self) -> list[tuple[str | None, int]]: ...

    async def read(self, start: int, end: int) -> str: ...

    def place(self, start: int, end: int) -> Interval | None: ...


class ContextText:
    """The whole context; finds characters in bytes through sparse marks that it sets on its first way through."""

    def __init__(self, reader: ContextReader) -> None:
        self._reader = reader
        self._marks = array("Q", [0])
        self._decoded = 0
        self._lock = asyncio.Lock()
        self._one_byte_each = reader.manifest.characters == reader.manifest.bytes

    @property
    def characters(self) -> int:
        return self._reader.manifest.characters

    def documents(self) -> list[tuple[str | None, int]]:
        """Name and characters of each document."""
        return [(document.name, document.characters) for document in self._reader.manifest.documents]

    async def read(self, start: int, end: int) -> str:
        """Characters `start` to `end`; what lies beyond the end is not there."""
        start, end = max(0, start), min(end, self.characters)
        if start >= end:
            return ""
        if self._one_byte_each:
            return (await self._reader.read(start, end)).decode()
        first, last = start // _STEP, -(-end // _STEP)
        await self._mark_until(last)
        byte_end = self._marks[last] if last < len(self._marks) else self._reader.manifest.bytes
        text = (await self._reader.read(self._marks[first], byte_end)).decode()
        return text[start - first * _STEP : end - first * _STEP]

    def place(self, start: int, end: int) -> Interval | None:
        return start, end

    async def _mark_until(self, mark: int) -> None:
        """Sets marks by reading on from the last one; marks stand at whole characters."""
        async with self._lock:
            total = self._reader.manifest.bytes
            while len(self._marks) <= mark and (at := self._marks[-1]) < total:
                block = await self._reader.read(at, min(at + RANGE_BYTES, total))
                self._mark(block.decode(errors="ignore"), is_last=at + len(block) >= total)

    def _mark(self, text: str, *, is_last: bool) -> None:
        for start in range(0, len(text), _STEP):
            part = text[start : start + _STEP]
            if len(part) == _STEP or is_last:
                self._marks.append(self._marks[-1] + len(part.encode()))


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Characters `start` to `end` of another passage, which is all that can be read through it."""

    passage: Passage
    start: int
    end: int

    @property
    def characters(self) -> int:
        return self.end - self.start

    def documents(self) -> list[tuple[str | None, int]]:
        found: list[tuple[str | None, int]] = []
        at = 0
        for name, characters in self.passage.documents():
            first, last = max(at, self.start), min(at + characters, self.end)
            if first < last:
                found.append((name, last - first))
            at += characters
        return found

    async def read(self, start: int, end: int) -> str:
        return await self.passage.read(self.start + max(0, start), min(self.start + end, self.end))

    def place(self, start: int, end: int) -> Interval | None:
        return self.passage.place(self.start + start, self.start + end)


@dataclass(frozen=True, slots=True)
class GivenText:
    """A text that code made itself: no part of the context."""

    text: str

    @property
    def characters(self) -> int:
        return len(self.text)

    def documents(self) -> list[tuple[str | None, int]]:
        return [(None, len(self.text))]

    async def read(self, start: int, end: int) -> str:
        return self.text[start:end]

    def place(self, start: int, end: int) -> Interval | None:  # noqa: ARG002 - it lies nowhere
        return None


@dataclass(slots=True)
class Coverage:
    """A set of character ranges, kept apart and in order."""

    _starts: list[int] = field(default_factory=list)
    _ends: list[int] = field(default_factory=list)

    def add(self, start: int, end: int) -> None:
        if start >= end:
            return
        first, last = bisect_left(self._ends, start), bisect_right(self._starts, end)
        if first < last:
            start, end = min(start, self._starts[first]), max(end, self._ends[last - 1])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]

    def intervals(self) -> list[Interval]:
        return list(zip(self._starts, self._ends, strict=True))

    @property
    def characters(self) -> int:
        return sum(end - start for start, end in self.intervals())

"""Fifty callers who mix what callers do: small, repeated, large, streamed, cancelled and invalid requests."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import httpx

LINE = "The grass is green and the sky is blue; nothing of note was seen on day {number}.\n"
KINDS = {"small": 40, "repeated": 20, "large": 8, "streamed": 14, "cancelled": 8, "invalid": 10}
INVALID: tuple[tuple[bytes, int], ...] = (
    (b"", 400),
    (b"{oops", 400),
    (b'{"context": "\xff"}', 400),
    (b"{}", 422),
    (b'{"context": "x", "query": "y", "surprise": 1}', 422),
    (b'{"context": "x", "query": "y", "config": {"maxSubCalls": 0}}', 422),
)


@dataclass
class Record:
    """What came of all requests."""

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    results: dict[str, float] = field(default_factory=dict)
    estimated: set[str] = field(default_factory=set)
    cancelled: dict[str, str] = field(default_factory=dict)
    sessions: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def expect(self, holds: bool, what: str) -> None:
        if not holds:
            self.wrong.append(what)


@dataclass
class Caller:
    """One of them, with a key of its own, one request after the other."""

    number: int
    client: httpx.AsyncClient
    record: Record
    until: float
    random: random.Random
    asked: int = 0
    last: dict[str, object] | None = None

    async def work(self) -> None:
        ways: dict[str, Callable[[], Awaitable[None]]] = {
            "small": self._small,
            "repeated": self._repeated,
            "large": self._large,
            "streamed": self._streamed,
            "cancelled": self._cancelled,
            "invalid": self._invalid,
        }
        while time.monotonic() < self.until:
            kind = self.random.choices(list(KINDS), list(KINDS.values()))[0]
            started = time.monotonic()
            try:
                await ways[kind]()
            except httpx.TransportError as error:
                self.record.wrong.append(f"{kind}: {type(error).__name__}: {error}")
            self.record.seconds.append(time.monotonic() - started)

    def _question(self, lines: int) -> tuple[str, dict[str, object]]:
        self.asked += 1
        mark = f"load-{self.number}-{self.asked}"
        text = "".join(LINE.format(number=f"{mark} {line}") for line in range(lines))
        found = f"One of the special magic numbers for {mark} is: {self.asked}7."
        return mark, {"context": text + found, "query": f"What is the special magic number for {mark}?"}

    async def _small(self) -> None:
        mark, wanted = self._question(20)
        await self._finished("small", mark, wanted)
        self.last = wanted

    async def _large(self) -> None:
        mark, wanted = self._question(1_600)
        await self._finished("large", mark, wanted)

    async def _finished(self, kind: str, mark: str, wanted: dict[str, object]) -> None:
        answer = await self._post(kind, wanted)
        if answer.status_code == 200:
            self._take(mark, answer.json())

    def _take(self, mark: str, result: dict[str, object]) -> None:
        self.record.expect(f"{mark.split('-')[2]}7" in str(result.get("answer")), f"{mark}: wrong answer")
        self.record.sessions[str(result["sessionId"])] = mark
        self.record.results[mark] = float(str(result["costUsd"]))
        if result["estimated"]:
            self.record.estimated.add(mark)

    async def _repeated(self) -> None:
        if self.last is not None:
            answer = await self._post("repeated", self.last)
            self.record.expect(bool(answer.json().get("cacheHit")), "a repeated request was no hit")

    async def _streamed(self) -> None:
        mark, wanted = self._question(20)
        async with self.client.stream("POST", "/rlm", json={**wanted, "stream": True}) as answer:
            self.record.statuses["streamed", answer.status_code] += 1
            data = [line[6:] async for line in answer.aiter_lines() if line.startswith("data: ")]
        if answer.status_code == 200:
            self._take(mark, json.loads(data[-1]))

    async def _cancelled(self) -> None:
        mark, wanted = self._question(1_600)
        answer = await self._post("cancelled", {**wanted, "background": True}, status=202)
        if answer.status_code != 202:
            return
        session = str(answer.json()["sessionId"])
        self.record.cancelled[mark] = session
        await asyncio.sleep(self.random.uniform(0, 0.3))
        gone = await self.client.delete(f"/session/{session}")
        self.record.statuses["cancelled", gone.status_code] += 1
        self.record.expect(gone.status_code == 204, f"DELETE gave {gone.status_code}")

    async def _invalid(self) -> None:
        content, status = self.random.choice(INVALID)
        answer = await self.client.post("/rlm", content=content, headers={"content-type": "application/json"})
        self.record.statuses["invalid", answer.status_code] += 1
        self.record.expect(answer.status_code == status, f"{content[:40]!r} gave {answer.status_code}")

    async def _post(self, kind: str, body: dict[str, object], status: int = 200) -> httpx.Response:
        answer = await self.client.post("/rlm", json=body)
        self.record.statuses[kind, answer.status_code] += 1
        self.record.expect(answer.status_code == status, f"{kind} gave {answer.status_code}: {answer.text[:200]}")
        return answer

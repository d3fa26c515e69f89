"""Many runs at once under the account's 300 calls a minute: what they lose, how long they take, who waits.

`python -m tests.bench pace --minute 12` counts a minute as 12 seconds, and a call's second as the fifth of one.
"""

from __future__ import annotations

import hashlib
import threading
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from scripts.local.scripted.model import ScriptedModel
from scripts.local.scripted.rate import Rate, Window
from scripts.local.scripted.rules import fixed
from tests.bench.deployment import QUESTION, Deployed, deployed
from tests.bench.tables import Table
from tests.bench.texts import unique_blocks

CALLS = 300
MODEL = "llama-3.1-8b"
KEYS = ("ada", "bea", "ops")
_CHUNK = 20_000
_CHARACTERS_A_CHUNK = 18_500
# When a small question is sent, in parts of the ideal time.
_SMALL_AT = (0.1, 0.3, 0.5, 0.7)
_SECONDS = 3_600.0


@dataclass(frozen=True, slots=True)
class Load:
    """Runs of each key, all of so many chunks; how the model counts its minute."""

    name: str
    runs: Mapping[str, int]
    chunks: int
    window: Window = "sliding"


LOADS = (
    Load("10 runs of 100 chunks", {"ada": 10}, 100),
    Load("the same, minutes from full to full", {"ada": 10}, 100, "fixed"),
    Load("30 runs of 50 chunks", {"ada": 30}, 50),
    Load("key ada 10 runs of 100, key bea 1", {"ada": 10, "bea": 1}, 100),
)


@dataclass(frozen=True, slots=True)
class Ended:
    """One run: whose, when it ended after the load's beginning in seconds, and its result."""

    owner: str
    at: float
    result: Mapping[str, object]

    def number(self, name: str) -> float:
        value = self.result.get(name)
        return float(value) if isinstance(value, int | float) else 0.0


def tables(minute: float = 60.0) -> list[Table]:
    """A row for each load, with a fresh account: nothing of the one before is in its minute any more."""
    columns = ("", "coverage least", "mean", "lost", "refused", "s", "ideal s", "x ideal", "small waits s")
    table = Table(f"Pace: {CALLS} calls in {minute:g} s for the account, calls of {minute / 60:g} s", columns)
    table.notes = [
        "ideal: chunks by rate; lost: chunks that nobody has read; refused: calls that the model answered with 3021",
        f"small: {len(_SMALL_AT)} questions of one call to that model, sent meanwhile by a third key; the longest wait",
    ]
    for load in LOADS:
        with ScriptedModel() as model, _served(model, minute) as worker:
            model.rules, model.latency = [fixed("NONE")], minute / 60
            trial = Trial(load, worker, minute)
            contexts = [_upload(worker, owner, load.chunks, number) for owner, number in trial.runs]
            model.rate = Rate(CALLS, minute, load.window)
            ended, wait = trial.measure(contexts)
            table.add(*trial.row(ended, model, wait))
            table.notes += trial.notes(ended)
    return [table]


@contextmanager
def _served(model: ScriptedModel, minute: float) -> Iterator[Deployed]:
    keys = ",".join(f"{name}:{hashlib.sha256(name.encode()).hexdigest()}" for name in KEYS)
    limits = {"KEY_DAILY_USD": "0", "KEY_CONCURRENT_RUNS": "0"}
    rate = {"MODEL_CALLS_PER_MINUTE": str(CALLS), "MODEL_RATE_SECONDS": str(minute)}
    with deployed(model.url, on_disk=False, RLM_API_KEYS=keys, **limits, **rate) as worker:
        yield worker


@dataclass(frozen=True, slots=True)
class Trial:
    """One load on one deployment."""

    load: Load
    worker: Deployed
    minute: float

    @property
    def runs(self) -> list[tuple[str, int]]:
        return [(owner, number) for owner, count in self.load.runs.items() for number in range(count)]

    def measure(self, contexts: Sequence[str]) -> tuple[list[Ended], float]:
        """Sends all at once; gives what came of each, and the longest wait of a small question in seconds."""
        began, ideal = time.monotonic(), self._ideal(len(contexts) * self.load.chunks)
        with ThreadPoolExecutor(len(contexts) + len(_SMALL_AT)) as pool:
            pairs = zip(self.runs, contexts, strict=True)
            asked = [pool.submit(_ask, self.worker, owner, context, began) for (owner, _), context in pairs]
            small = [pool.submit(_small, self.worker, ideal * part, number) for number, part in enumerate(_SMALL_AT)]
            ended = [future.result() for future in asked]
            return ended, max(future.result() for future in small) - self.minute / 60

    def row(self, ended: Sequence[Ended], model: ScriptedModel, wait: float) -> tuple[str, ...]:
        coverage = [end.number("coverage") for end in ended]
        chunks = sum(end.number("chunks") or self.load.chunks for end in ended)
        seconds, ideal = max(end.at for end in ended), self._ideal(chunks)
        return (
            self.load.name,
            f"{min(coverage):.1%}",
            f"{sum(coverage) / len(coverage):.1%}",
            f"{chunks - sum(end.number('subCalls') for end in ended):.0f} of {chunks:.0f}",
            str(sum(entry.outcome == "error 3021" for entry in model.calls)),
            f"{seconds:.1f}",
            f"{ideal:.1f}",
            f"{seconds / ideal:.2f}",
            f"{max(0.0, wait):.1f}",
        )

    def notes(self, ended: Sequence[Ended]) -> list[str]:
        """When the runs of each key were done."""
        if len(self.load.runs) == 1:
            return []
        last = {owner: max(end.at for end in ended if end.owner == owner) for owner in self.load.runs}
        return ["; ".join(f"the last run of {owner} ended after {at:.0f} s" for owner, at in last.items())]

    def _ideal(self, calls: float) -> float:
        return calls * self.minute / CALLS


def _headers(owner: str) -> dict[str, str]:
    return {"authorization": f"Bearer {owner}"}


def _upload(worker: Deployed, owner: str, chunks: int, number: int) -> str:
    body = b"".join(unique_blocks(chunks * _CHARACTERS_A_CHUNK, zlib.crc32(f"{owner} {number}".encode())))
    headers = {**_headers(owner), "content-type": "text/plain"}
    answer = worker.http.put("/contexts", content=body, headers=headers)
    assert answer.status_code < 300, answer.text
    return str(answer.json()["contextId"])


def _ask(worker: Deployed, owner: str, context: str, began: float) -> Ended:
    config = {"strategy": "map_reduce", "chunkSize": _CHUNK, "maxSubCalls": 1_000, "useCache": False}
    body = {"contextId": context, "query": QUESTION, "config": {**config, "subModel": MODEL}}
    with httpx.Client(base_url=worker.process.url, timeout=_SECONDS, headers=_headers(owner)) as http:
        answer = http.post("/rlm", json=body)
    return Ended(owner, time.monotonic() - began, answer.json())


def _small(worker: Deployed, after: float, number: int) -> float:
    """Seconds that a question takes which is asked after a while."""
    threading.Event().wait(after)
    body = {"context": f"Entry {number}: the lighthouse is amber.", "query": QUESTION, "config": {"rootModel": MODEL}}
    began = time.monotonic()
    with httpx.Client(base_url=worker.process.url, timeout=_SECONDS, headers=_headers("ops")) as http:
        http.post("/rlm", json=body)
    return time.monotonic() - began

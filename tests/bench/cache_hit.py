"""A question that was asked before: the median time of the whole request, beside one that touches no store."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import httpx

from tests.bench.constant_model import constant_model
from tests.bench.deployment import QUESTION, Deployed, deployed
from tests.bench.tables import Table
from tests.bench.texts import MEGABYTE, unique_text

_ROUNDS = 60


def tables() -> list[Table]:
    """Contexts inline and stored."""
    table = Table("Cache hit: the whole request, from the client", ("", "median ms", "best ms", "x health"))
    with constant_model() as model, deployed(model.url) as worker:
        rows = {"GET /health": _times(lambda: worker.http.get("/health"))}
        for size in (10_000, MEGABYTE):
            rows[f"{size // 1000:,} KB in the request"] = _hits(worker, {"context": unique_text(size)})
        context, _ = worker.upload(20 * MEGABYTE)
        rows["20 MB by contextId"] = _hits(worker, {"contextId": context})
    floor = median(rows["GET /health"])
    for name, times in rows.items():
        table.add(name, f"{median(times):.1f}", f"{min(times):.1f}", f"{median(times) / floor:.1f}")
    return [table]


def _hits(worker: Deployed, context: dict[str, str]) -> list[float]:
    body = {**context, "query": QUESTION, "config": {"maxSubCalls": 1_000}}
    first = worker.http.post("/rlm", json=body).json()
    assert first["success"], first
    return _times(lambda: worker.http.post("/rlm", json=body), hit=True)


def _times(send: Callable[[], httpx.Response], *, hit: bool = False) -> list[float]:
    """Milliseconds of each request."""
    times: list[float] = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        answer = send().json()
        times.append((time.perf_counter() - began) * 1000)
        assert not hit or answer["cacheHit"], answer
    return times

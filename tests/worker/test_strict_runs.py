"""Runs that meet the platform's limits on their way: they go on, and lose nothing."""

from __future__ import annotations

import httpx
import pytest

from scripts.local.runtime.gauge import MEMORY_LIMIT_MB, gauge
from scripts.local.scripted.model import ScriptedModel
from tests.worker.conftest import StartWorker

pytestmark = pytest.mark.worker

QUERY = "What is the special magic number for tower?"
NEEDLE = "One of the special magic numbers for tower is: 8123456."


def question(chunks: int) -> dict[str, object]:
    """A request that is read in so many chunks of 10,000 characters, no two alike."""
    line = "The grass is green, the sky is blue, and the sun is yellow on most of the days.\n"
    text = "".join(f"{number:07}. {line}" for number in range(chunks * 10_000 // (len(line) + 9)))
    return {"context": text + NEEDLE, "query": QUERY, "config": {"chunkSize": 10_000, "maxSubCalls": 1_000}}


def test_run_outlives_invocations(start_worker: StartWorker, scripted: ScriptedModel) -> None:
    # A chunk costs two, one to read it and one to ask about it; the first again in each invocation.
    process = start_worker(vars={"RLM_STRICT_SUBREQUESTS": "260"})
    answer = httpx.post(f"{process.url}/rlm", json=question(200), timeout=120).json()
    assert "8123456" in answer.get("answer", ""), answer
    assert answer["coverage"] == 1.0
    asked = [entry.call.digest for entry in scripted.answered]
    # What was under way when an invocation was spent is asked again; what was answered is not.
    assert len(asked) - len(set(asked)) <= 5 * scripted.peak
    assert len(set(asked)) > 200


@pytest.mark.slow
def test_run_outlives_cut_alarm(start_worker: StartWorker, scripted: ScriptedModel) -> None:
    """The alarm that watches a run is cut, and the object with it; the caller still gets the answer."""
    process = start_worker(vars={"RLM_STRICT_ALARM_SECONDS": "1", "MAX_CONCURRENCY": "12"})
    scripted.latency = 2.5
    answer = httpx.post(f"{process.url}/rlm", json=question(120), timeout=180).json()
    assert "8123456" in answer.get("answer", ""), answer
    assert answer["coverage"] == 1.0
    answered = [entry.call.digest for entry in scripted.answered]
    assert len(answered) - len(set(answered)) <= 2 * scripted.peak
    assert len(scripted.calls) > len(set(answered))  # it was cut: what was under way then is asked again


def test_run_stays_small(start_worker: StartWorker) -> None:
    process = start_worker()
    with gauge(process) as memory:
        answer = httpx.post(f"{process.url}/rlm", json=question(400), timeout=120).json()
    print(f"peak of a run over 4 MB: {memory.peak}; garbage included {memory.unswept_mb:.0f} MB")
    assert answer["coverage"] == 1.0, answer
    assert memory.peak_mb < MEMORY_LIMIT_MB, memory.peak

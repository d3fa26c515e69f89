"""The loop with a real model of 1.5 billion parameters: what is asserted is the mechanics, not its wit."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from scripts.local.paths import local_paths
from scripts.local.runtime.dev_process import DevProcess
from scripts.local.setup.weights import ensure_models
from tests.worker.test_repl import wait_for

pytestmark = [pytest.mark.worker, pytest.mark.slow]

NOISE = "The grass is green and the sky is blue, as everybody has known for a long time. "
NEEDLE = "One of the special magic numbers for amber-fox is: 7481932. "
MAX_ITERATIONS = 4


def test_real_model_in_the_loop(tmp_path: Path) -> None:
    small, large = ensure_models(local_paths())  # fetched here where they are missing: a start waits only so long
    if small == large:
        pytest.skip("the larger local model could not be had, and the small one writes no code")
    config = {
        "strategy": "repl",
        "maxIterations": MAX_ITERATIONS,
        "maxSubCalls": 3,
        "maxDepth": 0,
        "maxOutputTokens": 200,
        "maxOutputCharacters": 600,
    }
    query = "Which special magic number belongs to amber-fox? Use context.search('magic number')."
    body = {"context": NOISE * 20 + NEEDLE + NOISE * 20, "query": query, "config": config, "background": True}
    with DevProcess(tmp_path, ai="local") as worker:
        session = httpx.post(f"{worker.url}/rlm", json=body, timeout=120).json()["sessionId"]
        result = wait_for(worker.url, session, seconds=900)
        lines = httpx.get(f"{worker.url}/session/{session}/events", timeout=60).text.splitlines()
    turns = [event for line in lines if line.startswith("data: ") and "code" in (event := json.loads(line[6:]))]
    assert result["success"], result
    assert 1 <= result["iterations"] <= MAX_ITERATIONS
    assert result["subCalls"] <= 3
    assert result["answer"]
    assert (result["costUsd"], result["rootModel"]) == (result["sandboxCostUsd"], f"local/{large.stem}")
    assert {usage["model"] for usage in result["models"]} <= {f"local/{model.stem}" for model in (small, large)}
    assert turns
    assert any(turn["code"] for turn in turns)
    print(json.dumps({"answer": result["answer"], "turns": [[t["code"], t["output"]] for t in turns]}, indent=1))

"""50,000 rows in an isolate of 128 MB: read, kept, computed on and taken away."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.model import ScriptedModel
from tests.worker.table_world import SCHEMA, Script, counted, counting, records, text_of
from tests.worker.test_memory import fresh, within_limit

__all__ = ["fresh"]

pytestmark = [pytest.mark.worker, pytest.mark.full]
ROWS = 50_000


def test_50000_rows_fit(fresh: Callable[[], DevProcess], scripted: ScriptedModel) -> None:
    scripted.rules = [Script()]
    process, lines = fresh(), records(ROWS, seed=50, users=9_000)
    body = {
        "context": text_of(lines),
        "query": "How many are about places?",
        "config": {"strategy": "table", "maxSubCalls": 5_000},
        "table": {"schema": SCHEMA, **counting("place")},
    }
    with within_limit(process, f"{ROWS:,} rows read and computed on"):
        answer = httpx.post(f"{process.url}/rlm", json=body, timeout=900).json()
    assert answer["success"], answer
    assert answer["table"]["rowCount"] == ROWS
    assert answer["answer"] == str(counted(lines, "place"))
    print({name: answer[name] for name in ("subCalls", "durationMs", "costUsd", "warnings")})
    with within_limit(process, f"{ROWS:,} rows taken away"):
        rows = httpx.get(f"{process.url}/session/{answer['sessionId']}/rows", params={"format": "csv"}, timeout=300)
    assert rows.text.count("\r\n") == ROWS + 1
    asked = {**body, "query": "And about persons?", "table": {"schema": SCHEMA, **counting("person")}}
    with within_limit(process, f"{ROWS:,} rows from the cache"):
        again = httpx.post(f"{process.url}/rlm", json=asked, timeout=900).json()
    assert again["answer"] == str(counted(lines, "person"))
    assert again["subCalls"] == 0

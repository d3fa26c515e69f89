"""Fifteen seconds of the load run, a minute with --full; `python -m tests.load --minutes 30` is the whole of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.load.__main__ import report
from tests.load.run import run_load

pytestmark = [pytest.mark.worker, pytest.mark.slow]


async def test_mixed_load_keeps_promises(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    minutes = 1.0 if pytestconfig.getoption("--full") else 0.25
    outcome = await run_load(tmp_path, minutes=minutes, callers=50)
    print(report(outcome))
    assert outcome.problems() == []
    kinds = {kind for kind, _ in outcome.statuses}
    assert kinds == {"small", "repeated", "large", "streamed", "cancelled", "invalid"}

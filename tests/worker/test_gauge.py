"""The memory gauge sees what an isolate holds: as much as was taken, whoever took it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from scripts.local.errors import LocalError
from scripts.local.runtime.dev_process import DevProcess
from scripts.local.runtime.gauge import MEGABYTE, MEMORY_LIMIT_MB, gauge
from scripts.local.scripted.model import ScriptedModel

pytestmark = pytest.mark.worker

FRONT = Path(__file__).with_name("holding_entry.py")
HELD_MB = 30
# Python has some memory to spare at first, and takes a fifth of what it has where that is more than it wants.
SPARE_MB, SLACK_MB = 10, 12


@pytest.fixture(scope="module")
def holding(scripted_server: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevProcess]:
    with DevProcess(tmp_path_factory.mktemp("gauge"), ai=scripted_server.url, front=FRONT) as process:
        yield process


def hold(process: DevProcess, kind: str, megabytes: int) -> None:
    httpx.put(f"{process.url}/hold/{kind}/{megabytes * MEGABYTE}", timeout=60).raise_for_status()


@pytest.mark.parametrize("kind", ["buffer", "text", "python"])
def test_held_memory_is_seen(holding: DevProcess, kind: str) -> None:
    with gauge(holding) as memory:
        before = memory.read()
        hold(holding, kind, HELD_MB)
        grown = memory.read().mb - before.mb
        assert HELD_MB - (SPARE_MB if kind == "python" else 1) <= grown <= HELD_MB + SLACK_MB
        httpx.delete(f"{holding.url}/hold").raise_for_status()
        left = memory.read().mb - before.mb
    assert memory.peak_mb - before.mb >= grown
    if kind == "python":  # what it has had it keeps for later
        assert left == pytest.approx(grown, abs=1)
    else:
        assert left < 2


def test_garbage_does_not_count(holding: DevProcess) -> None:
    with gauge(holding) as memory:
        before = memory.read()
        for _ in range(4):
            hold(holding, "garbage", HELD_MB)
        assert memory.read().mb - before.mb < 2


def test_idle_worker_is_small(holding: DevProcess) -> None:
    with gauge(holding) as memory:
        assert 20 < memory.read().mb < MEMORY_LIMIT_MB


def test_crash_is_told(holding: DevProcess) -> None:
    with pytest.raises(LocalError), gauge(holding):
        holding.crash_workerd()
    with gauge(holding) as memory:
        assert memory.read().mb > 20

"""The first hour's checklist, run against a local deployment: what it asks, prints and counts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.cloud.refusals import RefusalCount, counted_refusals
from scripts.local.paths import local_paths
from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.faults import Fault
from scripts.local.scripted.model import ScriptedModel
from scripts.local.scripted.rules import fixed, when
from tests.scripts.cloudflare_stand_in import ACCOUNT, TOKEN, CloudflareStandIn, Script

REPL = '```python\nFINAL("river")\n```'


@pytest.fixture(scope="module")
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel() as model:
        yield model


@pytest.fixture(scope="module")
def deployed(model: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevProcess]:
    with DevProcess(tmp_path_factory.mktemp("smoke"), ai=model.url) as process:
        yield process


def smoke(deployed: DevProcess, *options: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "scripts.cloud.deploy", "--smoke", "--url", deployed.url, *options]
    environment = {**os.environ, "PYTHONPATH": local_paths().python_path}
    return subprocess.run(
        command, env=environment, input=typed, capture_output=True, text=True, timeout=600, check=False
    )


@pytest.mark.worker
def test_checklist_passes(deployed: DevProcess, model: ScriptedModel) -> None:
    model.reset()
    model.rules = [when("FINAL", fixed(REPL)), fixed("river, stone")]
    model.faults = [Fault(3021, calls=frozenset({5, 6, 7})), Fault(3040, calls=frozenset({9, 10}))]
    done = smoke(deployed, "--yes", "--log", str(deployed.log_file))
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line[0] for line in lines[:7]] == ["✓"] * 7
    assert re.search(r"^✓ 24 model calls at once: 2\d sub-calls, \d+ at once, coverage 100%", done.stdout, re.MULTILINE)
    assert re.search(r"3021: 3, 3040: 2 ", lines[6])
    assert re.search(r"^0\.\d{4} US dollars in all", done.stdout, re.MULTILINE)


@pytest.mark.worker
def test_broken_part_is_told(deployed: DevProcess, model: ScriptedModel) -> None:
    model.reset()
    model.faults = [Fault(5016)]
    done = smoke(deployed, "--yes")
    assert done.returncode == 1
    assert re.search(r"^✗ bindings: .*5016", done.stdout, re.MULTILINE)
    assert re.search(r"^✗ REPL: ", done.stdout, re.MULTILINE)
    assert "not counted" in done.stdout


@pytest.mark.worker
def test_spending_is_asked_first(deployed: DevProcess, model: ScriptedModel) -> None:
    model.reset()
    done = smoke(deployed, typed="n\n")
    assert done.returncode == 1
    assert "about $0." in done.stderr
    assert not model.calls


def test_refusals_are_found_in_tail() -> None:
    """In the log itself, and in what `wrangler tail --format json` makes of it."""
    count = RefusalCount("a log")
    count.add('{"event": "model_refused", "code": 3021, "error": "model_unavailable", "model": "m"}\n')
    count.add(r'{"logs": [{"message": ["{\"event\": \"model_refused\", \"code\": 3046}"]}]}')
    count.add('{"event": "request", "code": 3040}')
    assert count.sentence() == "3021: 1, 3046: 1 (from a log)"


def test_refusals_are_counted_by_tail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pinned wrangler follows the log of the Worker at a workers.dev address."""
    with CloudflareStandIn() as cloud:
        cloud.scripts["rlm-worker"] = Script([], {})
        line = json.dumps({"event": "model_refused", "code": 3040, "model": "m"})
        logs = [{"message": [line], "level": "log", "timestamp": 0}]
        trace = {"outcome": "ok", "scriptName": "rlm-worker", "exceptions": [], "logs": logs, "eventTimestamp": 0}
        cloud.logged = [{**trace, "event": None, "diagnosticsChannelEvents": []}]
        login = {"API_BASE_URL": cloud.url, "API_TOKEN": TOKEN, "ACCOUNT_ID": ACCOUNT}
        for name, value in login.items():
            monkeypatch.setenv(f"CLOUDFLARE_{name}", value)
        with counted_refusals("https://rlm-worker.acme.workers.dev", None) as count:
            pass
    assert count.sentence() == "3040: 1 (from wrangler tail)"

"""The command line against the real Worker in the real runtime."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.model import ScriptedModel
from tests.client.haystack import QUERY, haystack

pytestmark = pytest.mark.worker

SRC = Path(__file__).parents[2] / "src"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text(haystack(f"folder {tmp_path.name}"), encoding="utf-8")
    (tmp_path / "notes" / "b.md").write_text("# Nothing\n\nTo see here.\n", encoding="utf-8")
    return tmp_path


def _command(deployment: DevProcess, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(SRC), "RLM_BASE_URL": deployment.url}
    environment.pop("RLM_API_KEY", None)
    return subprocess.Popen(
        [sys.executable, "-m", "rlm_client._cli", *arguments],
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_folder_asked(deployment: DevProcess, scripted: ScriptedModel, folder: Path) -> None:
    process = _command(deployment, folder, "ask", QUERY, "notes", "--chunk-size", "10000")
    answer, notes = process.communicate()

    assert (process.returncode, "7421093" in answer) == (0, True), notes
    assert "2 documents" in notes
    assert "notes/a.txt" in scripted.calls[0].call.text


def test_estimate_near_the_cost(deployment: DevProcess, scripted: ScriptedModel, folder: Path) -> None:
    question = (QUERY, "notes", "--json", "--chunk-size", "20000")
    planned, _ = _command(deployment, folder, "ask", "--dry-run", *question).communicate()
    assert scripted.calls == []
    answered, _ = _command(deployment, folder, "ask", *question).communicate()

    guess, result = json.loads(planned)["estimate"], json.loads(answered)
    assert guess["strategy"] == result["strategy"]
    assert guess["chunks"] == pytest.approx(result["chunks"], abs=2)
    assert result["costUsd"] / 3 < guess["costUsd"] < result["costUsd"] * 3


def test_result_as_json(deployment: DevProcess, scripted: ScriptedModel, folder: Path) -> None:
    answer, _ = _command(deployment, folder, "ask", "-q", "--json", QUERY, "notes").communicate()

    result = json.loads(answer)
    assert result["success"] is True
    assert result["subCalls"] + result["iterations"] == len(scripted.answered)


def test_interrupt_stops_spending(deployment: DevProcess, scripted: ScriptedModel, folder: Path) -> None:
    scripted.latency = 0.5
    process = _command(deployment, folder, "ask", QUERY, "notes", "--chunk-size", "4000")
    scripted.wait_for_calls(3)
    time.sleep(0.7)
    process.send_signal(signal.SIGINT)
    _, notes = process.communicate()
    made = len(scripted.calls)

    assert process.returncode == 130, notes
    assert "Cancelled. Spent $0.0" in notes
    assert "is deleted." in notes
    time.sleep(1.5)
    assert len(scripted.calls) == made

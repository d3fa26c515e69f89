"""`scripts/test`: which tests run, and how many processes share them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from scripts.local.commands.test import processes, pytest_arguments
from scripts.local.paths import local_paths

SERIES = "tests/worker/test_recovery.py"


def collected(*options: str) -> list[str]:
    command = [sys.executable, "-P", "-m", "pytest", "--collect-only", "-q", *options]
    done = subprocess.run(command, cwd=local_paths().root, capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if "::" in line]


@pytest.mark.parametrize("arguments", [[], ["--full"], ["--quick"]])
def test_whole_suite_is_shared(arguments: list[str]) -> None:
    found = pytest_arguments(arguments)
    assert {f"-n{processes()}", "--dist=loadfile"} <= set(found)
    assert ("--full" in found) is ("--full" in arguments)
    assert ("not worker" in found) is ("--quick" in arguments)


def test_chosen_tests_stay_together() -> None:
    chosen = ["tests/unit", "-k", "chunk", "--full"]
    assert pytest_arguments(chosen) == chosen


def test_quick_starts_no_workerd() -> None:
    assert pytest_arguments(["--quick", "-x"])[-3:] == ["-m", "not worker", "-x"]


def test_series_waits_for_full() -> None:
    part, whole = collected(SERIES), collected(SERIES, "--full")
    assert set(part) < set(whole)
    assert {test.partition("[")[0] for test in part} == {test.partition("[")[0] for test in whole}

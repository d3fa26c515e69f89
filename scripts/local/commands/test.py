"""`scripts/test`: the tests, one summary; arguments go to pytest."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from scripts.local.paths import local_paths

# What an inner loop needs: nothing of this starts a workerd.
_QUICK = ("tests/unit", "tests/property", "tests/client", "-m", "not worker")
# A file's tests share a deployment, so a file stays in one process.
_SIDE_BY_SIDE = ("--dist=loadfile", "--no-loadscope-reorder")
_SLOWEST = "--durations=20"
_MAX_PROCESSES = 4


def main() -> None:
    os.chdir(local_paths().root)
    command = [sys.executable, "-P", "-m", "pytest", *pytest_arguments(sys.argv[1:])]
    os.execv(command[0], command)  # noqa: S606 -- no shell is wanted: this process becomes pytest


def pytest_arguments(arguments: Sequence[str]) -> list[str]:
    """Options for a whole suite, which runs in several processes; what chooses tests is pytest's own affair."""
    shared = [f"-n{processes()}", *_SIDE_BY_SIDE]
    if list(arguments) == ["--quick"]:
        return [*_QUICK, *shared]
    if "--quick" in arguments:
        return [*_QUICK, *(argument for argument in arguments if argument != "--quick")]
    if all(argument == "--full" for argument in arguments):
        return [*shared, _SLOWEST, *arguments]
    return list(arguments)


def processes() -> int:
    """Two on two cores: tests of a deployment wait more than they compute."""
    return max(2, min(os.cpu_count() or 1, _MAX_PROCESSES))


if __name__ == "__main__":
    main()

"""`scripts/bench`: the benchmarks of tests/bench; arguments are their names."""

from __future__ import annotations

import os
import sys

from scripts.local.paths import local_paths


def main() -> None:
    os.chdir(local_paths().root)
    command = [sys.executable, "-m", "tests.bench", *sys.argv[1:]]
    os.execv(command[0], command)  # noqa: S606 -- no shell is wanted: this process becomes the benchmark


if __name__ == "__main__":
    main()

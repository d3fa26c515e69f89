"""`scripts/test`: every test, one summary; arguments go to pytest."""

from __future__ import annotations

import os
import sys

from scripts.local.paths import local_paths


def main() -> None:
    os.chdir(local_paths().root)
    command = [sys.executable, "-P", "-m", "pytest", *sys.argv[1:]]
    os.execv(command[0], command)  # noqa: S606 -- no shell is wanted: this process becomes pytest


if __name__ == "__main__":
    main()

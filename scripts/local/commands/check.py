"""`scripts/check`: ruff's lint and format, mypy in strict mode; all of them run, then the first failure counts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from scripts.local.paths import local_paths
from scripts.local.processes import say


def main() -> int:
    paths = local_paths()
    tools = paths.venv / "bin"
    checks: dict[str, list[str | Path]] = {
        "ruff check": [tools / "ruff", "check", *sys.argv[1:]],
        "ruff format": [tools / "ruff", "format", "--check"],
        "mypy": [paths.python, "-m", "mypy"],
    }
    failed = [
        name for name, command in checks.items() if subprocess.run(command, cwd=paths.root, check=False).returncode
    ]
    say(f"failed: {', '.join(failed)}" if failed else "lint, format and types are clean")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

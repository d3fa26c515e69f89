"""`scripts/check`: ruff's lint and format, mypy in strict mode, and whether the pinned runtime is behind.

All of them run. A runtime that is behind, or a registry that does not answer, is a note: it is no fault of this commit.
A version that its makers have withdrawn is a failure: that happens when it must not be used any more.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from scripts.local.paths import LocalPaths, local_paths
from scripts.local.processes import say
from scripts.local.setup.updates import Ask, updates


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
    if withdrawn_pins(paths):
        failed.append("pins")
    say(f"failed: {', '.join(failed)}" if failed else "lint, format and types are clean")
    return 1 if failed else 0


def withdrawn_pins(paths: LocalPaths, ask: Ask | None = None) -> bool:
    """Says what the registry says of the pinned runtime; whether one of its versions was withdrawn."""
    found = updates(paths, ask)
    if found is None:
        say("note: no npm registry answered, so nothing is known of newer runtimes")
        return False
    for update in found:
        if sentence := update.sentence():
            say(sentence if update.withdrawn else f"note: {sentence}")
    return any(update.withdrawn for update in found)


if __name__ == "__main__":
    sys.exit(main())

"""The command line, `rlm`; needs the extra `[cli]`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run `rlm` and leave the process with its exit code."""
    try:
        from .app import rlm  # noqa: PLC0415 - the library installs without the command line's parts
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in ("click", "rich", "pathspec"):
            raise
        sys.exit(f"rlm: {missing.name} is not installed: the command line needs the extra, as in pip install '.[cli]'")
    rlm(prog_name="rlm")

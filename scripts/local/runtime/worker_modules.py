"""Which of our files are the Worker: deploys and local runs upload the same, and nothing that it does not import.

Left to itself wrangler uploads every Python file below the entry's folder, and refuses rules that say otherwise.
"""

from __future__ import annotations

import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PACKAGE = "rlm_worker"
# The public doubles lie beside what they stand in for.
_NOT_UPLOADED = frozenset({f"{_PACKAGE}/testing.py"})


def entry_file(root: Path) -> Path:
    """The Worker's entry, as wrangler.toml names it."""
    return root / str(tomllib.loads((root / "wrangler.toml").read_text(encoding="utf-8"))["main"])


def worker_modules(entry: Path) -> tuple[str, ...]:
    """Names below the entry's folder, the entry first."""
    found = (path.relative_to(entry.parent).as_posix() for path in (entry.parent / _PACKAGE).rglob("*.py"))
    return (entry.name, *sorted(name for name in found if name not in _NOT_UPLOADED))


@contextmanager
def staged_worker(root: Path) -> Iterator[Path]:
    """Copies the Worker into a folder where nothing else is, for wrangler to upload; gives the entry in there."""
    entry = entry_file(root)
    with tempfile.TemporaryDirectory(prefix="rlm-worker-") as folder:
        for name in worker_modules(entry):
            target = Path(folder) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(entry.parent / name, target)
        yield Path(folder) / entry.name

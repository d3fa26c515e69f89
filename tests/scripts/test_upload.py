"""What is uploaded is what the Worker imports: by a deploy and by a local run, the same list."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.cloud.config import target
from scripts.cloud.deploy import bundle
from scripts.local.paths import local_paths
from scripts.local.runtime.worker_modules import entry_file, worker_modules
from tests.unit.test_layers import imports

PATHS = local_paths()
SRC = PATHS.root / "src"


@pytest.fixture(scope="module")
def uploaded(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What `wrangler deploy`, as scripts/deploy calls it, uploads beside what is vendored."""
    folder = tmp_path_factory.mktemp("upload")
    bundle(PATHS, target(PATHS.root), f"--outdir={folder}")
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*.py")}
    return {name for name in names if not name.startswith("python_modules/")}


def imported() -> set[str]:
    """The entry, all that it imports, and the sandbox, which it reads as text."""
    waiting, found = [SRC / "entry.py", *(SRC / "rlm_worker" / "sandbox").glob("*.py")], set[Path]()
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += [file for name in imports(module) for file in files_of(name)]
    return {path.relative_to(SRC).as_posix() for path in found}


def files_of(name: str) -> list[Path]:
    """Our module of that name, with the packages that it lies in."""
    parts = name.split(".")
    places = [SRC.joinpath(*parts[:length]) for length in range(1, len(parts) + 1)]
    packages = [place / "__init__.py" for place in places]
    return [file for file in (*packages, places[-1].with_suffix(".py")) if file.exists()]


def test_upload_is_what_is_imported(uploaded: set[str]) -> None:
    assert uploaded == imported()


def test_local_run_uploads_the_same(uploaded: set[str]) -> None:
    assert set(worker_modules(entry_file(PATHS.root))) == uploaded

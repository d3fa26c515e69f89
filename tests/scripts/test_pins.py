"""One place for every version, and no address of a registry anywhere."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from scripts.local.commands.check import withdrawn_pins
from scripts.local.paths import local_paths
from scripts.local.setup.pins import LARGE, SMALL, node_packages, python_packages

ROOT = local_paths().root
GROUPS = ("worker", "local", "check", "test", "models")
# Spelt in pieces, so that this file passes its own test.
REGISTRIES = ("pypi" + ".org", "files." + "pythonhosted" + ".org", "registry." + "npmjs", "deb." + "debian")


@pytest.mark.parametrize("group", GROUPS)
def test_groups_are_exact(group: str) -> None:
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in python_packages(ROOT, group))


def test_node_packages_are_exact() -> None:
    assert all(re.fullmatch(r"[\w-]+@\d+\.\d+\.\d+", pin) for pin in node_packages(ROOT))


def test_groups_match_constraints() -> None:
    constraints = local_paths().constraints.read_text(encoding="utf-8").lower().splitlines()
    for pin in python_packages(ROOT, "local", "check", "test"):
        assert pin.lower() in constraints


def test_worker_uses_tested_pydantic() -> None:
    (pinned,) = [pin for pin in python_packages(ROOT, "worker") if pin.startswith("pydantic")]
    assert pinned in python_packages(ROOT, "local")


def test_weights_are_hashed() -> None:
    assert len(LARGE.packages) == 22
    assert all(re.fullmatch(r"[0-9a-f]{64}", weights.sha256) for weights in (SMALL, LARGE))


def test_worker_needs_no_httpx() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    requirements = [Requirement(text) for text in project["project"]["dependencies"]]
    worker = {"sys_platform": "emscripten"}
    vendored = {one.name for one in requirements if one.marker is None or one.marker.evaluate(worker)}
    assert "pydantic" in vendored
    assert "httpx" not in vendored


def test_wheel_holds_client_only(tmp_path: Path) -> None:
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", tmp_path, ROOT], check=True)
    (wheel,) = tmp_path.glob("rlm_worker-*.whl")
    with zipfile.ZipFile(wheel) as content:
        folders = {name.split("/")[0] for name in content.namelist()}
    assert {folder for folder in folders if not folder.endswith(".dist-info")} == {"rlm_client"}


def registry(**answers: str) -> Callable[[Sequence[str]], object]:
    """A registry that knows `name_field`."""
    return lambda asked: answers.get(f"{asked[0].partition('@')[0]}_{asked[1]}", "")


def test_newer_runtime_is_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    assert not withdrawn_pins(local_paths(), registry(wrangler_version="99.0.0", pyodide_version="999.0.0"))
    said = capsys.readouterr().err
    assert re.search(r"^note: wrangler [\d.]+ is behind 99\.0\.0", said, re.MULTILINE)


def test_current_runtime_needs_no_word(capsys: pytest.CaptureFixture[str]) -> None:
    newest = {f"{name}_version": version for name, version in (pin.split("@") for pin in node_packages(ROOT))}
    assert not withdrawn_pins(local_paths(), registry(**newest))
    assert not capsys.readouterr().err


def test_silent_registry_is_no_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert not withdrawn_pins(local_paths(), registry())
    assert "no npm registry answered" in capsys.readouterr().err


def test_withdrawn_runtime_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert withdrawn_pins(local_paths(), registry(wrangler_version="99.0.0", wrangler_deprecated="security"))
    assert "withdrawn by its makers (security): pin 99.0.0" in capsys.readouterr().err


def test_no_registry_is_named() -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, tracked.decode().split("\0")):
        content = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b""
        assert not [host for host in REGISTRIES if host.encode() in content], name

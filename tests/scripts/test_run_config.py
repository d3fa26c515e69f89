"""The local configuration: what ops deploy, plus what only this machine needs."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from scripts.local.paths import LocalPaths, local_paths
from scripts.local.runtime.run_config import Upstream, Upstreams, write_run_config
from scripts.local.runtime.worker_modules import entry_file, worker_modules

DEVELOPMENT = {"python_workers_development", "experimental", "disable_python_dedicated_snapshot"}
DEPLOYED = tomllib.loads((local_paths().root / "wrangler.toml").read_text(encoding="utf-8"))


def derived(tmp_path: Path, *, bundle: str = "assembled", upstreams: Upstreams | None = None) -> dict[str, object]:
    paths = LocalPaths(root=local_paths().root, parts=tmp_path)
    paths.bundle.mkdir()
    (paths.bundle / "kind").write_text(bundle, encoding="utf-8")
    file = write_run_config(paths, tmp_path, port=1234, upstreams=upstreams, variables={"MINE": "1", "RLM_LOCAL": "0"})
    config: dict[str, object] = json.loads(file.read_text(encoding="utf-8"))
    return config


def test_ops_get_no_development_flag() -> None:
    assert not DEVELOPMENT & set(DEPLOYED["compatibility_flags"])
    assert "RLM_LOCAL" not in DEPLOYED["vars"]
    assert DEPLOYED["compatibility_date"] >= "2026-09-08"


@pytest.mark.parametrize(("bundle", "flags"), [("assembled", DEVELOPMENT), ("official", set())])
def test_flags_follow_bundle(tmp_path: Path, bundle: str, flags: set[str]) -> None:
    assert set(derived(tmp_path, bundle=bundle)["flags"]) == flags  # type: ignore[call-overload]


def test_own_vars_win(tmp_path: Path) -> None:
    variables = derived(tmp_path)["vars"]
    assert isinstance(variables, dict)
    assert variables.items() >= {"RLM_LOCAL": "0", "RLM_LOCAL_BUNDLE": "1", "MINE": "1"}.items()


def test_upstreams_by_model(tmp_path: Path) -> None:
    upstreams = Upstreams(default=Upstream("http://a/v1/"), models={"m": Upstream("http://b/v1", "own", "k")})
    expected = {"default": {"url": "http://a/v1"}, "models": {"m": {"url": "http://b/v1", "model": "own", "key": "k"}}}
    assert derived(tmp_path, upstreams=upstreams)["upstreams"] == expected
    assert (tmp_path / "run.json").stat().st_mode & 0o077 == 0
    assert "'k'" not in repr(upstreams)


def test_remote_has_no_upstream(tmp_path: Path) -> None:
    assert derived(tmp_path)["upstreams"] is None


def test_client_stays_outside(tmp_path: Path) -> None:
    modules = derived(tmp_path)["modules"]
    assert isinstance(modules, list)
    assert modules[0] == "entry.py"
    assert not [name for name in modules if name.startswith("rlm_client/")]


def test_limits_stand_in_front(tmp_path: Path) -> None:
    config = derived(tmp_path)
    assert config["platform"] == str(local_paths().platform)
    assert not [name for name in worker_modules(entry_file(local_paths().root)) if "strict" in name]

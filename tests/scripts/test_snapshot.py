"""The memory snapshot that local isolates open from."""

from __future__ import annotations

from pathlib import Path

from scripts.local.paths import LocalPaths, local_paths
from scripts.local.runtime.run_config import runner_environment
from scripts.local.setup.snapshot import SNAPSHOT_NAME, take_snapshot


def test_snapshot_is_python_alone(tmp_path: Path) -> None:
    real = local_paths()
    parts = LocalPaths(root=tmp_path, parts=tmp_path)
    for folder in (real.npm, real.bundle):
        (tmp_path / folder.name).symlink_to(folder, target_is_directory=True)
    take_snapshot(parts)
    content = (parts.snapshot / SNAPSHOT_NAME).read_bytes()
    assert b'"snapshotType":"baseline"' in content
    assert b"rlm_worker" not in content
    assert b"pydantic" not in content


def test_missing_snapshot_is_left_out(tmp_path: Path) -> None:
    paths = LocalPaths(root=local_paths().root, parts=tmp_path)
    assert "RLM_SNAPSHOT" not in runner_environment(paths, tmp_path)
    paths.snapshot.mkdir()
    (paths.snapshot / SNAPSHOT_NAME).touch()
    assert runner_environment(paths, tmp_path)["RLM_SNAPSHOT"] == SNAPSHOT_NAME

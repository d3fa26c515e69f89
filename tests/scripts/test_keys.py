"""`scripts/keys` against a deployment, as ops type it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest

from scripts.cloud.keys import digest_of, key_table
from scripts.local.paths import local_paths
from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.model import ScriptedModel

pytestmark = pytest.mark.worker
ADMIN = "the admin key"
VARIABLES = {"RLM_LOCAL": "", "RLM_ADMIN_KEYS": digest_of(ADMIN)}


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevProcess]:
    folder = tmp_path_factory.mktemp("keys")
    with ScriptedModel() as model, DevProcess(folder, ai=model.url, variables=VARIABLES) as process:
        yield process


def keys(deployed: DevProcess, *arguments: str, admin_key: str = ADMIN) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": local_paths().python_path, "RLM_BASE_URL": deployed.url}
    command = [sys.executable, "-P", "-m", "scripts.cloud.keys", *arguments]
    environment["RLM_ADMIN_KEY"] = admin_key
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def made(deployed: DevProcess, *arguments: str) -> str:
    done = keys(deployed, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def status(deployed: DevProcess, key: str) -> int:
    return httpx.get(f"{deployed.url}/v1/models", headers={"authorization": f"Bearer {key}"}, timeout=60).status_code


def soon(deployed: DevProcess, key: str, wanted: int, seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while status(deployed, key) != wanted and time.monotonic() < deadline:
        time.sleep(0.3)
    return status(deployed, key) == wanted


def test_added_key_is_shown_once(deployed: DevProcess) -> None:
    key = made(deployed, "add", "ann", "--daily-usd", "5")
    assert soon(deployed, key, 200)
    shown = made(deployed, "list")
    assert digest_of(key)[:12] in shown
    assert "of $5" in shown
    assert key not in shown
    assert keys(deployed, "add", "ann").returncode == 1


def test_rotation_and_revocation(deployed: DevProcess) -> None:
    old = made(deployed, "add", "bob")
    new = made(deployed, "rotate", "bob")
    assert soon(deployed, new, 200)
    assert status(deployed, old) == 200
    assert keys(deployed, "revoke", digest_of(old)[:12]).returncode == 0
    shown = made(deployed, "list", "--all")
    assert "revoked" in shown
    assert soon(deployed, old, 401, 40)
    assert status(deployed, new) == 200
    assert keys(deployed, "revoke", "bob").returncode == 0
    assert "no key of bob is active" in keys(deployed, "revoke", "bob").stderr


def test_overlap_is_listed(deployed: DevProcess) -> None:
    made(deployed, "add", "cid", "--days", "30")
    done = keys(deployed, "rotate", "cid", "--overlap-hours", "24")
    assert "1 old key of cid end in 24 hours" in done.stderr
    assert len([line for line in made(deployed, "list").splitlines() if " cid " in line]) == 2


def test_budget_is_changed(deployed: DevProcess) -> None:
    made(deployed, "add", "dan")
    assert "no limit" in keys(deployed, "budget", "dan", "0").stderr
    assert "of $25" in keys(deployed, "budget", "dan").stderr


@pytest.mark.parametrize("arguments", [("list",), ("add", "eve"), ("revoke", "ann")])
def test_wrong_admin_key_is_told(deployed: DevProcess, arguments: tuple[str, ...]) -> None:
    done = keys(deployed, *arguments, admin_key="guess")
    assert done.returncode == 1
    assert "--new-admin-key" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_place_is_told(deployed: DevProcess) -> None:
    done = keys(deployed, "--url", "http://127.0.0.1:9", "list")
    assert done.returncode == 1
    assert "cannot be reached" in done.stderr


def test_ended_keys_are_hidden() -> None:
    entry = {"name": "ann", "digest": "0" * 64, "createdAt": "2026-11-24T12:00:00.000Z"}
    listing = {"keys": [{**entry, "state": "active"}, {**entry, "state": "revoked"}], "budgets": []}
    assert key_table(listing, everything=False).row_count == 1
    assert key_table(listing, everything=True).row_count == 2

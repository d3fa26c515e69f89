"""`scripts/dev`: one deployment, its processes and its state."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from scripts.local.commands.dev import unknown_variable
from scripts.local.errors import LocalError
from scripts.local.paths import local_paths
from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.model import ScriptedModel

pytestmark = pytest.mark.worker

QUESTION = {"context": "One of the special magic numbers for tower is: 8123456.", "query": "The number for tower?"}
_PATIENCE_SECONDS = 30.0


@pytest.fixture(scope="module")
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel() as model:
        yield model


@pytest.fixture
def dev(model: ScriptedModel, tmp_path: Path) -> Iterator[DevProcess]:
    model.reset()
    with DevProcess(tmp_path / "state", ai=model.url, variables={"CONTEXT_CHUNK_SIZE": "12345"}) as process:
        yield process


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def run_dev(*options: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": local_paths().python_path}
    command = [sys.executable, "-P", "-m", "scripts.local.commands.dev", *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_var_reaches_worker(dev: DevProcess) -> None:
    health = httpx.get(f"{dev.url}/health").json()
    assert health["limits"]["defaults"]["chunkSize"] == 12345


def test_ready_line_and_good_end(dev: DevProcess) -> None:
    workerd = dev.workerd_pid
    assert f"ready {dev.url}\n" in dev.log()
    dev.stop()
    assert not is_alive(workerd)
    assert not (dev.state / "dev.json").exists()


def test_lone_kill_leaves_nothing(dev: DevProcess) -> None:
    workerd = dev.workerd_pid
    os.kill(dev.pid, signal.SIGKILL)
    assert eventually(lambda: not is_alive(workerd))


def test_crash_keeps_deployment(dev: DevProcess, model: ScriptedModel) -> None:
    answer = httpx.post(f"{dev.url}/rlm", json=QUESTION, timeout=60).json()
    dev.crash_workerd()
    result = httpx.get(f"{dev.url}/session/{answer['sessionId']}/result", timeout=60).json()
    assert result["answer"] == answer["answer"]
    assert len(model.calls) == 1


def test_restart_keeps_deployment(dev: DevProcess) -> None:
    answer = httpx.post(f"{dev.url}/rlm", json=QUESTION, timeout=60).json()
    url = dev.url
    dev.restart()
    result = httpx.get(f"{dev.url}/session/{answer['sessionId']}/result", timeout=60).json()
    assert dev.url == url
    assert result["answer"] == answer["answer"]


def test_state_has_one_owner(dev: DevProcess, model: ScriptedModel) -> None:
    second = DevProcess(dev.state, ai=model.url)
    with pytest.raises(LocalError) as caught:
        second.start()
    assert "in use by another deployment" in caught.value.report()
    assert httpx.get(f"{dev.url}/health").status_code == 200


def test_wrong_var_is_told(model: ScriptedModel, tmp_path: Path) -> None:
    ended = run_dev("--port=0", f"--state={tmp_path}", f"--ai={model.url}", "--var=CONTEXT_CHUNK_SIZE=many")
    assert ended.returncode == 1
    assert "CONTEXT_CHUNK_SIZE" in ended.stderr


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("KEY_DAYLY_USD", "KEY_DAILY_USD"),
        ("max_sub_calls", "MAX_SUB_CALLS"),
        ("RLM_API_KEY", "RLM_API_KEYS"),
        ("QUITE_ELSE", "README"),
    ],
)
def test_unknown_var_is_refused(given: str, told: str) -> None:
    ended = run_dev(f"--var={given}=1")
    assert ended.returncode == 2
    assert told in " ".join(ended.stderr.split())


def test_every_var_is_known() -> None:
    variables = {
        "CORS_ORIGINS": "no origin",
        "RLM_ADMIN_KEYS": "",
        "DEPLOYMENT_DAILY_USD": "1",
        "RLM_LOCAL_BUNDLE": "1",
    }
    assert not [name for name in variables if unknown_variable(name, variables)]


@pytest.mark.parametrize("option", ["--ai=telepathy", "--var=NAME", "--port=70000"])
def test_bad_option_is_refused(option: str) -> None:
    ended = run_dev(option)
    assert ended.returncode == 2
    assert "Usage" in ended.stderr

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
from scripts.local.providers.anthropic_api import AnthropicServer
from scripts.local.providers.openai_api import OpenAIServer
from scripts.local.providers.served import ServedModel
from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.calls import Reply
from scripts.local.scripted.model import ScriptedModel
from scripts.local.scripted.rules import fixed

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
    """It serves, and whatever is asked of it is answered with the sentence that mends it."""
    sentence = "the var MODEL_OVERRIDES, @cf/a/b.input_price: is missing"
    variables = {"MODEL_OVERRIDES": '{"@cf/a/b": {"window": 9000}}'}
    with DevProcess(tmp_path, ai=model.url, variables=variables) as process:
        health = httpx.get(f"{process.url}/health")
        assert (health.status_code, health.json()["error"]["type"]) == (503, "not_configured")
        assert health.json()["error"]["message"].startswith(sentence)
        assert httpx.post(f"{process.url}/rlm", json=QUESTION, timeout=60).json()["error"] == health.json()["error"]
        assert sentence in process.log()


def test_one_model_behind_a_key(model: ScriptedModel, tmp_path: Path) -> None:
    """A server that checks model and key, as Ollama and its like do; it is named in the result, and costs nothing."""
    served = {"llama3.2:3b": ServedModel(window=8_192)}
    with OpenAIServer(key="key-of-the-server", models=served) as server:
        server.rules = [fixed("8123456")]
        options = ["--ai-model=llama3.2:3b", "--ai-key-env=OWN_KEY"]
        with DevProcess(
            tmp_path, ai=server.url, options=options, environment={"OWN_KEY": "key-of-the-server"}
        ) as process:
            result = httpx.post(f"{process.url}/rlm", json=QUESTION, timeout=60).json()
            listed = httpx.get(f"{process.url}/v1/models", timeout=60).json()["data"]
        assert (result["answer"], result["costUsd"], result["neurons"]) == ("8123456", 0, 0)
        assert result["rootModel"] == result["models"][0]["model"] == "local/llama3.2:3b"
        assert [entry["window"] for entry in listed if entry["id"] == "local/llama3.2:3b"] == [8_192]
        assert "key-of-the-server" not in process.log()
        assert '"models": ["local/llama3.2:3b"]' in process.log()
        assert [entry.call.model for entry in server.calls] == ["llama3.2:3b"]


def test_other_server_is_named(tmp_path: Path) -> None:
    """A server that ignores the name it is asked for: who answered is what it says of itself."""
    with ScriptedModel() as other:
        other.rules = [lambda call: Reply("8123456")]
        other.answers_as = "tiny-1b"
        with DevProcess(tmp_path, ai=other.url) as process:
            for stream in (False, True):
                asked = {**QUESTION, "stream": stream, "config": {"useCache": False}}
                answer = httpx.post(f"{process.url}/rlm", json=asked, timeout=60)
                assert '"model":"local/tiny-1b"' in answer.text.replace('": "', '":"')
                assert '"costUsd":0.0' in answer.text.replace('": ', '":')


def test_provider_option(model: ScriptedModel, tmp_path: Path) -> None:
    served = {"claude-haiku-4-5": ServedModel()}
    with AnthropicServer(key="sk-of-the-environment", models=served) as server:
        server.rules = [fixed("8123456")]
        with DevProcess(
            tmp_path,
            ai=model.url,
            options=[f"--provider=anthropic={server.url}"],
            environment={"ANTHROPIC_API_KEY": "sk-of-the-environment"},
        ) as process:
            asked = {**QUESTION, "config": {"rootModel": "anthropic:claude-haiku-4-5"}}
            result = httpx.post(f"{process.url}/rlm", json=asked, timeout=60).json()
        assert result["answer"] == "8123456"
        assert result["costUsd"] == pytest.approx(server.charged())


@pytest.mark.parametrize("judge", ["reranker", "embeddings"])
def test_judge_option(model: ScriptedModel, tmp_path: Path, judge: str) -> None:
    """A server of this machine judges: it is named in the result, and charges nothing."""
    model.rules = [fixed("NONE")]
    config = {"strategy": "map_reduce", "maxSubCalls": 1, "relevance": judge}
    asked = {**QUESTION, "context": "A number for nobody.\n" * 20_000, "config": config}
    with ScriptedModel() as server:
        with DevProcess(tmp_path, ai=model.url, options=[f"--judge={judge}={server.url}"]) as process:
            result = httpx.post(f"{process.url}/rlm", json=asked, timeout=120).json()
        assert result["relevance"] == {"asked": judge, "judge": judge}
        assert {entry.call.model for entry in server.calls} == {f"local/{judge}"}
    (used,) = [usage for usage in result["models"] if usage["model"] == f"local/{judge}"]
    assert used["calls"] == len(server.calls)
    assert used["costUsd"] == 0


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


@pytest.mark.parametrize(
    "option",
    [
        *("--ai=telepathy", "--var=NAME", "--port=70000", "--provider=NAME", "--provider=a:b=http://x"),
        *("--ai-model=x", "--ai-key-env=NOBODY_SET_THIS", "--judge=decision=http://x", "--judge=reranker"),
    ],
)
def test_bad_option_is_refused(option: str) -> None:
    ended = run_dev(option)
    assert ended.returncode == 2
    assert "Usage" in ended.stderr

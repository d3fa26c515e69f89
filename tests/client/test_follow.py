"""A further question in an earlier session: what the clients and the command line send, keep and show."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rlm_client import AsyncRLMClient, PreviousSession, RequestError, RLMClient, RLMResult
from rlm_client._cli.app import rlm
from rlm_client._cli.last_session import last_session, remember_session
from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.model import ScriptedModel
from tests.client.conftest import IMPATIENT
from tests.client.fake_worker import KEY, FakeWorker

SESSION = "0123456789abcdef" * 2
TEXT = "One of the special magic numbers for amber-fox is: 7481932."


class Shell:
    """Runs `rlm` with a state folder of its own."""

    def __init__(self, url: str, state: Path, key: str = KEY) -> None:
        self._runner = CliRunner(env={"RLM_BASE_URL": url, "RLM_API_KEY": key, "XDG_STATE_HOME": str(state)})

    def __call__(self, *arguments: str) -> Result:
        return self._runner.invoke(rlm, arguments, obj=IMPATIENT)


@pytest.fixture
def shell(worker: FakeWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("alpha")
    return Shell(worker.url, tmp_path / "state")


def sent(worker: FakeWorker) -> dict[str, object]:
    """The last request that asked something."""
    return next(one for one in reversed(worker.received) if one.method == "POST").json()


@pytest.mark.parametrize("previous", [SESSION, PreviousSession(SESSION), RLMResult(success=True, session_id=SESSION)])
def test_follow_sends_session(
    client: RLMClient, worker: FakeWorker, previous: str | PreviousSession | RLMResult
) -> None:
    client.follow(previous, "and now?", {"chunkSize": 900})
    assert sent(worker) == {"previousSessionId": SESSION, "query": "and now?", "config": {"chunkSize": 900}}


async def test_async_follow_sends_session(async_client: AsyncRLMClient, worker: FakeWorker) -> None:
    await async_client.follow(SESSION, "and now?")
    assert sent(worker) == {"previousSessionId": SESSION, "query": "and now?"}


def test_previous_stands_for_context(client: RLMClient, worker: FakeWorker) -> None:
    """In every call that takes one."""
    client.submit(PreviousSession(SESSION), "later?")
    assert sent(worker)["previousSessionId"] == SESSION
    list(client.stream(RLMResult(success=False, session_id=SESSION), "live?"))
    assert sent(worker)["previousSessionId"] == SESSION


def test_result_without_session(client: RLMClient) -> None:
    with pytest.raises(RequestError, match="has no session"):
        client.follow(RLMResult(success=True, answer="42"), "and now?")


@pytest.mark.parametrize(
    "arguments", [("--follow", "and now?"), ("and now?", "--follow"), ("-q", "--follow", "and now?")]
)
def test_last_session_is_followed(shell: Shell, worker: FakeWorker, arguments: tuple[str, ...]) -> None:
    assert shell("ask", "first?", "a.txt").exit_code == 0
    followed = shell("ask", *arguments)
    assert followed.exit_code == 0, followed.output
    assert sent(worker) == {"previousSessionId": "s1", "query": "and now?", "stream": True}


def test_named_session_is_followed(shell: Shell, worker: FakeWorker) -> None:
    for arguments in (("--follow", SESSION, "and now?"), (f"--follow={SESSION}", "and now?")):
        asked = shell("ask", *arguments, "--chunk-size", "900")
        assert asked.exit_code == 0, asked.output
        assert f"Following session {SESSION}" in asked.stderr
        assert sent(worker)["previousSessionId"] == SESSION
        assert sent(worker)["config"] == {"chunkSize": 900}


def test_background_is_remembered(shell: Shell, worker: FakeWorker) -> None:
    assert shell("ask", "first?", "a.txt", "--background").exit_code == 0
    shell("ask", "--follow", "and now?", "--background")
    assert sent(worker)["previousSessionId"] == "s1"


def test_failed_run_is_remembered(shell: Shell, worker: FakeWorker) -> None:
    worker.failure = {"type": "nothing_read", "message": "no part of the context could be read"}
    assert shell("ask", "first?", "a.txt").exit_code == 1
    worker.failure = None
    shell("ask", "--follow", "and now?")
    assert sent(worker)["previousSessionId"] == "s1"


def test_nothing_to_follow(shell: Shell, worker: FakeWorker) -> None:
    asked = shell("ask", "--follow", "and now?")
    assert asked.exit_code == 2
    assert "Nothing was asked at" in asked.output
    assert not worker.received


@pytest.mark.parametrize("more", [("a.txt",), ("--dry-run",)])
def test_no_text_beside_it(shell: Shell, worker: FakeWorker, more: tuple[str, ...]) -> None:
    asked = shell("ask", "--follow", "and now?", *more)
    assert asked.exit_code == 2
    assert "--follow is about the text of the session before" in " ".join(asked.output.split())
    assert not worker.received


def test_one_memory_per_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    remember_session("http://one", "1")
    remember_session("http://two", "2")
    remember_session("http://one", "3")
    remember_session("http://one", None)
    assert (last_session("http://one"), last_session("http://two"), last_session("http://three")) == ("3", "2", None)
    files = list((tmp_path / "rlm").iterdir())
    assert len(files) == 2
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"sessionId": 7}', "\xff"])
def test_damaged_memory_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: str) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    remember_session("http://one", "1")
    (file,) = (tmp_path / "rlm").iterdir()
    file.write_bytes(damaged.encode("latin-1"))
    assert last_session("http://one") is None


def test_no_place_to_remember(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be kept, everything else works."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    remember_session("http://one", "1")
    assert last_session("http://one") is None


@pytest.mark.worker
def test_chat_with_real_worker(
    deployment: DevProcess, scripted: ScriptedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "note.txt").write_text(TEXT)
    with RLMClient(deployment.url) as client:
        first = client.run(TEXT, "number for amber-fox?")
        second = client.follow(first, "amber-fox, again?")
        third = client.run(second, "and once more, amber-fox?")
        assert [one.previous_session_id for one in (first, second, third)] == [
            None,
            first.session_id,
            second.session_id,
        ]
        assert client.status(str(third.session_id)).previous_session_id == second.session_id
    assert {one.answer for one in (first, second, third)} == {TEXT}
    shell = Shell(deployment.url, tmp_path / "state", "")
    shell("ask", "number for amber-fox?", "note.txt")
    asked = shell("ask", "--follow", "amber-fox?")
    assert asked.stdout == f"{TEXT}\n"
    known = json.loads(shell("ask", "--follow", "amber-fox, at last?", "--json").stdout)
    assert f"follows     {known['previousSessionId']}" in shell("status", known["sessionId"]).stdout
    assert f"follows session {known['previousSessionId']}" in shell("result", known["sessionId"]).stderr


@pytest.mark.worker
async def test_async_chat_with_real_worker(deployment: DevProcess, scripted: ScriptedModel) -> None:
    async with AsyncRLMClient(deployment.url) as client:
        first = await client.run(TEXT, "number for amber-fox, please?")
        second = await client.follow(first, "amber-fox, again, please?")
    assert (second.answer, second.previous_session_id) == (TEXT, first.session_id)

"""The command line as a process: at a terminal, in a pipe, interrupted."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.client.fake_worker import KEY, FakeWorker, error_fault

SRC = Path(__file__).parents[2] / "src"
COMMAND = [sys.executable, "-m", "rlm_client._cli"]
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def _environment(worker: FakeWorker, **extra: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    ours = {"PYTHONPATH": str(SRC), "RLM_BASE_URL": worker.url, "RLM_API_KEY": KEY, "TERM": "xterm-256color"}
    return {**inherited, **ours, "COLUMNS": "100", "LINES": "30", **extra}


class Terminal:
    """A process whose three streams are a terminal."""

    def __init__(self, arguments: list[str], environment: Mapping[str, str], folder: Path) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=dict(environment),
            cwd=folder,
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509 - it makes one system call
        )
        os.close(slave)
        self.text = ""

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def read_until(self, pattern: str, patience: float = 20.0) -> None:
        deadline = time.monotonic() + patience
        while not re.search(pattern, self.text):
            assert time.monotonic() < deadline, f"never saw {pattern!r} in {self.text!r}"
            self._read(0.2)

    def end(self) -> int:
        while self._read(0.2) or self.process.poll() is None:
            pass
        return self.process.wait()

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self._master)

    def _read(self, patience: float) -> bool:
        if not select.select([self._master], [], [], patience)[0]:
            return False
        try:
            data = os.read(self._master, 65_536)
        except OSError:
            return False
        self.text += data.decode(errors="replace")
        return bool(data)


def _take_terminal() -> None:
    # Only the controlling terminal turns the key into a signal.
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextmanager
def _terminal(worker: FakeWorker, *arguments: str, folder: Path, **extra: str) -> Iterator[Terminal]:
    terminal = Terminal(list(arguments), _environment(worker, **extra), folder)
    try:
        yield terminal
    finally:
        terminal.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("alpha " * 30_000)
    return tmp_path


def _piped(worker: FakeWorker, folder: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    environment = _environment(worker, **extra)
    return subprocess.run(
        [*COMMAND, *arguments], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )


def test_ctrl_c_cancels(worker: FakeWorker, folder: Path) -> None:
    worker.next_visible = 4
    with _terminal(worker, "ask", "q", "a.txt", folder=folder) as terminal:
        terminal.read_until("2/4 chunks")
        terminal.type(b"\x03")
        code = terminal.end()

    assert code == 130
    assert "Cancelled. Spent $0.0002 for 2 of 4 chunks; session s1 is deleted." in terminal.text
    assert "DELETE /session/s1" in worker.paths()
    assert worker.sessions == {}
    assert "Traceback" not in terminal.text


def test_uncancellable_run_named(worker: FakeWorker, folder: Path) -> None:
    worker.next_visible = 4
    with _terminal(worker, "ask", "q", "a.txt", folder=folder) as terminal:
        terminal.read_until("2/4 chunks")
        worker.faults.append(error_fault(403))
        terminal.type(b"\x03")
        code = terminal.end()

    assert code == 130
    assert "session s1 could not be cancelled" in terminal.text.replace("\r\n", " ")


def test_interrupted_batch_cancelled(worker: FakeWorker, folder: Path) -> None:
    (folder / "in.jsonl").write_text('{"context": "a", "query": "one"}\n')
    worker.batch_stands = True
    with _terminal(worker, "batch", "in.jsonl", folder=folder) as terminal:
        terminal.read_until("0 of 1 question done")
        terminal.type(b"\x03")
        code = terminal.end()

    assert code == 130
    assert "Cancelled: batch b1 · 0 of 1 question done · $0" in terminal.text
    assert worker.batches == {}


def test_quiet_batch_shows_nothing(worker: FakeWorker, folder: Path) -> None:
    (folder / "in.jsonl").write_text('{"context": "a", "query": "one"}\n')
    with _terminal(worker, "batch", "-q", "in.jsonl", "-o", "out.jsonl", folder=folder) as terminal:
        code = terminal.end()

    assert (code, terminal.text) == (0, "")
    assert '"index":0' in (folder / "out.jsonl").read_text()


def test_terminal_has_colour_and_bar(worker: FakeWorker, folder: Path) -> None:
    with _terminal(worker, "ask", "q", "a.txt", folder=folder) as terminal:
        code = terminal.end()

    plain = COLOUR.sub("", terminal.text)
    assert code == 0
    assert "━━━" in plain
    assert COLOUR.search(terminal.text)
    assert re.search(r"The answer to “q” is 42\.", plain)


def test_void_answer_cleared(worker: FakeWorker, folder: Path) -> None:
    worker.answers_twice = True
    # The session, the plan, four chunks and an unknown event come before the answer.
    worker.next_visible = 8
    with _terminal(worker, "ask", "q", "a.txt", folder=folder) as terminal:
        terminal.read_until("A broken attempt")
        worker.release("s1", 10)
        terminal.read_until("The answer to")
        last_frame = terminal.text.rpartition("answering")[2]
        worker.release("s1")
        code = terminal.end()

    assert code == 0
    assert "The answer to" in last_frame
    assert "A broken attempt" not in last_frame


def test_no_color_obeyed(worker: FakeWorker, folder: Path) -> None:
    with _terminal(worker, "ask", "q", "a.txt", folder=folder, NO_COLOR="1") as terminal:
        terminal.end()

    # Bold and dim are no colours; the codes from 30 up are.
    assert not re.search(r"\x1b\[[0-9;]*\b(3[0-7]|38|4[0-7]|48|9[0-7])\b[0-9;]*m", terminal.text)


def test_pipe_has_no_escapes(worker: FakeWorker, folder: Path) -> None:
    asked = _piped(worker, folder, "ask", "q", "a.txt")

    assert asked.stdout == "The answer to “q” is **42**.\n"
    assert "\x1b" not in asked.stderr
    assert "read 4 of 4 chunks" in asked.stderr
    assert all(line == line.rstrip() for line in asked.stderr.splitlines())


def test_closed_pipe_is_no_error(worker: FakeWorker, folder: Path) -> None:
    command = f"{' '.join(COMMAND)} models --json | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env=_environment(worker),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout, done.stderr) == ("[\n", "")


def test_missing_extra_named(worker: FakeWorker, folder: Path) -> None:
    program = "import sys; sys.modules['rich'] = None; from rlm_client._cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program], env=_environment(worker), capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "pip install '.[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_library_needs_no_extra(worker: FakeWorker) -> None:
    program = (
        "import sys; sys.modules.update(click=None, rich=None, pathspec=None); from rlm_client import run_rlm;"
        "assert run_rlm('text', 'q').success; assert not any(name.startswith('rlm_worker') for name in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=_environment(worker), capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


def _serve(checkout: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(SRC)}
    command = [*COMMAND, "serve", "--port", "8123", "--ai", "scripted"]
    return subprocess.run(command, env=environment, cwd=checkout, capture_output=True, text=True, check=False)


def test_serve_runs_dev_script(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "wrangler.toml").write_text('name = "rlm-worker"\n')
    script = tmp_path / "scripts" / "dev"
    script.write_text('#!/bin/sh\necho "$PWD" "$@"\n')
    script.chmod(0o755)

    served = _serve(tmp_path / "deep" / "er")

    assert served.stdout == f"{tmp_path} --port 8123 --ai scripted\n"

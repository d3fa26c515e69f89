"""One running deployment: runner.mjs with its workerd, on a state folder that belongs to it alone."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import httpx

from scripts.local.errors import LocalError
from scripts.local.paths import LocalPaths
from scripts.local.processes import say
from scripts.local.runtime.run_config import Upstreams, runner_environment, write_run_config
from scripts.local.setup.components import node

DEFAULT_PORT = 8787
_READY_SECONDS = 90.0
_RECOVER_SECONDS = 5.0
_LOCK_SECONDS = 10.0
_END_SECONDS = 5.0
_POLL_SECONDS = 0.05


class Deployment:
    """The Worker, served at `url`; `run` blocks until it ends or this process is told to."""

    def __init__(self, process: subprocess.Popen[bytes], state: Path, url: str, inspector: str = "") -> None:
        self._process = process
        self._state = state
        self._inspector = inspector
        self.url = url

    def wait(self, seconds: float) -> int | None:
        """The runner's status when it ends by itself within `seconds`, else None."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def workerd_pid(self) -> int | None:
        """The process id of the workerd that serves; None while there is none."""
        try:
            return int((self._state / "workerd.pid").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def announce(self, extra: Mapping[str, object]) -> None:
        """Leaves what tests and tools need to know in `state`/dev.json."""
        record = {
            "pid": os.getpid(),
            "runner": self._process.pid,
            "url": self.url,
            "inspector": self._inspector,
            **extra,
        }
        (self._state / "dev.json").write_text(json.dumps(record, indent=1), encoding="utf-8")


@contextmanager
def deployment(
    paths: LocalPaths, state: Path, *, port: int, upstreams: Upstreams | None, variables: Mapping[str, str]
) -> Iterator[Deployment]:
    """Serves the Worker on `port` for as long as the block lasts; every process it started is gone afterwards."""
    state.mkdir(parents=True, exist_ok=True)
    with _held(state) as lock:
        (state / "workerd.pid").unlink(missing_ok=True)
        config = write_run_config(paths, state, port=port, upstreams=upstreams, variables=variables)
        process = _start_runner(paths, state, config, lock)
        try:
            running = Deployment(process, state, *_ready_urls(process))
            _wait_for_health(process, running.url)
            yield running
        finally:
            _end(process, state)


def free_port(wanted: int | None) -> int:
    """The wanted port, whether free or not; without one the usual port where it is free, else any free one."""
    if wanted:
        return wanted
    for candidate in (DEFAULT_PORT, 0) if wanted is None else (0,):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", candidate))
            return int(probe.getsockname()[1])
    raise LocalError("no free port was found on 127.0.0.1")


def _start_runner(paths: LocalPaths, state: Path, config: Path, lock: IO[str]) -> subprocess.Popen[bytes]:
    # In this process's own group, so that whoever kills the group leaves nothing behind; and its stdin ends with this
    # process, so that it ends too when only this one is killed. All of them hold the lock on the state folder.
    return subprocess.Popen(
        [str(node(paths)), str(paths.runner), str(config)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None,
        env={**os.environ, **runner_environment(paths, state)},
        pass_fds=(lock.fileno(),),
    )


def _ready_urls(process: subprocess.Popen[bytes]) -> tuple[str, str]:
    """Where the Worker is served, and where its isolates can be inspected, if they can."""
    assert process.stdout is not None
    for line in process.stdout:
        word, *addresses = line.decode().split()
        if word == "ready":
            url, *inspector = addresses
            return url, f"http://{inspector[0]}" if inspector else ""
        sys.stderr.buffer.write(line)
    raise LocalError("the Worker did not start", hint="its output above says why")


def _wait_for_health(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    answered = ""
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            response = httpx.get(f"{url}/health", timeout=_READY_SECONDS)
            if response.status_code < 500 or _is_misconfigured(response):
                return
            # It answers, but not well: that may pass, and does not take long to pass.
            answered, deadline = response.text, min(deadline, time.monotonic() + _RECOVER_SECONDS)
        time.sleep(_POLL_SECONDS)
    raise LocalError("the Worker started but /health is not well", hint="its output above says why", output=answered)


def _is_misconfigured(response: httpx.Response) -> bool:
    """Whether a var is wrong: the Worker serves, and says so to whoever asks; it is said here too."""
    try:
        error = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        return False
    if error.get("type") != "not_configured":
        return False
    say(f"misconfigured: {error['message']}")
    return True


def _end(process: subprocess.Popen[bytes], state: Path) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    # miniflare ends its workerd with it, but not when it was itself killed.
    with suppress(OSError, ValueError):
        os.kill(int((state / "workerd.pid").read_text(encoding="utf-8")), signal.SIGKILL)
    (state / "workerd.pid").unlink(missing_ok=True)
    (state / "dev.json").unlink(missing_ok=True)


@contextmanager
def _held(state: Path) -> Iterator[IO[str]]:
    """Holds the state folder; waits a little for a deployment there that is just ending."""
    with (state / "lock").open("a", encoding="utf-8") as handle:
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LocalError(
                        f"{state} is in use by another deployment", hint="end it or take another --state"
                    ) from None
                time.sleep(_POLL_SECONDS)
        os.set_inheritable(handle.fileno(), False)
        yield handle

"""`scripts/dev` as a child: started, watched, crashed and ended by tests and by the demo."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx

from scripts.local.errors import LocalError
from scripts.local.paths import LocalPaths, local_paths
from scripts.local.processes import end_group, signal_group, start_group
from scripts.local.runtime.run_config import FRONT_VARIABLE, INSPECTOR_VARIABLE

_READY_SECONDS = 120.0
_POLL_SECONDS = 0.02


class DevProcess:
    """One deployment on `state`, served at `url` while it runs; its output is in `log_file`."""

    def __init__(
        self,
        state: Path,
        *,
        ai: str = "local",
        variables: Mapping[str, str] | None = None,
        port: int = 0,
        paths: LocalPaths | None = None,
        front: Path | None = None,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        inspector: bool = True,
    ) -> None:
        self.state = state
        self.log_file = state / "dev.log"
        self._ai = ai
        self._variables = dict(variables or {})
        self._port = port
        self._options = list(options)
        self._environment = {
            **(environment or {}),
            **({FRONT_VARIABLE: str(front)} if front else {}),
            **({INSPECTOR_VARIABLE: "1"} if inspector else {}),
        }
        self._paths = paths or local_paths()
        self._process: subprocess.Popen[bytes] | None = None
        self._url = ""

    @property
    def url(self) -> str:
        if not self._url:
            raise LocalError("the deployment has not been started")
        return self._url

    @property
    def pid(self) -> int:
        if self._process is None:
            raise LocalError("the deployment is not running")
        return self._process.pid

    @property
    def workerd_pid(self) -> int:
        return int((self.state / "workerd.pid").read_text(encoding="utf-8"))

    def start(self) -> Self:
        """Starts it and returns when it is ready; after a first start, on the same port as before."""
        self.state.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self._process = start_group(
                self._command(), log, env={"PYTHONPATH": self._paths.python_path, **self._environment}
            )
        try:
            self._url = self._wait_until_ready(self._process)
        except BaseException:
            self.stop()
            raise
        self._port = urlsplit(self._url).port or 0
        return self

    def stop(self) -> None:
        """Ends it in good order, and whatever it started."""
        if self._process is not None:
            end_group(self._process, grace=10.0)
            self._process = None

    def kill(self) -> None:
        """Kills every process of it at once, as a power failure would."""
        if self._process is not None:
            signal_group(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def restart(self) -> Self:
        """Starts again on the same state and port."""
        self.kill()
        return self.start()

    def crash_workerd(self) -> None:
        """Kills workerd alone and returns when the one that takes its place answers."""
        before = self.workerd_pid
        os.kill(before, signal.SIGKILL)
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            with suppress(OSError, ValueError, httpx.TransportError):
                if self.workerd_pid != before and httpx.get(f"{self.url}/health", timeout=5).status_code < 500:
                    return
            time.sleep(_POLL_SECONDS)
        raise LocalError("workerd did not come back", output=self.log())

    def log(self) -> str:
        """Everything that the Worker and the runtime have written."""
        return self.log_file.read_text(encoding="utf-8", errors="replace") if self.log_file.exists() else ""

    def _command(self) -> list[str | Path]:
        variables = [f"--var={name}={value}" for name, value in self._variables.items()]
        options = [f"--port={self._port}", f"--state={self.state}", f"--ai={self._ai}", *self._options, *variables]
        return [sys.executable, "-P", "-m", "scripts.local.commands.dev", *options]

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> str:
        deadline = time.monotonic() + _READY_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            with suppress(OSError, ValueError):
                announced = json.loads((self.state / "dev.json").read_text(encoding="utf-8"))
                if announced["pid"] == process.pid:
                    return str(announced["url"])
            time.sleep(_POLL_SECONDS)
        raise LocalError("the Worker did not become ready", output=self.log())

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

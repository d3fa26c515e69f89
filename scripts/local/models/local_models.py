"""Real language models behind the AI binding: a small one that reads, a larger one that answers, both local."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from scripts.local.errors import LocalError
from scripts.local.models.answering import ROOT_NAMES, SUB_NAMES, free_model, local_id
from scripts.local.paths import LocalPaths
from scripts.local.runtime.deployment import free_port
from scripts.local.runtime.run_config import Upstream
from scripts.local.setup.weights import ensure_models

_SMALL_WINDOW, _SMALL_SLOTS = 8192, 2
_LARGE_WINDOW, _LARGE_SLOTS = 32768, 1
_LOAD_SECONDS = 180.0
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class _Served:
    file: Path
    port: int
    plays: Sequence[str]
    slots: int
    window: int

    @property
    def name(self) -> str:
        return self.file.stem

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def as_json(self) -> dict[str, object]:
        return {
            "file": str(self.file),
            "port": self.port,
            "names": [self.name],
            "slots": self.slots,
            "window": self.window,
        }


class LocalModels:
    """The models as they load, each under its own name; `wait` returns once they can be asked."""

    def __init__(self, served: Sequence[_Served], process: subprocess.Popen[bytes], log: Path) -> None:
        self._served = served
        self._process = process
        self._log = log

    @property
    def upstreams(self) -> dict[str, Upstream]:
        """Where each is asked, by its id in the catalogue."""
        return {local_id(server.name): Upstream(server.url, server.name) for server in self._served}

    @property
    def catalog(self) -> dict[str, dict[str, object]]:
        """What `MODEL_OVERRIDES` says of them: they charge nothing, and play the parts of large models."""
        return {local_id(server.name): free_model(server.window, server.plays) for server in self._served}

    @property
    def slots(self) -> int:
        """How many prompts are read at once; more wait their turn."""
        return max(server.slots for server in self._served)

    def wait(self) -> None:
        deadline = time.monotonic() + _LOAD_SECONDS
        for server in self._served:
            while not self._answers(server):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise LocalError("the local models did not load", hint=f"see {self._log}", output=self._tail())
                time.sleep(_POLL_SECONDS)

    def _answers(self, server: _Served) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{server.port}/health", timeout=5).status_code == 200
        return False

    def _tail(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")


@contextmanager
def local_models(paths: LocalPaths) -> Iterator[LocalModels]:
    """Fetches the models where they are missing, and serves them for as long as the block lasts."""
    served = _layout(*ensure_models(paths))
    log = paths.logs / "models.log"
    with log.open("wb") as output:
        # In this process's group, and ended by the end of its stdin: see scripts/local/runtime/deployment.py.
        process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "scripts.local.models.model_server",
                json.dumps([one.as_json() for one in served]),
            ],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(paths.root)},
        )
    try:
        yield LocalModels(served, process, log)
    finally:
        process.kill()
        process.wait()


def _layout(small: Path, large: Path) -> list[_Served]:
    if small == large:
        names = (*SUB_NAMES, *ROOT_NAMES)
        return [_Served(small, free_port(0), names, _SMALL_SLOTS, _SMALL_WINDOW)]
    return [
        _Served(small, free_port(0), SUB_NAMES, _SMALL_SLOTS, _SMALL_WINDOW),
        _Served(large, free_port(0), ROOT_NAMES, _LARGE_SLOTS, _LARGE_WINDOW),
    ]


def describe(small: Path, large: Path) -> str:
    """One line on who reads and who answers."""
    if small == large:
        return f"{small.stem} plays both parts: the larger model could not be had"
    return f"{small.stem} reads, {large.stem} answers"

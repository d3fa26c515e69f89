"""The Worker in the real workerd, as a benchmark drives it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from scripts.local.runtime.dev_process import DevProcess
from tests.bench.machine import cpu_seconds, forget_peak, peak_megabytes
from tests.bench.texts import unique_blocks

_SECONDS = 900
_MEMORY = Path("/dev/shm")
QUESTION = "What does the entry say about the amber lighthouse?"


@dataclass(frozen=True, slots=True)
class Measured:
    """One request: wall and workerd's CPU seconds, peak memory of workerd in MB, and the body of the answer."""

    seconds: float
    cpu: float
    peak: float
    answer: Mapping[str, object]

    def number(self, name: str) -> float:
        value = self.answer[name]
        assert isinstance(value, int | float)
        return value


@dataclass(frozen=True, slots=True)
class Deployed:
    """A running deployment and a client of it."""

    process: DevProcess
    http: httpx.Client

    def upload(self, characters: int, seed: int = 1) -> tuple[str, Measured]:
        """Sends a text of that length by PUT /contexts; gives its id."""
        body = unique_blocks(characters, seed)
        headers = {"content-length": str(characters), "content-type": "text/plain"}
        measured = self._measure(lambda: self.http.put("/contexts", content=body, headers=headers))
        return str(measured.answer["contextId"]), measured

    def ask(self, context_id: str, query: str = QUESTION, **config: object) -> Measured:
        """POST /rlm on a stored context."""
        body = {"contextId": context_id, "query": query, "config": config}
        return self._measure(lambda: self.http.post("/rlm", json=body))

    def _measure(self, send: Callable[[], httpx.Response]) -> Measured:
        pid = self.process.workerd_pid
        forget_peak(pid)
        cpu, began = cpu_seconds(pid), time.perf_counter()
        response = send()
        seconds = time.perf_counter() - began
        answer = response.json()
        assert response.status_code < 300, answer
        return Measured(seconds, cpu_seconds(pid) - cpu, peak_megabytes(pid), answer)


@contextmanager
def deployed(model_url: str, *, on_disk: bool = False, **variables: str) -> Iterator[Deployed]:
    """A deployment of its own with that model behind the AI binding; its state is gone afterwards.

    The state lies in memory where the machine has a folder for that: here workerd waits for the disk after every write
    of the journal, which is nothing that the platform's own storage does to it.
    """
    memory = _MEMORY if _MEMORY.is_dir() and not on_disk else None
    with (
        tempfile.TemporaryDirectory(prefix="rlm-bench-", dir=memory) as state,
        DevProcess(Path(state), ai=model_url, variables=variables, inspector=False) as process,
        httpx.Client(base_url=process.url, timeout=_SECONDS) as http,
    ):
        yield Deployed(process, http)

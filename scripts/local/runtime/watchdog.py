"""Ends a workerd that stands still, so that miniflare starts another one.

All isolates of a local workerd share one thread, and it keeps no limit on their CPU time: code in a REPL that works
inside C (`sum(range(10**13))`, a runaway regular expression) stops everything, and nothing inside can interrupt it. In
production `limits.cpuMs` ends such a cell; here this process does, from outside. The session then goes on without it.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from scripts.local.processes import say
from scripts.local.runtime.deployment import Deployment

# Seconds of computing that a local deployment grants to a cell: everybody else waits meanwhile.
CELL_SECONDS = 20.0
# A workerd that answers nothing for this much longer than a cell may compute is stuck.
_PATIENCE_FACTOR, _PATIENCE_SECONDS = 1.5, 5.0
_POLL_SECONDS = 1.0
_START_SECONDS = 60.0
# On a crowded machine a process that never pauses gets no more than this share of the time.
_BUSY_SHARE = 0.2
_SUSPICIOUS_SECONDS = 4.0
_MAX_MEMORY_BYTES = 8 << 30


def patience(cell_seconds: float) -> float:
    """Seconds without an answer after which workerd is ended; longer than a session grants to a silent cell."""
    return cell_seconds * _PATIENCE_FACTOR + _PATIENCE_SECONDS


def watch(running: Deployment, cell_seconds: float) -> int:
    """Blocks until the runner ends by itself and returns its status; meanwhile ends each workerd that is stuck."""
    busy = Busy()
    while (status := running.wait(_POLL_SECONDS)) is None:
        pid = running.workerd_pid()
        if pid is None or not (reason := _stuck(running.url, pid, busy, patience(cell_seconds))):
            continue
        say(f"watchdog: workerd {reason}; it is ended and started again, and its sessions go on")
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
        _let_it_come_back(running, pid)
    return status


def _let_it_come_back(running: Deployment, killed: int) -> None:
    """Waits for the successor to answer: one that is still starting is busy too, and must not be taken for stuck."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and running.wait(_POLL_SECONDS) is None:
        with suppress(httpx.TransportError):
            if running.workerd_pid() != killed:
                httpx.get(f"{running.url}/health", timeout=_START_SECONDS)
                return


@dataclass(slots=True)
class Busy:
    """For how many seconds in a row a process has done nothing but compute."""

    seconds: float = 0.0
    _pid: int = 0
    _at: float = 0.0
    _cpu: float = 0.0

    def look(self, pid: int) -> float:
        """Looks again and gives the seconds."""
        now, cpu = time.monotonic(), _cpu_seconds(pid)
        computed = pid == self._pid and cpu - self._cpu > (now - self._at) * _BUSY_SHARE
        self.seconds = self.seconds + now - self._at if computed else 0.0
        self._pid, self._at, self._cpu = pid, now, cpu
        return self.seconds


def _stuck(url: str, pid: int, busy: Busy, patience: float) -> str:
    """Why workerd must be ended; empty where it need not be.

    Asks it for an answer only when it has long been busy, and grants it the whole of `patience` each time: one that
    answers may have as much to do as it likes.
    """
    if _memory(pid) > _MAX_MEMORY_BYTES:
        return f"holds more than {_MAX_MEMORY_BYTES >> 30} GB"
    if busy.look(pid) < _SUSPICIOUS_SECONDS:
        return ""
    busy.seconds = 0.0
    try:
        httpx.get(f"{url}/health", timeout=patience)
    except httpx.TimeoutException:
        silent = busy.look(pid)
        return f"has computed for {silent:.0f} s without an answer" if silent else ""
    except httpx.TransportError:
        return ""
    return ""


def _cpu_seconds(pid: int) -> float:
    """CPU time of a process; where /proc is missing the wall time, so that silence alone decides."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return time.monotonic()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> int:
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")

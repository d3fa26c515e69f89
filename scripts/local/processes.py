"""Child processes in groups of their own, ended as groups: nothing outlives whoever started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, TypeAlias

from scripts.local.errors import LocalError

# A command line; paths and strings mixed.
Command: TypeAlias = Sequence[object]


def run_logged(arguments: Command, log: Path, *, env: Mapping[str, str] | None = None) -> str:
    """Runs a command to its end with its output in `log` and returns that output; a failure is a LocalError."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = start_group(arguments, output, env=env)
        try:
            code = process.wait()
        finally:
            end_group(process)
    text = log.read_text(encoding="utf-8", errors="replace")
    if code:
        command = " ".join(
            Path(str(argument)).name if os.sep in str(argument) else str(argument) for argument in arguments
        )
        raise LocalError(
            f"`{command[:200]}` ended with status {code}", hint=f"the whole output is in {log}", output=text
        )
    return text


def run_first(commands: Sequence[Command], log: Path, *, env: Mapping[str, str] | None = None) -> str:
    """The output of the first of several equivalent commands that succeeds; the last one's failure if none does."""
    for command in commands[:-1]:
        try:
            return run_logged(command, log, env=env)
        except LocalError:
            continue
    return run_logged(commands[-1], log, env=env)


def start_group(
    arguments: Command,
    output: IO[bytes] | int | None,
    *,
    env: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Starts a command as the leader of a new session; `env` is added to this process's environment."""
    return subprocess.Popen(
        [str(argument) for argument in arguments],
        stdin=stdin,
        stdout=output,
        stderr=subprocess.STDOUT if output is not None else None,
        env={**os.environ, **(env or {})},
        start_new_session=True,
    )


def end_group(process: subprocess.Popen[bytes], *, grace: float = 5.0) -> None:
    """Ends a group that `start_group` made: asks first, then kills whatever is left of it."""
    if process.poll() is None:
        signal_group(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + grace
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
    signal_group(process.pid, signal.SIGKILL)
    process.wait()


def signal_group(group: int, number: signal.Signals) -> None:
    """Signals every process of a group; a group that is gone already is fine."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return


@contextmanager
def termination_raises() -> Iterator[None]:
    """Turns SIGTERM and SIGHUP into SystemExit, so that `finally` blocks run and children are ended."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def say(line: str) -> None:
    """One progress line, on stderr so that stdout stays for results."""
    print(line, file=sys.stderr, flush=True)

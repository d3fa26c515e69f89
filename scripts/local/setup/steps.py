"""Set-up steps: done once, remembered by what went into them, one at a time between processes."""

from __future__ import annotations

import fcntl
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.local.errors import LocalError
from scripts.local.paths import LocalPaths
from scripts.local.processes import say


@dataclass(frozen=True, slots=True)
class Step:
    """One part of the set-up.

    `inputs` are its pins: when one changes, the step is done again. `outputs` must exist once it is done.
    `build` returns a word on what was made, for the progress line.
    """

    name: str
    inputs: Sequence[str]
    outputs: Sequence[Path]
    build: Callable[[], str]
    hint: str


def ensure(paths: LocalPaths, steps: Sequence[Step]) -> None:
    """Does those steps that are not done yet, in order; says nothing when all are."""
    if all(is_done(paths, step) for step in steps):
        return
    with _lock(paths.parts / "setup.lock"):
        for step in steps:
            if not is_done(paths, step):
                _perform(paths, step)


def is_done(paths: LocalPaths, step: Step) -> bool:
    """Whether a step's stamp records exactly its present inputs, and its outputs are there."""
    try:
        stamp = json.loads(_stamp(paths, step).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(stamp.get("inputs") == _digest(step.inputs)) and all(output.exists() for output in step.outputs)


def _perform(paths: LocalPaths, step: Step) -> None:
    started = time.monotonic()
    say(f"  {step.name} …")
    _stamp(paths, step).unlink(missing_ok=True)
    try:
        made = step.build()
        _check_outputs(step)
    except LocalError as error:
        hint = "; ".join(part for part in (step.hint, error.hint) if part)
        raise LocalError(f"set-up stopped at “{step.name}”: {error.message}", hint=hint, output=error.output) from error
    _write_stamp(paths, step)
    say(f"  {step.name}: {made}, {time.monotonic() - started:.1f} s")


def _check_outputs(step: Step) -> None:
    missing = [output.name for output in step.outputs if not output.exists()]
    if missing:
        raise LocalError(f"it ended without making {', '.join(missing)}")


def _write_stamp(paths: LocalPaths, step: Step) -> None:
    stamp = _stamp(paths, step)
    stamp.parent.mkdir(parents=True, exist_ok=True)
    record = {"inputs": _digest(step.inputs), "pins": list(step.inputs)[:40]}
    partial = stamp.with_suffix(".part")
    partial.write_text(json.dumps(record, indent=1), encoding="utf-8")
    partial.replace(stamp)


def _stamp(paths: LocalPaths, step: Step) -> Path:
    return paths.stamps / f"{step.name.replace(' ', '-')}.json"


def _digest(inputs: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(inputs).encode()).hexdigest()


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up is at work in the same folder: waiting for it …")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield

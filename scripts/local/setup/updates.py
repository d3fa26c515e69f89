"""What npm's registry says of the pinned runtime: newer versions, and versions that their makers have withdrawn.

workerd comes with wrangler, which pins it exactly. Where no registry answers nothing is known, and nothing is wrong.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from scripts.local.paths import LocalPaths
from scripts.local.setup.components import npm_environment, npms
from scripts.local.setup.pins import node_packages

_TIMEOUT_SECONDS = 20.0
# What `npm view` is asked, and what it prints: JSON, or nothing.
Ask = Callable[[Sequence[str]], object]


@dataclass(frozen=True, slots=True)
class Update:
    """One pinned package; `newest` and `withdrawn` are empty where there is nothing to say."""

    name: str
    pinned: str
    newest: str = ""
    withdrawn: str = ""

    def sentence(self) -> str:
        if self.withdrawn:
            other = self.newest or "another"
            return f"{self.name} {self.pinned} was withdrawn by its makers ({self.withdrawn}): pin {other}"
        if self.newest and self.newest != self.pinned:
            return f"{self.name} {self.pinned} is behind {self.newest}, which may mend a way out of the sandbox"
        return ""


def updates(paths: LocalPaths, ask: Ask | None = None) -> list[Update] | None:
    """What is to be said of each pinned npm package; None where the registry cannot be asked."""
    pins = [pin.rpartition("@")[::2] for pin in node_packages(paths.root)]
    asking = ask or _npm_view(paths)
    with ThreadPoolExecutor(2 * len(pins)) as threads:
        newest = list(threads.map(lambda pin: asking((pin[0], "version")), pins))
        withdrawn = list(threads.map(lambda pin: asking((f"{pin[0]}@{pin[1]}", "deprecated")), pins))
    if not any(newest):
        return None
    return [
        Update(name, version, _text(latest), _text(reason))
        for (name, version), latest, reason in zip(pins, newest, withdrawn, strict=True)
    ]


def _npm_view(paths: LocalPaths) -> Ask:
    npm = [str(part) for part in npms(paths)[0]]
    environment = {**os.environ, **npm_environment(paths)}

    def ask(arguments: Sequence[str]) -> object:
        command = [*npm, "view", *arguments, "--json", "--fetch-retries=0"]
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
            )
            return json.loads(done.stdout) if done.returncode == 0 and done.stdout.strip() else ""
        except (OSError, subprocess.TimeoutExpired, ValueError):
            return ""

    return ask


def _text(answer: object) -> str:
    return answer if isinstance(answer, str) else ""

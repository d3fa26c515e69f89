"""Whether the official Pyodide bundle can be had: found out by letting workerd fetch it, not by asking."""

from __future__ import annotations

import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from scripts.local.paths import LocalPaths
from scripts.local.pins import OFFICIAL_BUNDLES
from scripts.local.processes import end_group, start_group

_REACH_SECONDS = 3.0
_FETCH_SECONDS = 120.0
_POLL_SECONDS = 0.2

_PROBE = """using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (services = [(name = "main", worker = (
  modules = [(name = "main.py", pythonModule = "from workers import WorkerEntrypoint")],
  compatibilityDate = "2026-09-08", compatibilityFlags = ["python_workers"],
))]);
"""


def official_bundle_works(paths: LocalPaths) -> bool:
    """Lets workerd download the official bundle into the bundle folder; false where that cannot be had."""
    return host_answers(OFFICIAL_BUNDLES) and _fetch_official(paths)


def host_answers(url: str, timeout: float = _REACH_SECONDS) -> bool:
    """Whether anything at all answers over HTTP at `url` within `timeout` seconds."""
    try:
        with urllib.request.urlopen(url, timeout=timeout):  # noqa: S310 -- a constant https address
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def _fetch_official(paths: LocalPaths) -> bool:
    probe = paths.bundle / "probe.capnp"
    probe.write_text(_PROBE, encoding="utf-8")
    log = paths.logs / "official-bundle.log"
    with log.open("wb") as output:
        cache = f"--pyodide-bundle-disk-cache-dir={paths.bundle}"
        process = start_group([paths.workerd, "serve", cache, probe], output)
        try:
            return _wait_for_bundle(process, paths.bundle)
        finally:
            end_group(process)


def _wait_for_bundle(process: subprocess.Popen[bytes], folder: Path) -> bool:
    deadline, before = time.monotonic() + _FETCH_SECONDS, 0
    while time.monotonic() < deadline and process.poll() is None:
        size = sum(file.stat().st_size for file in folder.glob("pyodide_*.capnp.bin"))
        if size and size == before:
            return True
        before = size
        time.sleep(_POLL_SECONDS)
    return False

"""Python as it is when it has just started, kept as a memory snapshot: isolates open from it, as they do in production.

Without it each isolate of a local workerd starts Python anew, which takes a second and more of computing; the isolates
of a REPL most of all. It holds nothing of ours: workerd takes it before the first line of a Worker's own code runs.
"""

from __future__ import annotations

import shutil

from scripts.local.errors import LocalError
from scripts.local.paths import LocalPaths
from scripts.local.processes import end_group, start_group
from scripts.local.setup.bundle import wait_until_written

# The name that workerd gives it.
SNAPSHOT_NAME = "snapshot.bin"
# By the date's default workerd wants a snapshot that holds the Worker's own modules too; such a one cannot serve the
# isolates of a REPL, which have other modules.
BASELINE_FLAG = "disable_python_dedicated_snapshot"

_PROBE = f"""using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (services = [(name = "main", worker = (
  modules = [(name = "main.py", pythonModule = "")],
  compatibilityDate = "2026-09-08",
  compatibilityFlags = ["python_workers", "python_workers_development", "disable_python_external_sdk", "experimental",
    "{BASELINE_FLAG}"],
))]);
"""


def take_snapshot(paths: LocalPaths) -> str:
    """Has workerd start a Python Worker and write its memory down; returns a word on it."""
    building = paths.snapshot.with_name("snapshot.part")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    probe = building / "probe.capnp"
    probe.write_text(_PROBE, encoding="utf-8")
    options = ["--experimental", "--python-save-baseline-snapshot", f"--python-snapshot-dir={building}"]
    log = paths.logs / "snapshot.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        cache = f"--pyodide-bundle-disk-cache-dir={paths.bundle}"
        process = start_group([paths.workerd, "serve", cache, *options, probe], output)
        try:
            written = wait_until_written(process, building, SNAPSHOT_NAME)
        finally:
            end_group(process)
    if not written:
        raise LocalError("workerd took no snapshot of Python", output=log.read_text(encoding="utf-8", errors="replace"))
    shutil.rmtree(paths.snapshot, ignore_errors=True)
    building.rename(paths.snapshot)
    return f"{(paths.snapshot / SNAPSHOT_NAME).stat().st_size / 1e6:.0f} MB"

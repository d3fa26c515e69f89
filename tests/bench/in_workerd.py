"""Chunking inside workerd, beside the peers that run there: a Worker of its own, timed over HTTP from outside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import httpx

from scripts.local.paths import local_paths
from scripts.local.processes import end_group, start_group
from scripts.local.runtime.deployment import free_port
from scripts.local.runtime.run_config import development_flags, runner_environment
from scripts.local.setup.components import node
from tests.bench.environment import prepare_worker_modules
from tests.bench.tables import Table
from tests.bench.texts import MEGABYTE, unique_text

_SIZES = (50_000, 2_000)
_SPLITTERS = ("ours", "semchunk", "langchain")
_MEGABYTES = 2
_TIMES = 3
_ROUNDS = 5
_PATHS = local_paths()


def tables() -> list[Table]:
    """Milliseconds a megabyte: several splittings in one request, an empty request taken off."""
    table = Table("Chunking inside workerd: English prose", ("", "chunk size", "ms/MB", "x ours", "chunks"))
    with _splitting_worker() as http:
        http.put("/", content=unique_text(_MEGABYTES * MEGABYTE).encode())
        for size in _SIZES:
            ours = 0.0
            for name in _SPLITTERS:
                cost, chunks = _cost(http, name, size)
                ours = ours or cost
                table.add(name, f"{size:,}", f"{cost:.1f}" if cost else "-", f"{cost / ours:.1f}", chunks)
    table.notes = ["LangChain's splitter beside a stand-in for langchain-core, which cannot be had for Pyodide"]
    return [table]


def _cost(http: httpx.Client, name: str, size: int) -> tuple[float, str]:
    """Milliseconds a megabyte, and the number of chunks; 0 and the error of a peer that does not run there."""
    answer = http.post("/", params={"by": name, "size": size, "times": 1}).json()
    if "error" in answer:
        return 0.0, f"fails: {answer['error'][:90]}"
    seconds = [_seconds(http, name, size, _TIMES) - _seconds(http, name, size, 0) for _ in range(_ROUNDS)]
    return 1000 * median(seconds) / _TIMES / _MEGABYTES, str(answer["chunks"])


def _seconds(http: httpx.Client, name: str, size: int, times: int) -> float:
    began = time.perf_counter()
    http.post("/", params={"by": name, "size": size, "times": times}).raise_for_status()
    return time.perf_counter() - began


@contextmanager
def _splitting_worker() -> Iterator[httpx.Client]:
    """A client of the Worker in ./worker, with the product's pure modules beside it."""
    with tempfile.TemporaryDirectory(prefix="rlm-bench-") as folder:
        state = Path(folder)
        config = _run_config(state, free_port(0))
        environment = {**os.environ, **runner_environment(_PATHS, state)}
        runner = _PATHS.runner
        command = [node(_PATHS), runner, config]
        process = start_group(command, subprocess.PIPE, env=environment, stdin=subprocess.PIPE)
        try:
            yield httpx.Client(base_url=_ready_url(process), timeout=600)
        finally:
            end_group(process)


def _ready_url(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line.decode())
        if lines[-1].startswith("ready "):
            return lines[-1].split()[1]
    raise RuntimeError("".join(lines))


def _run_config(state: Path, port: int) -> Path:
    """What runner.mjs takes, for a Worker without bindings."""
    source = state / "source"
    shutil.copytree(Path(__file__).parent / "worker", source)
    no_platform = shutil.ignore_patterns("adapters", "durable_objects")
    shutil.copytree(_PATHS.root / "src" / "rlm_worker", source / "rlm_worker", ignore=no_platform)
    modules = sorted(path.relative_to(source).as_posix() for path in source.rglob("*.py"))
    toml = state / "wrangler.toml"
    toml.write_text(
        'name = "splitting"\nmain = "source/main.py"\ncompatibility_date = "2026-09-08"\n'
        'compatibility_flags = ["python_workers"]\n',
        encoding="utf-8",
    )
    config = {
        "name": "splitting",
        "main": "main.py",
        "source": str(source),
        "modules": ["main.py", *(name for name in modules if name != "main.py")],
        "wranglerToml": str(toml),
        "compatibilityDate": "2026-09-08",
        "flags": development_flags(_PATHS),
        "npm": str(_PATHS.npm),
        "pythonModules": str(prepare_worker_modules()),
        "aiWorker": str(_PATHS.ai_worker),
        "cache": str(state / "cache"),
        "state": str(state),
        "port": port,
        "upstreams": {"models": {}},
        "vars": {},
    }
    target = state / "run.json"
    target.write_text(json.dumps(config), encoding="utf-8")
    return target

"""400 sub-calls of 50,000 characters to a model that answers at once: what the orchestration itself costs."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from scripts.local.paths import local_paths
from tests.bench.constant_model import ModelProcess, constant_model
from tests.bench.deployment import Deployed, deployed
from tests.bench.environment import peer_environment, prepare_peers
from tests.bench.machine import cpu_seconds
from tests.bench.tables import Table
from tests.bench.texts import unique_text

CHUNK = 50_000
CALLS = 400
ROUNDS = 7
_PEERS = {
    "httpx and asyncio": "asyncio",
    "LangChain, abatch": "langchain",
    "rlms, llm_query_batched": "rlms",
    "the model's server alone": "bare",
}


@dataclass(frozen=True, slots=True)
class Cost:
    """Milliseconds a sub-call: wall time of the middle and the best round, CPU time of the one that orchestrates."""

    wall: float
    best: float
    cpu: float

    @classmethod
    def of(cls, rounds: Sequence[tuple[float, float]], calls: int) -> Cost:
        walls, cpus = [wall for wall, _ in rounds], [cpu for _, cpu in rounds]
        return cls(*(1000 * seconds / calls for seconds in (median(walls), min(walls), median(cpus))))


def tables() -> list[Table]:
    """The Worker beside its peers: the same text, the same model, the same number of calls at once."""
    python = prepare_peers()
    text = unique_text(CHUNK * CALLS)
    with constant_model() as model, tempfile.TemporaryDirectory(prefix="rlm-bench-") as folder:
        file = Path(folder) / "text"
        file.write_text(text, encoding="utf-8")
        with deployed(model.url) as worker:
            ours, upload = _ours(worker, len(text))
        with deployed(model.url, on_disk=True) as worker:
            on_disk, _ = _ours(worker, len(text))
        costs = {name: _peer(python, peer, model, file) for name, peer in _PEERS.items()}
    rows = {"rlm-worker, POST /rlm": ours, "the same, its state on disk": on_disk, **costs}
    return [_table(rows, ours, upload)]


def _ours(worker: Deployed, characters: int) -> tuple[Cost, str]:
    context, stored = worker.upload(characters)
    worker.ask(context, maxSubCalls=1_000, useCache=False)
    runs = [worker.ask(context, maxSubCalls=1_000, useCache=False) for _ in range(ROUNDS)]
    calls = round(runs[0].number("subCalls"))
    assert all(run.answer["coverage"] == 1.0 for run in runs)
    upload = f"PUT /contexts before it: {stored.seconds:.2f} s for {characters / 1e6:.0f} MB; {calls} sub-calls a run"
    return Cost.of([(run.seconds, run.cpu) for run in runs], calls), upload


def _peer(python: Path, name: str, model: ModelProcess, file: Path) -> Cost:
    command = [str(python), "-m", "tests.bench.peers", name, model.url, str(file), str(CHUNK), str(ROUNDS)]
    before = cpu_seconds(model.pid)
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=local_paths().root, env=peer_environment()
    )
    cost = Cost.of(json.loads(done.stdout.splitlines()[-1]), CALLS)
    if name == "bare":
        served = 1000 * (cpu_seconds(model.pid) - before) / CALLS / (ROUNDS + 1)
        return Cost(cost.wall, cost.best, served)
    return cost


def _table(costs: dict[str, Cost], ours: Cost, upload: str) -> Table:
    table = Table(
        f"Orchestration: {CALLS} sub-calls of {CHUNK:,} characters, model latency zero",
        ("", "ms/call", "best", "CPU ms/call", "x ours", "CPU x ours"),
    )
    for name, cost in costs.items():
        ratios = (f"{cost.wall / ours.wall:.2f}", f"{cost.cpu / ours.cpu:.2f}")
        table.add(name, f"{cost.wall:.2f}", f"{cost.best:.2f}", f"{cost.cpu:.2f}", *ratios)
    table.notes = [
        f"median and best of {ROUNDS} runs, warm; {upload}",
        "the Worker's CPU includes workerd's R2 and AI stand-ins and the journal; the last row's is the server's own",
    ]
    return table

"""The REPL's loop beside its peers: the same transcript, the same scripted model, each in its own sandbox.

A run of 2 turns shows what starting costs; the difference to a run of 22 turns, by 20, what a turn costs in a REPL that
is warm; a batch of 400 calls what a call costs. The scripted model answers at once, so that what is measured is the
harness: ours includes the real workerd, an isolate of its own, HTTP, and a journal on disk; rlms' `local` runs the
model's code in its own process, which is no sandbox; dspy's runs it in Pyodide in Deno.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from scripts.local.errors import LocalError
from scripts.local.scripted.calls import ChatCall
from scripts.local.scripted.model import ScriptedModel
from tests.bench.deployment import Deployed, deployed
from tests.bench.environment import peer_environment, peer_log, prepare_dspy, prepare_peers
from tests.bench.tables import Table

ROUNDS = 5
SHORT, LONG, CALLS = 2, 22, 400
CONTEXT = "The gardens were quiet that year. " * 2_000
_OURS = "rlm-worker, isolate per run"
_PEERS: Mapping[str, Callable[[], Path]] = {"rlms local": prepare_peers, "dspy deno": prepare_dspy}

# A run of these cells; gives seconds.
Runs = Callable[[list[str]], float]
# Milliseconds: a run of two turns, one more turn, one more call of a batch.
Costs = tuple[float, float, float]


def tables() -> list[Table]:
    """Ours and the peers that can be had here, with ratios to ours."""
    with ScriptedModel() as model:
        with deployed(model.url) as worker:
            costs = {_OURS: _measured(_ours(worker, model))}
        notes = []
        for name, prepare in _PEERS.items():
            try:
                with _peer(prepare(), name, model) as runs:
                    costs[name] = _measured(runs)
            except (LocalError, ValueError, OSError) as error:
                notes.append(
                    f"{name} could not be had here: {type(error).__name__}: {error}; see {peer_log(name).name}"
                )
    return [_table(costs, notes)]


def _table(costs: Mapping[str, Costs], notes: list[str]) -> Table:
    columns = ("", "cold: 2 turns, ms", "x ours", "warm: a turn, ms", "x ours", f"1 of {CALLS} calls, ms", "x ours")
    table = Table("REPL: the same transcript, a model that answers at once", columns, notes=notes)
    for name, found in costs.items():
        pairs = [(f"{cost:,.1f}", f"{cost / own:.2f}") for cost, own in zip(found, costs[_OURS], strict=True)]
        table.add(name, *(cell for pair in pairs for cell in pair))
    return table


def _transcript(turns: int, *, batch: bool = False) -> list[str]:
    """Cells that do next to nothing, the last of which ends the run."""
    cells = [f"n = {number}\nprint(n, len(context))" for number in range(turns - 1)]
    if batch:
        cells = [f"answers = llm_query_batched([f'q {{n}}' for n in range({CALLS})])\nprint(len(answers))"]
    return [*cells, 'answer["content"] = "done"\nanswer["ready"] = True']


def _play(model: ScriptedModel, cells: list[str], reply: Callable[[str], str]) -> None:
    """Lets the model say its lines in the order of the calls; questions of the batch are answered as such."""
    lines = iter(cells)

    def answer(call: ChatCall) -> str:
        return "ok" if re.fullmatch(r"q \d+", call.user) else reply(next(lines))

    model.reset()
    model.rules = [answer]


def _measured(runs: Runs) -> Costs:
    """Of the best rounds: between middle ones, the difference drowns in what else the machine does."""
    runs(_transcript(SHORT))  # loads and connects
    short = min(runs(_transcript(SHORT)) for _ in range(ROUNDS))
    long = min(runs(_transcript(LONG)) for _ in range(ROUNDS))
    batch = min(runs(_transcript(SHORT, batch=True)) for _ in range(ROUNDS))
    return 1000 * short, 1000 * (long - short) / (LONG - SHORT), 1000 * (batch - short) / CALLS


def _ours(worker: Deployed, model: ScriptedModel) -> Runs:
    numbers: Iterator[int] = count()

    def run(cells: list[str]) -> float:
        _play(model, cells, _repl_reply)
        config = {"strategy": "repl", "useCache": False, "maxIterations": 40, "maxSubCalls": 500}
        body = {"context": CONTEXT, "query": f"What {next(numbers)}?", "config": config}
        started = time.perf_counter()
        result = worker.http.post("/rlm", json=body).json()
        seconds = time.perf_counter() - started
        _check(model, cells)
        assert result["success"], result
        return seconds

    return run


@contextmanager
def _peer(python: Path, name: str, model: ScriptedModel) -> Iterator[Runs]:
    """A peer as a process that is told over its stdin when to run and says how long it took."""
    command = [str(python), str(Path(__file__).with_name("repl_peers.py")), name, model.url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with peer_log(name).open("w", encoding="utf-8") as log:
        child = subprocess.Popen(command, **pipes, stderr=log, text=True, env=peer_environment())  # type: ignore[call-overload]
        try:
            yield lambda cells: _peer_run(child, name, model, cells)
        finally:
            child.stdin.close()
            child.wait(30)


def _peer_run(child: subprocess.Popen[str], name: str, model: ScriptedModel, cells: list[str]) -> float:
    assert child.stdin is not None
    assert child.stdout is not None
    dspy = name.startswith("dspy")
    asked = [*cells[:-1], "SUBMIT(answer='done')"] if dspy else cells
    _play(model, asked, _dspy_reply if dspy else _repl_reply)
    child.stdin.write(json.dumps({"context": CONTEXT}) + "\n")
    child.stdin.flush()
    line = child.stdout.readline()
    if not line:
        raise ValueError("it ended by itself")
    seconds = float(json.loads(line)["seconds"])
    _check(model, asked)
    return seconds


def _check(model: ScriptedModel, cells: list[str]) -> None:
    """Raises `ValueError` where the model was not asked for just these turns, and their calls."""
    calls = CALLS if any("llm_query_batched" in cell for cell in cells) else 0
    if len(model.answered) != len(cells) + calls:
        raise ValueError(f"{len(model.answered)} calls for {len(cells)} turns and {calls} questions")


def _repl_reply(code: str) -> str:
    return f"```repl\n{code}\n```"


def _dspy_reply(code: str) -> str:
    return f"[[ ## reasoning ## ]]\nNext.\n\n[[ ## code ## ]]\n```python\n{code}\n```\n\n[[ ## completed ## ]]"

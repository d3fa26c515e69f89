"""The REPL's loop beside its peers: the same transcript, the same scripted model, each in its own sandbox.

`python -m tests.bench.repl [PYTHON]`; PYTHON is an interpreter that has rlms and dspy, without it only ours is
measured. A run of 2 turns shows what starting costs; the difference to a run of 22 turns, by 20, what a turn costs; a
batch of 400 calls what calls cost. The scripted model answers at once, so all that is measured is the harness: ours
includes the real workerd, an isolate of its own, HTTP, and a journal on disk; rlms' `local` runs in its own process.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import httpx

from scripts.local.dev_process import DevProcess
from scripts.local.scripted_calls import ChatCall
from scripts.local.scripted_model import ScriptedModel

ROUNDS = 3
SHORT, LONG, CALLS = 2, 22, 400
CONTEXT = "The gardens were quiet that year. " * 2_000
PEERS = ("rlms local", "dspy deno")

# A run of so many turns, or with the batch; gives seconds.
Runs = Callable[[list[str]], float]


def transcript(turns: int, *, batch: bool = False) -> list[str]:
    """Cells that do next to nothing, the last of which ends the run."""
    cells = [f"n = {number}\nprint(n, len(context))" for number in range(turns - 1)]
    if batch:
        cells = [f"answers = llm_query_batched([f'q {{n}}' for n in range({CALLS})])\nprint(len(answers))"]
    return [*cells, 'answer["content"] = str(globals().get("n"))\nanswer["ready"] = True']


def play(model: ScriptedModel, cells: list[str], reply: Callable[[str], str]) -> None:
    """Lets the model say its lines in the order of the calls; questions of the batch are answered as such."""
    lines = iter(cells)

    def answer(call: ChatCall) -> str:
        return "ok" if re.fullmatch(r"q \d+", call.user) else reply(next(lines))

    model.reset()
    model.rules = [answer]


def measured(runs: Runs) -> tuple[float, float, float]:
    """Milliseconds: a run of two turns, one more turn, one more call of a batch."""
    short = statistics.median(runs(transcript(SHORT)) for _ in range(ROUNDS))
    long = statistics.median(runs(transcript(LONG)) for _ in range(ROUNDS))
    batch = statistics.median(runs(transcript(SHORT, batch=True)) for _ in range(ROUNDS))
    return 1000 * short, 1000 * (long - short) / (LONG - SHORT), 1000 * (batch - short) / CALLS


def ours(url: str, model: ScriptedModel) -> Runs:
    numbers: Iterator[int] = count()

    def run(cells: list[str]) -> float:
        play(model, cells, lambda code: f"```repl\n{code}\n```")
        config = {"strategy": "repl", "useCache": False, "maxIterations": 40, "maxSubCalls": 500}
        body = {"context": CONTEXT, "query": f"What {next(numbers)}?", "config": config}
        started = time.perf_counter()
        result = httpx.post(f"{url}/rlm", json=body, timeout=300).json()
        assert result["success"], result
        return time.perf_counter() - started

    return run


def peer(python: str, name: str, model: ScriptedModel) -> Iterator[Runs]:
    """A peer as a process that is told over its stdin when to run and says how long it took."""
    module = Path(__file__).with_name("repl_peers.py")
    child = subprocess.Popen(
        [python, str(module), name, model.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None
    assert child.stdout is not None
    requests, answers = child.stdin, child.stdout

    def run(cells: list[str]) -> float:
        asked = cells if name.startswith("rlms") else [*cells[:-1], "SUBMIT(answer='done')"]
        play(model, asked, _dspy_reply if name.startswith("dspy") else lambda code: f"```repl\n{code}\n```")
        requests.write(json.dumps({"context": CONTEXT}) + "\n")
        requests.flush()
        return float(json.loads(answers.readline())["seconds"])

    try:
        yield run
    finally:
        requests.close()
        child.wait(30)


def _dspy_reply(code: str) -> str:
    return f"[[ ## reasoning ## ]]\nNext.\n\n[[ ## code ## ]]\n```python\n{code}\n```\n\n[[ ## completed ## ]]"


def report(name: str, runs: Runs) -> None:
    start, turn, call = measured(runs)
    print(f"{name:<28} {start:>14,.0f} {turn:>14.1f} {call:>14.2f}", flush=True)


def main(arguments: list[str]) -> None:
    print(f"{'milliseconds':<28} {'2-turn run':>14} {'further turn':>14} {'batched call':>14}")
    with ScriptedModel() as model, tempfile.TemporaryDirectory() as state:
        with DevProcess(Path(state), ai=model.url) as worker:
            report("rlm-worker (cold isolates)", ours(worker.url, model))
        for name in PEERS if arguments else ():
            try:
                for runs in peer(arguments[0], name, model):
                    report(name, runs)
            except (ValueError, OSError, AssertionError) as error:
                print(f"{name:<28} could not be had here: {type(error).__name__}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

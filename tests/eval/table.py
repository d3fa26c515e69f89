"""Counting over lists of records by strategy table, beside the others, with the models of this machine.

`python -m tests.eval.table [--lines N] [--questions N] [--strategies a,b]` prints a line of JSON for each run.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
import httpx

from scripts.local.runtime.dev_process import DevProcess
from tests.worker.table_world import KINDS, SCHEMA, counted, counting, records, text_of

SECONDS = 1_500.0
MODEL = "llama-3.1-70b"


@click.command()
@click.option("--lines", default=24, show_default=True, help="Records of each text.")
@click.option("--questions", default=2, show_default=True, help="Texts, each with a question.")
@click.option("--strategies", default="direct,map_reduce,table,table+schema,table+compute,repl", show_default=True)
@click.option("--ai", default="local", show_default=True, help="As of scripts/dev.")
def main(lines: int, questions: int, strategies: str, ai: str) -> None:
    """Asks each question by each strategy."""
    with tempfile.TemporaryDirectory() as state, DevProcess(Path(state), ai=ai) as worker:
        for seed in range(questions):
            for strategy in strategies.split(","):
                click.echo(json.dumps(asked(worker.url, strategy, lines, seed)))


def asked(url: str, strategy: str, lines: int, seed: int) -> dict[str, object]:
    """One question, and what came of it."""
    found = records(lines, seed=100 + seed)
    kind = list(KINDS)[seed % len(KINDS)]
    name, _, given = strategy.partition("+")
    config = {"strategy": name, "rootModel": MODEL, "subModel": MODEL, "timeoutSeconds": SECONDS, "maxIterations": 6}
    query = f"Each line is a question that a user has asked. How many of the questions ask about a {kind}?"
    body: dict[str, object] = {"context": text_of(found), "query": query, "config": config, "background": True}
    if given:
        body["table"] = {"schema": SCHEMA, "fallback": False, **(counting(kind) if given == "compute" else {})}
    began = time.monotonic()
    session = httpx.post(f"{url}/rlm", json=body, timeout=120).json()["sessionId"]
    result = next(ended(url, session))
    table = result.get("table")
    return {
        "strategy": strategy,
        "answered": result.get("strategy"),
        "truth": counted(found, kind),
        "answer": str(result.get("answer"))[:200],
        "error": result.get("error"),
        "rows": table["rowCount"] if isinstance(table, dict) else None,
        "calls": [result.get("iterations"), result.get("subCalls")],
        "tokens": [result.get("totalInputTokens"), result.get("totalOutputTokens")],
        "seconds": round(time.monotonic() - began, 1),
        "warnings": result.get("warnings"),
    }


def ended(url: str, session: str) -> Iterator[dict[str, object]]:
    """The result, when it is there."""
    while True:
        answer = httpx.get(f"{url}/session/{session}/result", timeout=120)
        if answer.status_code != httpx.codes.ACCEPTED:
            yield answer.json()
        time.sleep(1)


if __name__ == "__main__":
    main()

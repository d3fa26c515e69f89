"""`python -m tests.load --minutes 30`: loads the Worker and says what it has shown; 1 where a promise was broken."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from tests.load.run import Outcome, run_load


@click.command()
@click.option("--minutes", default=30.0, show_default=True, help="How long requests are sent.")
@click.option("--callers", default=50, show_default=True, help="How many send them at the same time.")
def main(minutes: float, callers: int) -> None:
    """Sends mixed requests to the Worker in the real runtime and checks every promise afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        outcome = asyncio.run(run_load(Path(folder), minutes=minutes, callers=callers))
    print(report(outcome))
    problems = outcome.problems()
    for problem in problems:
        print(f"BROKEN: {problem}")
    sys.exit(1 if problems else 0)


def report(outcome: Outcome) -> str:
    """The figures, one a line."""
    by_status = ", ".join(f"{kind} {status}: {count:,}" for (kind, status), count in sorted(outcome.statuses.items()))
    rows = {
        "requests": f"{outcome.requests:,} in {outcome.seconds:.0f} s ({outcome.requests / outcome.seconds:.1f}/s)",
        "answers": by_status,
        "latency": f"median {outcome.latencies[0]:.2f} s, 99th percentile {outcome.latencies[1]:.2f} s",
        "5xx": outcome.server_errors,
        "sessions unaccounted for": len(outcome.unaccounted),
        "slots still held": outcome.runs_left,
        "calls": f"{outcome.calls[0]:,}, {outcome.calls[1]:,} of them answered with nothing, "
        f"{outcome.calls[2]:,} questions with one that was given up after a time-out",
        "cost in results": f"{outcome.results_usd:.6f} USD; in the model's log: {outcome.billed_usd:.6f} USD",
        "time-outs in results": f"{outcome.given_up_usd[0]:.6f} USD, marked as estimates; they can have cost "
        f"{outcome.given_up_usd[1]:.6f} USD",
        "booked to keys": f"{outcome.booked_usd:.6f} USD of {outcome.all_billed_usd:.6f} USD, cancelled runs included",
        "workerd memory": f"{_tenths(outcome.memory)} MB (each tenth's median), {max(outcome.memory):.0f} MB at most; "
        f"drift of the last third {outcome.memory_drift:+.1%}",
    }
    return "\n".join(f"{name}: {value}" for name, value in rows.items())


def _tenths(samples: Sequence[float]) -> str:
    size = max(1, len(samples) // 10)
    return " ".join(
        f"{statistics.median(samples[at : at + size]):.0f}" for at in range(0, min(len(samples), size * 10), size)
    )


if __name__ == "__main__":
    main()

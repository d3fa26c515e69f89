"""200 sub-calls of one second: how near the wall time comes to what the allowed concurrency makes possible."""

from __future__ import annotations

import math

from scripts.local.scripted.faults import Fault
from scripts.local.scripted.model import ScriptedModel
from scripts.local.scripted.rules import fixed
from tests.bench.deployment import Measured, deployed
from tests.bench.tables import Table

CALLS = 200
CONCURRENCY = 24
LATENCY = 1.0
_CHUNK = 20_000
_WITH_FALLBACK, _WITHOUT = "llama-3.1-8b", "llama-3.2-3b"
_FAILING = (Fault(3040, rate=0.1, seed=7),)


def tables() -> list[Table]:
    """Without failures, and with every tenth call refused for want of capacity."""
    columns = ("", "calls sent", "peak", "wall s", "ideal s", "x ideal", "promised", "coverage")
    table = Table(f"Fan-out: sub-calls of {LATENCY:g} s, at most {CONCURRENCY} at once", columns)
    with (
        ScriptedModel() as model,
        deployed(model.url, MAX_CONCURRENCY=str(CONCURRENCY)) as worker,
    ):
        context, _ = worker.upload(int(CALLS * _CHUNK * 0.97))
        cases = (("no failures", _WITH_FALLBACK, (), 1.3), ("3040 at 10 %", _WITH_FALLBACK, _FAILING, 1.8))
        for name, sub_model, faults, promised in (*cases, ("3040 at 10 %, no fallback", _WITHOUT, _FAILING, 1.8)):
            model.reset()
            model.rules, model.latency, model.faults = [fixed("NONE")], LATENCY, faults
            run = worker.ask(context, subModel=sub_model, chunkSize=_CHUNK, maxSubCalls=1_000, useCache=False)
            table.add(*_row(name, run, model, promised))
    table.notes = [
        "ideal: the sub-calls in full rounds, one root call behind them; refused calls take their second too"
    ]
    return [table]


def _row(name: str, run: Measured, model: ScriptedModel, promised: float) -> tuple[str, ...]:
    ideal = (math.ceil(run.number("subCalls") / CONCURRENCY) + run.number("iterations")) * LATENCY
    return (
        name,
        str(len(model.calls)),
        str(model.peak),
        f"{run.seconds:.2f}",
        f"{ideal:.2f}",
        f"{run.seconds / ideal:.2f}",
        f"{promised:g}",
        f"{run.number('coverage'):.0%}",
    )

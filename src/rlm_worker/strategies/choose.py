"""How a context is read where the request leaves it open, and why: in words that the result repeats."""

from __future__ import annotations

from dataclasses import dataclass

from rlm_worker.runs.run import Run

from .direct import fits, is_payable


@dataclass(frozen=True, slots=True)
class StrategyChoice:
    """A strategy and the reason for it."""

    strategy: str
    reason: str


_BY: dict[str, str] = {"request": "the request names it", "rule": "the rule names it"}


async def choose_strategy(run: Run) -> StrategyChoice:
    """The strategy that was asked for; with `auto` the one that context, window and dollars allow."""
    asked = run.job.config.strategy
    if asked != "auto":
        return StrategyChoice(asked, _BY.get(run.routing.chosen_by.strategy, "the request names it"))
    if run.reader.manifest.characters > run.job.config.chunk_size:
        return StrategyChoice("map_reduce", "the context is longer than chunkSize")
    if not await fits(run):
        return StrategyChoice("map_reduce", "the context does not fit the root model's window")
    if not await is_payable(run):
        return StrategyChoice("map_reduce", "maxCostUsd does not cover one call about the whole context")
    return StrategyChoice("direct", "the context is no longer than chunkSize and fits the root model's window")

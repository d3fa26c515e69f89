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


# What is asked of many records: their number, all of them, or one beside the other.
_OF_MANY = ("count", "list", "compare")
# Characters of a chunk that holds about as many rows as a reader writes down, and what a row takes beside the text.
_ROW_CHUNK_CHARACTERS, _CHARACTERS_PER_TOKEN, _WRITTEN_SHARE = 5_000, 4, 0.6


async def choose_strategy(run: Run) -> StrategyChoice:
    """The strategy that was asked for; with `auto` the one that context, window and dollars allow."""
    asked = run.job.config.strategy
    if run.job.table is not None:
        return StrategyChoice("table", "the request brings a table")
    if asked != "auto":
        return StrategyChoice(asked, _BY.get(run.routing.chosen_by.strategy, "the request names it"))
    if run.reader.manifest.characters > run.job.config.chunk_size:
        return _in_parts(run, "the context is longer than chunkSize")
    if not await fits(run):
        return _in_parts(run, "the context does not fit the root model's window")
    if not await is_payable(run):
        return StrategyChoice("map_reduce", "maxCostUsd does not cover one call about the whole context")
    return StrategyChoice("direct", "the context is no longer than chunkSize and fits the root model's window")


def _in_parts(run: Run, reason: str) -> StrategyChoice:
    """Rows where many records are asked about, all of them can be read, and the root model writes SQL; else notes."""
    task = run.routing.task
    if task not in _OF_MANY:
        return StrategyChoice("map_reduce", reason)
    obstacle = _obstacle(run)
    if obstacle:
        return StrategyChoice("map_reduce", f"{reason}; {task} would take a table, but {obstacle}")
    return StrategyChoice("table", f"{reason}, and the task is to {task}")


def _obstacle(run: Run) -> str:
    """What keeps a table from being read whole; empty where nothing does."""
    characters, limit = run.reader.manifest.characters, run.ledger.limits.max_cost_usd
    from .table.extraction import is_weak  # noqa: PLC0415 -- late: an isolate that needs none of it has 128 MB for all else

    if is_weak(run.root):
        return "the root model is too small to write SQL"
    if characters > run.job.config.max_sub_calls * _ROW_CHUNK_CHARACTERS:
        return "maxSubCalls does not cover its chunks"
    tokens = characters // _CHARACTERS_PER_TOKEN
    if limit is not None and run.sub.cost(2 * tokens, int(tokens * _WRITTEN_SHARE)) > limit:
        return "maxCostUsd does not cover it"
    return ""

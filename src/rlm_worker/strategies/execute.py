"""One run from its job to its result."""

from __future__ import annotations

from rlm_worker.errors import (
    AnswerInvalid,
    ContextTooLarge,
    InputTooLarge,
    InvocationSpent,
    NoTable,
    RateLimited,
    RLMError,
)
from rlm_worker.repl.explore import run_repl
from rlm_worker.runs.job import Job
from rlm_worker.runs.run import Outcome, Run, RunPorts, start_run
from rlm_worker.runs.task import take_kept_task, take_task
from rlm_worker.text.context import ContextReader
from rlm_worker.wire.results import ErrorBody, ModelUsage, Relevance, RunResult

from .choose import choose_strategy
from .direct import run_direct
from .map_reduce import run_map_reduce


async def execute(job: Job, reader: ContextReader, ports: RunPorts) -> RunResult:
    """Runs a job to its end; what goes wrong is in the result, with what was paid until then.

    Raises `InvocationSpent` where it has to go on in another invocation.
    """
    run = start_run(job, reader, ports)
    try:
        return await _ended(run)
    finally:
        await run.pace.close()


async def _ended(run: Run) -> RunResult:
    await take_task(run)
    choice = await choose_strategy(run)
    strategy = choice.strategy
    run.routing = run.routing.reading_by(strategy, choice.reason)
    try:
        outcome = await _outcome(run, strategy)
    except InvocationSpent:
        raise
    except RLMError as error:
        return _failed(_result(run, strategy, None), error)
    result = _result(run, run.routing.strategy or strategy, outcome)
    return _failed(result, AnswerInvalid(f"the answer does not fit the schema: {run.unfit}")) if run.unfit else result


def _failed(result: RunResult, error: RLMError) -> RunResult:
    """The same as a failure; an answer that is there nevertheless stays in it, and so do its citations."""
    return result.model_copy(update={"success": False, "error": ErrorBody.of(error)})


def failed_run(job: Job, reader: ContextReader, ports: RunPorts, error: RLMError) -> RunResult:
    """The result of a run that was cut off by an error, with what the journal says was paid until then."""
    run = start_run(job, reader, ports)
    take_kept_task(run)
    strategy = "" if run.job.config.strategy == "auto" else run.job.config.strategy
    return _result(run, strategy, None).model_copy(update={"error": ErrorBody.of(error)})


async def _table(run: Run) -> Outcome:
    """What a table brings; notes where none comes about, if the caller lets them."""
    try:
        from .table.run import run_table  # noqa: PLC0415 -- late: an isolate that needs none of it has 128 MB for all else

        return await run_table(run)
    except NoTable as nothing:
        if not run.job.query or (run.job.table is not None and not run.job.table.fallback):
            raise
        run.warn(f"no table: {nothing}; notes were read instead (map_reduce)")
        run.routing = run.routing.reading_by("map_reduce", f"no table came about: {nothing}")
    return await run_map_reduce(run)


async def _outcome(run: Run, strategy: str) -> Outcome:
    if strategy == "repl":
        return await run_repl(run)
    if strategy == "table":
        return await _table(run)
    if strategy == "map_reduce":
        return await run_map_reduce(run)
    try:
        return await run_direct(run)
    except (ContextTooLarge, InputTooLarge):
        if run.job.config.strategy == "direct":
            raise
        run.warn("the context did not fit the root model's window after all; it was read in chunks")
    except RateLimited:  # the key's dollars do not surely cover one long call; several short ones cost less
        if run.job.config.strategy == "direct":
            raise
    return await run_map_reduce(run)


def _relevance(run: Run, outcome: Outcome | None) -> Relevance | None:
    """Who has chosen the chunks; None where nobody had to."""
    judge = outcome.judge if outcome else None
    return None if judge is None else Relevance(asked=run.job.config.relevance or judge, judge=judge)


def _result(run: Run, strategy: str, outcome: Outcome | None) -> RunResult:
    usage = run.ledger.usage
    return RunResult(
        success=outcome is not None,
        answer=outcome.answer if outcome else None,
        citations=list(outcome.cited.citations) if outcome else [],
        unlocated=list(outcome.cited.unlocated) if outcome else [],
        iterations=usage.iterations,
        sub_calls=usage.sub_calls,
        cached_sub_calls=usage.cached_sub_calls,
        total_input_tokens=usage.input_tokens,
        total_output_tokens=usage.output_tokens,
        cached_input_tokens=usage.cached_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        neurons=round(usage.neurons, 6),
        cost_usd=round(usage.cost_usd, 10),
        estimated=usage.estimated,
        sandboxes=usage.sandboxes,
        sandbox_cost_usd=round(usage.sandbox_usd, 10),
        duration_ms=round((run.ports.clock.now() - run.job.started_at) * 1000),
        session_id=run.job.session_id,
        strategy=strategy,
        root_model=run.root.id,
        sub_model=run.sub.id,
        models=[
            ModelUsage(
                model=model,
                calls=totals.calls,
                input_tokens=totals.input_tokens,
                output_tokens=totals.output_tokens,
                cost_usd=round(totals.cost_usd, 10),
                estimated=totals.estimated,
                cached_input_tokens=totals.cached_tokens,
                reasoning_tokens=totals.reasoning_tokens,
            )
            for model, totals in usage.models
        ],
        chunks=outcome.chunks if outcome else 0,
        chunk_order=list(outcome.chunk_order) if outcome and outcome.chunk_order is not None else None,
        relevance=_relevance(run, outcome),
        coverage=round(outcome.read / run.reader.manifest.characters, 6) if outcome else 0.0,
        truncated=outcome.truncated if outcome else False,
        incomplete=outcome is not None and run.incomplete,
        warnings=run.warnings,
        table=outcome.table if outcome else None,
        routing=run.routing,
        previous_session_id=run.job.previous_session_id,
    )

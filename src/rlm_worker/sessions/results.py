"""Results that no strategy makes: of a cache, of an error, of a cancelled run; and what is counted of each."""

from __future__ import annotations

from rlm_worker.errors import Cancelled, RLMError
from rlm_worker.ports import MetricsPoint
from rlm_worker.runs.job import Job
from rlm_worker.wire.base import Wire
from rlm_worker.wire.results import ErrorBody, RunResult


class CachedResult(Wire):
    """What the cache keeps under `result_key`: a result, and the digest of the job that it answers."""

    digest: str
    result: RunResult


def result_key(session_id: str) -> str:
    """The cache key of a session's result."""
    return f"result:{session_id}"


def as_cache_hit(result: RunResult) -> RunResult:
    """The same answer for a request that paid nothing for it: what was paid once is not shown twice."""
    return result.model_copy(
        update={
            "cache_hit": True,
            "iterations": 0,
            "sub_calls": 0,
            "cached_sub_calls": result.sub_calls + result.cached_sub_calls,
            "total_input_tokens": 0,
            "total_output_tokens": 0,
            "cached_input_tokens": 0,
            "reasoning_tokens": 0,
            "neurons": 0.0,
            "cost_usd": 0.0,
            "sandboxes": 0,
            "sandbox_cost_usd": 0.0,
            "models": [],
        }
    )


def metrics_point(job: Job, result: RunResult) -> MetricsPoint:
    """What ops count of a request; the order of the numbers is a contract with their queries."""
    numbers = (result.iterations, result.sub_calls, result.cost_usd, result.duration_ms, result.neurons)
    more = (result.total_input_tokens, result.total_output_tokens, result.chunks, result.coverage)
    return MetricsPoint(
        key_name=job.owner,
        session_id=job.session_id,
        status="completed" if result.success else "failed",
        strategy=result.strategy,
        root_model=result.root_model,
        sub_model=result.sub_model,
        cache_hit=result.cache_hit,
        error_type=result.error.type if result.error else "",
        values=tuple(float(number) for number in numbers + more),
    )


def worth_keeping(result: RunResult) -> bool:
    """Whether asking again would hardly give a better answer."""
    return result.success and not result.truncated and not result.incomplete


def failed(job: Job, error: RLMError) -> RunResult:
    """The result of a run that an error has ended."""
    return RunResult(
        success=False,
        session_id=job.session_id,
        root_model=job.config.root_model,
        sub_model=job.config.sub_model,
        error=ErrorBody.of(error),
        previous_session_id=job.previous_session_id,
    )


def cancelled(job: Job | None) -> RunResult:
    """The result of a run that its caller has ended."""
    error = Cancelled("the run was cancelled")
    return RunResult(
        success=False,
        session_id=job.session_id if job else "",
        error=ErrorBody.of(error),
        previous_session_id=job.previous_session_id if job else None,
    )

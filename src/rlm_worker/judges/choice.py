"""The judge of a run: who was asked for, where the deployment has it and the run's dollars cover it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from rlm_worker.messages import ModelSpec
from rlm_worker.ports import JudgeName, Ranking, Relevance
from rlm_worker.runs.run import Run
from rlm_worker.wire.events import JudgeEvent

from .asked import AskedRelevance
from .kinds import KINDS, JudgeKind
from .lexical import LexicalRelevance

DEFAULT: JudgeName = "bm25"
# The share of a run's dollars that judging may take at the worst, and of what is left of its time.
_DOLLARS, _TIME = 0.2, 0.2
_SECONDS = 180.0
# No passage has more bytes for each of its estimated tokens, but for texts made of rare signs.
_BYTES_PER_TOKEN = 6
_RANKING = TypeAdapter(Ranking)


@dataclass(frozen=True, slots=True)
class Size:
    """About how long a context is, in tokens, and in how many chunks it is cut."""

    tokens: int
    chunks: int


def judging_usd(run: Run) -> float:
    """The most that judging may cost of a run's dollars; 0 without a limit, and where it costs nothing."""
    limit = run.ledger.limits.max_cost_usd
    return 0.0 if limit is None or _asked(run) == DEFAULT else limit * _DOLLARS


def is_asked(run: Run) -> bool:
    """Whether the caller or the deployment has named a judge."""
    return run.job.config.relevance is not None


def kept_ranking(run: Run, chunks: int) -> Ranking | None:
    """How an earlier life of the run has ranked so many chunks; None where none has."""
    try:
        kept = _RANKING.validate_json(run.ports.journal.ranking())
    except ValidationError:
        return None
    if sorted(kept.order) != list(range(chunks)):
        return None
    _warn(run, kept)
    return kept


async def rank_chunks(run: Run, size: Size, texts: AsyncIterator[tuple[int, str]]) -> Ranking:
    """All chunks, best first; what a model has judged, or was to, is kept for a run that goes on."""
    asked = _asked(run)
    if asked == DEFAULT:
        return await LexicalRelevance().rank(run.question, texts)
    started, before = run.ports.clock.now(), run.ledger.usage.cost_usd
    ranking = await _judge(run, KINDS[asked], size).rank(run.question, texts)
    run.ports.journal.keep_ranking(_RANKING.dump_json(ranking).decode())
    _warn(run, ranking)
    run.emit(
        JudgeEvent(
            asked=asked,
            judge=ranking.judge,
            chunks=len(ranking.order),
            cost_usd=run.ledger.usage.cost_usd - before,
            duration_ms=round((run.ports.clock.now() - started) * 1000),
        )
    )
    return ranking


def _asked(run: Run) -> JudgeName:
    return run.job.config.relevance or DEFAULT


def _warn(run: Run, ranking: Ranking) -> None:
    if ranking.warning:
        run.warn(ranking.warning)


def _judge(run: Run, kind: JudgeKind, size: Size) -> Relevance:
    """The judge of that kind; the one by words where the deployment lacks the model, or dollars do not cover it."""
    spec, obstacle = run.ports.catalog.judge(kind.name), run.ports.catalog.judge_obstacle(kind.name)
    if spec is None or obstacle:
        return _by_words(kind, obstacle)
    most = min(kind.max_passages, _affordable_passages(run, kind, spec))
    if most < size.chunks:
        return _by_words(kind, f"it may look at {most:,} passages only, of {size.chunks:,} chunks")
    return AskedRelevance(kind, spec, run.judge, _per_chunk(kind, size, most), _seconds(run))


def _by_words(kind: JudgeKind, why: str) -> LexicalRelevance:
    return LexicalRelevance(f"the judge {kind.name} was not asked ({why}): chunks were chosen by words")


def _per_chunk(kind: JudgeKind, size: Size, most: int) -> int | None:
    """How many passages of each chunk are shown; None where there is room for all, a few chunks' last ones included."""
    if kind.whole_chunk:
        return min(kind.texts, most // size.chunks)
    every = size.tokens * 1.2 / kind.passage_tokens + 2 * size.chunks
    return None if every <= most else most // size.chunks


def _affordable_passages(run: Run, kind: JudgeKind, spec: ModelSpec) -> int:
    """How many passages the run's dollars surely cover."""
    limit = run.ledger.limits.max_cost_usd
    query = min(len(run.question.encode()), kind.query_tokens * _BYTES_PER_TOKEN)
    worst = spec.cost(kind.passage_tokens * _BYTES_PER_TOKEN + query, 0)
    return kind.max_passages if limit is None or not worst else int(limit * _DOLLARS / worst)


def _seconds(run: Run) -> float:
    left = run.ledger.remaining_seconds()
    return _SECONDS if left is None else min(_SECONDS, max(0.0, left * _TIME))

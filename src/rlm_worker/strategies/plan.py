"""Which chunks a run will read, and how large they are.

Chunks have the size that was asked for as long as the sub-model's window holds it and there are calls enough for all of
them. Otherwise they grow to the window; and what still cannot be read is chosen by its relevance to the query.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from rlm_worker.judges.choice import Size, is_asked, judging_usd, kept_ranking, rank_chunks
from rlm_worker.messages import Span
from rlm_worker.ports import JudgeName
from rlm_worker.runs.run import Run
from rlm_worker.text.chunker import MAX_OVERLAP
from rlm_worker.text.chunks import Chunk, ChunkBudget
from rlm_worker.text.context import ChunkStream, read_chunk
from rlm_worker.text.tokens import RESERVE_MARGIN, TOKENS_PER_MESSAGE, TokenEstimator

from .prompts import map_messages

# The part of the window that a chunk may fill: token counts are estimates until the model has spoken.
_WINDOW_SHARE = 0.9
# Chunks end at the best boundary near their limit, so they are smaller than it on average.
_FILL = 0.8
# Better several relevant parts than one; but a part must hold more than the words around it.
_MIN_AFFORDABLE = (4, 2, 1)
_MIN_CHUNK_TOKENS = 160
_MIN_NOTE_TOKENS = 40
_MAX_SPANS = 20_000
# The most that the root model's last word may keep back of a run's dollars.
_LAST_WORD_SHARE = 0.5
_NOTE_TOKENS = 120


@dataclass(frozen=True, slots=True)
class MapPlan:
    """How to read a context: the size of chunks, and either all of them as they come or `ranked` ones, best first."""

    budget: ChunkBudget
    expected: int
    output_tokens: int
    ranked: tuple[Span, ...] | None = None
    judge: JudgeName | None = None

    @property
    def order(self) -> tuple[int, ...] | None:
        return tuple(span.index for span in self.ranked) if self.ranked is not None else None


async def plan_map(run: Run) -> MapPlan:
    """Decides on the chunks; reads the context once more beforehand only where not everything can be read."""
    run.ledger.set_aside(_last_word_usd(run))
    room = _room(run)
    asked = ChunkBudget(min(run.job.config.chunk_size, room * 8), room)
    if not _affords_all(run):
        return await _ranked(run, *_affordable_chunk(run, asked))
    most = run.job.config.max_sub_calls
    characters = run.reader.manifest.characters
    if characters <= asked.characters * _FILL * most and await _surely_few(run, asked, most):
        return await _all_read(run, asked)
    return await _grown(run, room, most)


async def chosen_chunks(run: Run, plan: MapPlan) -> AsyncIterator[tuple[Span, Chunk]]:
    """The chunks of a plan, each read when it is asked for; those cut in an earlier life of the run come back alike."""
    if plan.ranked is not None:
        for span in plan.ranked:
            yield span, await read_chunk(run.reader, span)
        return
    last: Span | None = None
    for span in run.ports.journal.spans():
        yield span, await read_chunk(run.reader, span)
        last = span
    stream = ChunkStream(
        run.reader, plan.budget, run.pricing.estimator(run.sub), run.job.config.chunk_overlap, after=last
    )
    async for span, chunk in stream.chunks():
        run.ports.journal.add_span(span)
        yield span, chunk


async def _all_read(run: Run, budget: ChunkBudget) -> MapPlan:
    """Every chunk as it comes; best first where a judge is named and time may run out before the end."""
    if is_asked(run) and run.ledger.limits.deadline is not None and not run.ports.journal.spans():
        return await _ranked(run, budget, run.sub_output)
    return MapPlan(budget, _expected_chunks(run, budget), run.sub_output)


def _expected_chunks(run: Run, budget: ChunkBudget) -> int:
    characters = run.reader.manifest.characters
    return max(_ceil(characters, budget.characters), _ceil(_context_tokens(run), budget.tokens or characters))


def _room(run: Run) -> int:
    """Tokens of the sub-model's window that a chunk may fill, beside prompt and answer."""
    return max(64, int((run.sub.window - run.sub_output - _words(run)) * _WINDOW_SHARE))


def _words(run: Run) -> int:
    """Tokens of a prompt beside the chunk: what surrounds it, and what chat templates add."""
    empty = map_messages(run.question, Chunk(0, 0, 0, ()))
    return sum(run.pricing.estimator(run.sub).estimate(message.content) + TOKENS_PER_MESSAGE for message in empty)


def _last_word_usd(run: Run) -> float:
    limit = run.ledger.limits.max_cost_usd
    if limit is None:
        return 0.0
    notes = min(run.root.window - run.root_output, 1_000 + _NOTE_TOKENS * run.job.config.max_sub_calls)
    return min(run.root.cost(notes, run.root_output), limit * _LAST_WORD_SHARE)


def _context_tokens(run: Run) -> int:
    """A guess at the whole context's tokens from its bytes alone: about four to a token in any script."""
    return run.reader.manifest.bytes // 4 + run.reader.manifest.characters // 50


def _ceil(total: int, size: int) -> int:
    return max(1, -(-total // size))


def _dollars(run: Run) -> float:
    """What may be spent on reading; infinite without a limit."""
    limit = run.ledger.limits.max_cost_usd
    return float("inf") if limit is None else limit - _last_word_usd(run)


def _prices(run: Run) -> tuple[float, float]:
    """The most that a token read and a token written by the sub-model or its fallbacks may cost, in dollars."""
    models = [link.model for link in run.chains.of(run.sub)]
    read = max(model.input_price for model in models) * RESERVE_MARGIN / 1_000_000
    return read, max(model.output_price for model in models) / 1_000_000


def _overlap_share(run: Run) -> float:
    """The share of a chunk that is read twice, at most a quarter."""
    return min(run.job.config.chunk_overlap / run.job.config.chunk_size, MAX_OVERLAP)


def _affords_all(run: Run) -> bool:
    read, write = _prices(run)
    calls = min(run.job.config.max_sub_calls, run.reader.manifest.characters // run.job.config.chunk_size + 1)
    tokens = _context_tokens(run) * (1 + _overlap_share(run)) + calls * _words(run)
    return tokens * read + calls * run.sub_output * write <= _dollars(run)


def _affordable_chunk(run: Run, asked: ChunkBudget) -> tuple[ChunkBudget, int]:
    """Chunks so small that dollars pay for several of them, and how many tokens each answer may have."""
    read, write = _prices(run)
    dollars = _dollars(run) - judging_usd(run)
    tokens, output = 0, 0
    least = max(_MIN_NOTE_TOKENS, run.sub.least_output(run.job.config.reasoning_effort))
    for calls in _MIN_AFFORDABLE:
        output = max(least, min(run.sub_output, int(dollars / calls / 3 / write)))
        tokens = int((dollars / calls - output * write) / read) - _words(run)
        if tokens >= _MIN_CHUNK_TOKENS:
            break
    floor = max(1, run.reader.manifest.characters // _MAX_SPANS)
    return ChunkBudget(
        max(floor, asked.characters), max(_MIN_CHUNK_TOKENS, min(tokens, asked.tokens or tokens))
    ), output


async def _surely_few(run: Run, budget: ChunkBudget, most: int) -> bool:
    """Whether the chunks of this size are at most that many; counts them only where the size alone does not tell."""
    if run.reader.manifest.bytes <= min(budget.characters, (budget.tokens or 0) * 2) * _FILL * most / 2:
        return True
    return len([span async for span, _ in _survey(run, budget)]) <= most


async def _grown(run: Run, room: int, most: int) -> MapPlan:
    """Chunks as large as needed, at most as large as the window; a selection of them where that is not enough."""
    needed = run.reader.manifest.characters // max(1, int(most * _FILL))
    if needed < room * 3:
        budget = ChunkBudget(max(needed, run.job.config.chunk_size), room)
        spans = [span async for span, _ in _survey(run, budget)]
        if len(spans) <= most:
            run.warn(f"chunks grew to {budget.characters:,} characters to keep within maxSubCalls ({most})")
            return await _all_read(run, budget)
    return await _ranked(run, ChunkBudget(room * 8, room), run.sub_output)


async def _ranked(run: Run, budget: ChunkBudget, output_tokens: int) -> MapPlan:
    """The chunks of this size, best first."""
    spans: list[Span] = []
    ranking = None
    if run.ports.journal.ranking():
        spans = [span async for span, _ in _survey(run, budget)]
        ranking = kept_ranking(run, len(spans))
    if ranking is None:
        spans = []
        size = Size(_context_tokens(run), _expected_chunks(run, budget))
        ranking = await rank_chunks(run, size, _texts(_survey(run, budget), spans))
    ordered = tuple(spans[number] for number in ranking.order)
    return MapPlan(budget, len(spans), output_tokens, ordered, ranking.judge)


async def _texts(chunks: AsyncIterator[tuple[Span, Chunk]], spans: list[Span]) -> AsyncIterator[tuple[int, str]]:
    """Index and text of each chunk, and its span into `spans`."""
    async for span, chunk in chunks:
        spans.append(span)
        yield span.index, chunk.text


def _survey(run: Run, budget: ChunkBudget) -> AsyncIterator[tuple[Span, Chunk]]:
    """All chunks that this size gives, in a pass of its own; an estimator that learns nothing keeps it repeatable."""
    return ChunkStream(run.reader, budget, TokenEstimator(), run.job.config.chunk_overlap).chunks()

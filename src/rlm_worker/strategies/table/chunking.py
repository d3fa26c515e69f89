"""How large the chunks of a table are: as many rows as a reader can write down, by what two probes show."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from rlm_worker.errors import ModelError
from rlm_worker.messages import Span
from rlm_worker.runs.run import Run
from rlm_worker.tables.records import Probe, chunk_characters
from rlm_worker.text.boundaries import find_row_cut
from rlm_worker.text.chunks import Chunk, ChunkBudget, Piece
from rlm_worker.text.context import ChunkStream, read_chunk
from rlm_worker.text.tokens import TOKENS_PER_MESSAGE, TokenEstimator, byte_length

from .extraction import Extraction
from .parts import Placed
from .read import ChunkRows, RowReader

# The first chunk, and the one in the middle that shows whether the text goes on like this; in characters.
_PROBE_CHARACTERS = 4_000
_LEAST_CHARACTERS = 400
_WINDOW_SHARE = 0.9
# Chunks end at the best boundary near their limit, so they are smaller than it on average.
_FILL = 0.8
# Sizes are steps of about a fifth: what a further document changes of the density changes no chunk before it.
_STEP = 1.2


@dataclass(frozen=True, slots=True)
class RowPlan:
    """The sizes of the first chunk and of all others in characters; none has more tokens than `room`."""

    head: int
    characters: int
    room: int

    def expected(self, run: Run) -> int:
        """About how many chunks there will be."""
        rest = max(0, run.reader.manifest.characters - self.head)
        return 1 + -(-rest // max(1, int(self.characters * _FILL))) if rest else 1


def first_plan(run: Run, extraction: Extraction) -> RowPlan:
    """What is sure before anything was read."""
    room = _room(run, extraction)
    head = min(_PROBE_CHARACTERS, run.job.config.chunk_size, room * 3)
    return RowPlan(head, head, room)


def planned(plan: RowPlan, characters: int) -> RowPlan:
    """The plan with chunks of a size that is known."""
    return RowPlan(plan.head, characters, plan.room)


async def probed(run: Run, reader: RowReader, plan: RowPlan) -> RowPlan:
    """The plan after the first chunk was read, and one in the middle where there is much more to read."""
    whole = run.reader.manifest.characters
    if whole <= plan.head:
        return plan
    most = min(run.job.config.chunk_size, plan.room * 4)
    head = await _head(run, plan)
    middle = await _middle(run, plan) if whole > 4 * plan.head else []
    probes = await asyncio.gather(*(_read(reader, placed) for placed in [*([head] if head else []), *middle]))
    shown = [Probe(span.end - span.start, found.rows, found.output_tokens) for (span, _), found in probes if found.read]
    characters = chunk_characters(shown, reader.extraction.output_tokens, most, least=_LEAST_CHARACTERS)
    return planned(plan, max(_LEAST_CHARACTERS, _stepped(characters)))


async def row_chunks(run: Run, plan: RowPlan) -> AsyncIterator[Placed]:
    """All chunks, each read when it is asked for; those cut in an earlier life of the run come back alike."""
    last: Span | None = None
    for span in run.ports.journal.spans():
        yield span, await read_chunk(run.reader, span)
        last = span
    if last is None and (head := await _head(run, plan)) is not None:
        last = head[0]
        run.ports.journal.add_span(last)
        yield head
    async for span, chunk in _stream(run, plan, plan.characters, last).chunks():
        run.ports.journal.add_span(span)
        yield span, chunk


def _stream(run: Run, plan: RowPlan, characters: int, after: Span | None) -> ChunkStream:
    # An estimator that learns nothing: the next question finds the same chunks.
    budget, overlap = ChunkBudget(characters, plan.room), run.job.config.chunk_overlap
    return ChunkStream(run.reader, budget, TokenEstimator(), overlap, after=after, cut=find_row_cut)


async def _head(run: Run, plan: RowPlan) -> Placed | None:
    """The first chunk, which is cut small whatever the others are."""
    async with aclosing(_stream(run, plan, plan.head, None).chunks()) as chunks:
        return await anext(chunks, None)


async def _middle(run: Run, plan: RowPlan) -> list[Placed]:
    """A piece of text from the middle of the context, from the beginning of a line on."""
    documents = run.reader.manifest.documents
    index, before = documents.at_byte(run.reader.manifest.bytes // 2)
    start = max(before, run.reader.manifest.bytes // 2)
    end = min(before + documents[index].bytes, start + 2 * plan.head)
    content = await run.reader.read(start, end)
    skipped = content.find(b"\n") + 1
    while skipped < len(content) and content[skipped] & 0xC0 == 0x80:  # the rest of a character
        skipped += 1
    start += skipped
    text = content[skipped:].decode(errors="ignore")[: plan.head]
    cut = find_row_cut(text, len(text), len(text))
    text = text[: cut or len(text)]
    if not text.strip():
        return []
    # Its place among the characters does not matter: what is read here counts for its density only.
    span = Span(-1, 0, len(text), start, start + byte_length(text))
    return [(span, Chunk(-1, 0, len(text), (Piece(index, documents[index].name, 0, text),)))]


async def _read(reader: RowReader, placed: Placed) -> tuple[Placed, ChunkRows]:
    try:
        return placed, await reader.probe(placed)
    except ModelError as error:
        return placed, ChunkRows(fate="failed", error=error)


def _stepped(characters: int) -> int:
    size = float(_LEAST_CHARACTERS)
    while size * _STEP <= characters:
        size *= _STEP
    return int(size)


def _room(run: Run, extraction: Extraction) -> int:
    """Tokens of the reader's window that a chunk may fill, beside the prompt and the reply."""
    empty = extraction.messages(Chunk(0, 0, 0, (Piece(0, None, 0, ""),)))
    estimator = run.pricing.estimator(run.sub)
    words = sum(estimator.estimate(message.content) + TOKENS_PER_MESSAGE for message in empty)
    return max(64, int((run.sub.window - extraction.output_tokens - words) * _WINDOW_SHARE))

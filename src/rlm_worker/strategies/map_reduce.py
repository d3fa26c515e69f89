"""Each chunk to a sub-model for evidence, the evidence to the root model for the answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from rlm_worker.citations.evidence import quoted
from rlm_worker.errors import InputTooLarge, ModelError, NothingRead, RLMError, UsageLimitExceeded
from rlm_worker.messages import ModelReply, Span
from rlm_worker.runs.answer import cut_at
from rlm_worker.runs.run import Outcome, Run
from rlm_worker.text.boundaries import find_cut
from rlm_worker.text.chunker import Chunker, Cutter
from rlm_worker.text.chunks import Chunk, ChunkBudget
from rlm_worker.text.tokens import byte_length
from rlm_worker.wire.events import SubcallEvent

from .cite_notes import cite_notes
from .note_cache import NoteCache
from .notes import Note, Parts, Quote, quotes_in
from .plan import MapPlan, chosen_chunks, plan_map
from .prompts import is_no_evidence, map_messages
from .reading_time import Pace, read_within_time
from .reduce import synthesize
from .standalone import standalone_question

_MIN_CHARACTERS_TO_SPLIT = 200


@dataclass(frozen=True, slots=True)
class Reading:
    """What became of one chunk; `cut_at` is the limit in tokens that has cut its note, 0 where none has.

    `quotes` are the sentences of the note, with the places where they stand.
    """

    span: Span
    text: str = ""
    read: int = 0
    error: ModelError | None = None
    cut_at: int = 0
    quotes: tuple[Quote, ...] = ()


@dataclass(slots=True)
class _Progress(Pace):
    """Readings so far, and the chunks that there are at least."""

    readings: list[Reading] = field(default_factory=list)
    chunks: int = 0

    def add(self, reading: Reading) -> None:
        self.readings.append(reading)
        self.chunks = max(self.chunks, reading.span.index + 1)
        self.one_read()


async def run_map_reduce(run: Run) -> Outcome:
    """Reads what limits allow and answers from it; raises `NothingRead` when no chunk could be read."""
    run.question = await standalone_question(run)
    plan = await plan_map(run)
    run.announce_plan("map_reduce", chunks=plan.expected, chunk_size=plan.budget.characters)
    cache = _note_cache(run)
    progress = _Progress()
    await _read(run, plan, cache, progress)
    if cache is not None:
        await cache.save()
    readings = sorted(progress.readings, key=lambda reading: reading.span.index)
    read = sum(reading.read for reading in readings)
    _report(run, readings, progress.stopped)
    if not read:
        raise _nothing_read(readings, progress.stopped)
    chunks = plan.expected if plan.ranked is not None or progress.stopped else len(readings)
    notes = [_note(reading) for reading in readings if not is_no_evidence(reading.text)]
    text, cut = await synthesize(run, notes, read / run.reader.manifest.characters, _parts(readings))
    cited = await cite_notes(run, text, [(reading.span, reading.text) for reading in readings])
    return Outcome(text, chunks, read, cut or progress.stopped is not None, _order(plan, readings), plan.judge, cited)


def _note_cache(run: Run) -> NoteCache | None:
    if not run.job.config.use_cache:
        return None
    key = NoteCache.key_of(run.job.owner, run.question, run.sub.id)
    return NoteCache(run.ports.cache, key)


async def _read(run: Run, plan: MapPlan, cache: NoteCache | None, progress: _Progress) -> None:
    await read_within_time(run, chosen_chunks(run, plan), _ChunkReader(run, cache, plan, progress).read, progress)


@dataclass(frozen=True, slots=True)
class _ChunkReader:
    """Reads single chunks; a failure is part of what it brings back."""

    run: Run
    cache: NoteCache | None
    plan: MapPlan
    progress: _Progress

    async def read(self, placed: tuple[Span, Chunk]) -> None:
        span, chunk = placed
        started = self.run.ports.clock.now()
        try:
            reading, reply, cached = await self._ask(span, chunk)
        except UsageLimitExceeded as limit:
            self.progress.stop(limit)
            return
        self.progress.add(reading)
        self._announce(reading, reply, cached, started)

    async def _ask(self, span: Span, chunk: Chunk) -> tuple[Reading, ModelReply | None, bool]:
        messages = map_messages(self.run.question, chunk, owner=self.run.job.owner)
        request = replace(self.run.request("sub", "map", messages, span), max_output_tokens=self.plan.output_tokens)
        request = replace(request, call=request.key())
        known = await self.cache.recall(request) if self.cache else None
        if known is not None:
            self.run.ledger.count_cached()
            note = self._evidence(known, chunk)
            return Reading(span, note, span.end - span.start, quotes=quotes_in(note, chunk)), None, True
        try:
            reply = await self.run.model.complete(request)
        except InputTooLarge as error:
            return await self._split(span, chunk, error), None, False
        except ModelError as error:
            return Reading(span, error=error), None, False
        if self.cache is not None and not reply.is_cut and not self.run.chains.stood_in(request, reply):
            self.cache.remember(request, reply.text)
        cut = cut_at(reply, request) if reply.is_cut else 0
        note = self._evidence(reply.text, chunk)
        quotes = quotes_in(note, chunk)
        return Reading(span, note, span.end - span.start, cut_at=cut, quotes=quotes), reply, reply.repeated

    def _evidence(self, note: str, chunk: Chunk) -> str:
        if not self.run.ports.deployment.quoted_evidence:
            return note
        return quoted(note, "".join(piece.text for piece in chunk.pieces))

    async def _split(self, span: Span, chunk: Chunk, error: InputTooLarge) -> Reading:
        """Reads a chunk in halves that turned out larger than the model's window."""
        if span.end - span.start < _MIN_CHARACTERS_TO_SPLIT:
            return Reading(span, error=error)
        halves = [(await self._ask(part, half))[0] for part, half in halves_of(span, chunk)]
        telling = [half for half in halves if not is_no_evidence(half.text)]
        failed = next((half.error for half in halves if half.error), None)
        cut = max(half.cut_at for half in halves)
        text, quotes = "\n".join(half.text for half in telling), sum((half.quotes for half in telling), ())
        return Reading(span, text, sum(half.read for half in halves), failed, cut, quotes)

    def _announce(self, reading: Reading, reply: ModelReply | None, cached: bool, started: float) -> None:
        usage = reply.usage if reply and not cached else None
        model = self.run.ports.catalog.answering(reply.model, self.run.sub) if reply else self.run.sub
        cost = model.bill(usage) if usage else 0.0
        self.run.emit(
            SubcallEvent(
                chunk=reading.span.index,
                # How many there are was an estimate, and those behind it may be read before those below.
                chunks=max(self.plan.expected, self.progress.chunks),
                done=len(self.progress.readings),
                status=_status(reading, cached),
                model=reply.model if reply else self.run.sub.id,
                input_tokens=usage.input_tokens if usage else 0,
                output_tokens=usage.output_tokens if usage else 0,
                cost_usd=cost,
                duration_ms=round((self.run.ports.clock.now() - started) * 1000),
                passed_over=list(reply.passed_over) or None if reply else None,
            )
        )


def _status(reading: Reading, cached: bool) -> Literal["ok", "none", "failed", "cached"]:
    if reading.error is not None:
        return "failed"
    if cached:
        return "cached"
    return "none" if is_no_evidence(reading.text) else "ok"


def halves_of(span: Span, chunk: Chunk, cut: Cutter = find_cut) -> Iterator[tuple[Span, Chunk]]:
    """The two parts of a chunk that was too large, and their places; what it repeated is left out."""
    byte = span.byte_start
    for half in _halved(chunk, cut):
        first, byte = byte, byte + byte_length(half.text)
        yield Span(span.index, half.start, half.end, first, byte), half


def _halved(chunk: Chunk, cut: Cutter) -> list[Chunk]:
    budget = ChunkBudget(max(1, -(-(chunk.end - chunk.start) * 5 // 8)))
    chunker = Chunker(budget, first_index=chunk.index, offset=chunk.start, cut=cut)
    halves: list[Chunk] = []
    for piece in chunk.pieces:
        halves += [*chunker.begin_document(piece.name, index=piece.document), *chunker.feed(piece.text)]
    return [*halves, *chunker.finish()]


def _parts(readings: list[Reading]) -> Parts:
    read = [reading for reading in readings if reading.read]
    empty = sum(is_no_evidence(reading.text) for reading in read)
    return Parts(len(read), empty, sum(reading.error is not None for reading in readings))


def _note(reading: Reading) -> Note:
    return Note(reading.span.start, reading.span.end, reading.text, reading.quotes)


def _order(plan: MapPlan, readings: list[Reading]) -> tuple[int, ...] | None:
    """The chunks that were read, in the order in which they were chosen; None where all were."""
    if plan.order is None:
        return None
    read = {reading.span.index for reading in readings}
    return tuple(index for index in plan.order if index in read)


def _report(run: Run, readings: list[Reading], stopped: UsageLimitExceeded | None) -> None:
    """Says what was not read, and why, and which notes were cut."""
    if stopped is not None:
        run.limit_reached(stopped)
    failed = [reading for reading in readings if reading.error is not None]
    for error in [reading.error for reading in failed if reading.error is not None]:
        run.lost(error)
    for reading in failed[:10]:
        run.warn(f"chunk {reading.span.index} (characters {reading.span.start} to {reading.span.end}): {reading.error}")
    if len(failed) > 10:
        run.warn(f"{len(failed) - 10} more chunks could not be read")
    if run.incomplete:
        run.warn("what was lost failed for passing reasons: asked again, only that is read")
    if cut := [reading for reading in readings if reading.cut_at]:
        at, chunks = max(reading.cut_at for reading in cut), ", ".join(str(reading.span.index) for reading in cut[:10])
        more = ", …" if len(cut) > 10 else ""
        run.warn(f"{len(cut)} of {len(readings)} notes were cut at {at} tokens (chunks {chunks}{more})")
    read = sum(reading.read for reading in readings)
    total = run.reader.manifest.characters
    if read < total:
        run.warn(f"only {read:,} of {total:,} characters were read ({100 * read / total:.1f} %)")


def _nothing_read(readings: list[Reading], stopped: UsageLimitExceeded | None) -> RLMError:
    last = next((reading.error for reading in reversed(readings) if reading.error is not None), None)
    return last or stopped or NothingRead("no part of the context could be read")

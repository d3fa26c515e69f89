"""Chunks read into rows: replies are held against them, gone on with where they are cut, halved where they say nothing.

A failure is part of what a chunk brings back. What is held of one that was read is its rows, packed.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from rlm_worker.citations.passages import Documents, Seen
from rlm_worker.errors import InputTooLarge, ModelError, UsageLimitExceeded
from rlm_worker.messages import CallUsage, ModelReply, ModelRequest, Span
from rlm_worker.runs.run import Run
from rlm_worker.strategies.reading_time import Pace
from rlm_worker.tables.records import count_records
from rlm_worker.tables.rows import Row
from rlm_worker.tables.verify import Rejected
from rlm_worker.text.chunks import Chunk
from rlm_worker.wire.events import SubcallEvent

from .extraction import Extraction
from .memory import ExtractionMemory
from .parts import Placed, halves_of, rest_from

# A part that is shorter is not halved any more.
_MIN_CHARACTERS = 200
# Readings of parts of one chunk are told apart by numbers below this.
_PARTS = 1_000

Fate = Literal["read", "cut", "failed"]


@dataclass(frozen=True, slots=True)
class ChunkRows:
    """What came of a chunk or a part of one: its rows with their quotations, packed; `read` counts its characters.

    `told` are the rows that readers told, verified or not. `tokens` and `seconds` are those of its replies.
    """

    packed: tuple[bytes, ...] = ()
    rows: int = 0
    read: int = 0
    rejected: Rejected = field(default_factory=Rejected)
    fate: Fate = "read"
    error: ModelError | None = None
    output_tokens: int = 0
    start: int = 0

    def unpacked(self) -> Iterator[tuple[Row, str]]:
        """The rows, each with its quotation."""
        for part in self.packed:
            for row, quote in json.loads(zlib.decompress(part)):
                yield Row.from_wire(row), quote

    def plus(self, other: ChunkRows) -> ChunkRows:
        """Two neighbouring parts as one."""
        worst: Fate = next(fate for fate in ("failed", "cut", "read") if fate in (self.fate, other.fate))
        if worst == "failed" and self.read + other.read:
            worst = "cut"
        return ChunkRows(
            (*self.packed, *other.packed),
            self.rows + other.rows,
            self.read + other.read,
            self.rejected + other.rejected,
            worst,
            self.error or other.error,
            self.output_tokens + other.output_tokens,
            min(self.start, other.start),
        )


@dataclass(slots=True)
class Tally(Pace):
    """The chunks that were read so far, by their numbers; `expected` is how many there are at least."""

    expected: int = 0
    max_rows: int = 0
    chunks: dict[int, ChunkRows] = field(default_factory=dict)
    rows: int = 0

    def add(self, index: int, found: ChunkRows) -> None:
        self.chunks[index] = found
        self.rows += found.rows
        self.expected = max(self.expected, index + 1)
        if self.rows > self.max_rows:
            self.stop(UsageLimitExceeded("table.maxRows", self.max_rows, self.rows))
        self.one_read()


@dataclass(slots=True)
class _Paid:
    """What a chunk's calls have cost, for its event."""

    model: str = ""
    usage: CallUsage = field(default_factory=lambda: CallUsage(0, 0))
    cost_usd: float = 0.0
    asked: bool = False


@dataclass(frozen=True, slots=True)
class RowReader:
    """Reads single chunks."""

    run: Run
    extraction: Extraction
    memory: ExtractionMemory | None
    tally: Tally
    documents: Documents

    async def read(self, placed: Placed) -> None:
        """Reads a chunk into the tally, and tells of it."""
        span, chunk = placed
        if span.index in self.tally.chunks:
            return
        started, reading = self.run.ports.clock.now(), _ChunkReading(self, span.index)
        try:
            found = await reading.part(span, chunk)
        except UsageLimitExceeded as limit:
            self.tally.stop(limit)
            return
        found = await reading.again(span, chunk, found, self._passes())
        self.tally.add(span.index, replace(found, start=span.start - len(chunk.overlap)))
        self._announce(span, found, reading.paid, started)

    async def probe(self, placed: Placed) -> ChunkRows:
        """Reads a chunk to see how much comes of it; the run's first one counts as read."""
        span, chunk = placed
        if span.index >= 0:
            await self.read(placed)
            return self.tally.chunks.get(span.index, ChunkRows(fate="failed"))
        try:
            return await _ChunkReading(self, span.index).part(span, chunk)
        except UsageLimitExceeded as limit:
            self.tally.stop(limit)
            return ChunkRows(fate="failed")

    def _passes(self) -> int:
        return self.run.job.table.passes if self.run.job.table is not None else 1

    def _announce(self, span: Span, found: ChunkRows, paid: _Paid, started: float) -> None:
        status: Literal["ok", "none", "failed", "cached"] = "ok" if found.rows else "none"
        status = "failed" if found.fate == "failed" else status if paid.asked else "cached"
        self.run.emit(
            SubcallEvent(
                chunk=span.index,
                chunks=self.tally.expected,
                done=len(self.tally.chunks),
                status=status,
                model=paid.model or self.run.sub.id,
                input_tokens=paid.usage.input_tokens,
                output_tokens=paid.usage.output_tokens,
                cost_usd=paid.cost_usd,
                duration_ms=round((self.run.ports.clock.now() - started) * 1000),
            )
        )


@dataclass(slots=True)
class _ChunkReading:
    """One chunk being read, in as many parts as it takes."""

    reader: RowReader
    index: int
    paid: _Paid = field(default_factory=_Paid)
    _parts: int = 0

    async def part(self, span: Span, chunk: Chunk, *, halved: bool = False) -> ChunkRows:
        """What a part of the chunk brings; `halved`: what says nothing is not halved once more."""
        try:
            reply, cut, tokens = await self._reply(span, chunk)
        except InputTooLarge as error:
            return await self._halves(span, chunk, ChunkRows(fate="failed", error=error))
        except ModelError as error:
            return ChunkRows(fate="failed", error=error)
        extraction, run = self.reader.extraction, self.reader.run
        self._parts += 1
        reading, verified = extraction.verified(
            reply,
            chunk,
            self.reader.documents,
            cut=cut,
            number=self.index * _PARTS + self._parts,
            question=run.job.query,
        )
        found = ChunkRows(
            _packed(verified.rows, chunk, self.reader.documents),
            len(verified.rows),
            span.end - span.start,
            verified.rejected,
            output_tokens=tokens,
        )
        if verified.outcome == "unreadable":
            unread = replace(found, fate="failed", read=0)
            return unread if halved else await self._halves(span, chunk, unread, halved=True)
        return await self._gone_on(span, chunk, found, verified.resume_at) if cut or reading.cut else found

    async def again(self, span: Span, chunk: Chunk, found: ChunkRows, passes: int) -> ChunkRows:
        """Reads once more, in parts, where code counts more records than there are rows."""
        parts: list[Placed] = [(span, chunk)]
        for _ in range(1, passes):
            records = count_records(Seen.of(chunk.pieces, chunk.overlap).text)
            if found.fate == "failed" or found.rows >= records:
                break
            parts = [half for part in parts for half in halves_of(*part) or [part]]
            for part in parts:
                more = await self._unless_limited(*part)
                found = replace(found.plus(more), read=found.read, fate=found.fate)
        return found

    async def _gone_on(self, span: Span, chunk: Chunk, found: ChunkRows, at: int | None) -> ChunkRows:
        """What a reply that was cut has, and what stands behind it; halves where it has nothing to go on from."""
        rest = None if at is None else rest_from(span, chunk, at)
        if rest is not None:
            done = replace(found, read=rest[0].start - span.start)
            return done.plus(await self._unless_limited(*rest))
        return await self._halves(span, chunk, replace(found, fate="cut", read=0))

    async def _halves(self, span: Span, chunk: Chunk, otherwise: ChunkRows, *, halved: bool = False) -> ChunkRows:
        parts = halves_of(span, chunk) if span.end - span.start >= _MIN_CHARACTERS else []
        if not parts:
            return otherwise
        found = [await self._unless_limited(*part, halved=halved) for part in parts]
        whole = found[0]
        for other in found[1:]:
            whole = whole.plus(other)
        return whole.plus(replace(otherwise, fate=whole.fate, error=None, read=0)) if otherwise.rows else whole

    async def _unless_limited(self, span: Span, chunk: Chunk, *, halved: bool = False) -> ChunkRows:
        """A further part; one for which no limit is left is missing, and what was paid for stays."""
        try:
            return await self.part(span, chunk, halved=halved)
        except UsageLimitExceeded as limit:
            self.reader.tally.stop(limit)
            return ChunkRows(fate="cut")

    async def _reply(self, span: Span, chunk: Chunk) -> tuple[str, bool, int]:
        """What the model says, whether that was cut, and its tokens."""
        run, memory = self.reader.run, self.reader.memory
        request = self._request(span, chunk)
        known = await memory.recall(request) if memory is not None else None
        if known is not None:
            run.ledger.count_cached()
            return *known, run.pricing.estimator(run.sub).estimate(known[0])
        reply = await run.model.complete(request)
        self._pay(reply)
        if memory is not None and not run.chains.stood_in(request, reply):
            memory.remember(request, reply.text, cut=reply.is_cut)
        tokens = reply.usage.output_tokens if reply.usage else run.pricing.estimator(run.sub).estimate(reply.text)
        return reply.text, reply.is_cut, tokens

    def _request(self, span: Span, chunk: Chunk) -> ModelRequest:
        extraction = self.reader.extraction
        request = replace(
            self.reader.run.request("sub", "rows", extraction.messages(chunk), span),
            max_output_tokens=extraction.output_tokens,
            response_schema=extraction.response_schema(),
        )
        return replace(request, call=request.key())

    def _pay(self, reply: ModelReply) -> None:
        run, paid = self.reader.run, self.paid
        paid.model, paid.asked = reply.model, paid.asked or not reply.repeated
        if reply.usage is not None and not reply.repeated:
            model = run.ports.catalog.answering(reply.model, run.sub)
            paid.cost_usd += model.bill(reply.usage)
            paid.usage = CallUsage(
                paid.usage.input_tokens + reply.usage.input_tokens, paid.usage.output_tokens + reply.usage.output_tokens
            )


def _packed(rows: Iterable[Row], chunk: Chunk, documents: Documents) -> tuple[bytes, ...]:
    """Rows with the source's own words, compressed: thousands of chunks wait for the last one."""
    told = [(row.to_wire(), _quote(row, chunk, documents)) for row in rows]
    if not told:
        return ()
    return (zlib.compress(json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode(), 1),)


def _quote(row: Row, chunk: Chunk, documents: Documents) -> str:
    """What stands at a row's place: in the pieces of its chunk, or in the overlap before them."""
    start, end = documents.starts[row.document] + row.start, documents.starts[row.document] + row.end
    first = chunk.pieces[0].start - len(chunk.overlap)
    texts = [(first, chunk.overlap), *((piece.start, piece.text) for piece in chunk.pieces)]
    return "".join(text[max(0, start - at) : max(0, end - at)] for at, text in texts)

"""From what the chunks have brought to the table: each record once, in the order of the text, written down for good."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from rlm_worker.citations.passages import Documents
from rlm_worker.journal.tables import COLLECTED
from rlm_worker.runs.run import Run
from rlm_worker.tables.rows import Row, distinct
from rlm_worker.tables.verify import Rejected
from rlm_worker.wire.tables import ReadChunks, RejectedRows

from .lines import written
from .read import ChunkRows, Tally


@dataclass(frozen=True, slots=True)
class Collected:
    """The table as it was written down, and how much of the context it holds; `read` counts characters.

    `told` are the rows of readers that were not the same as another, verified or not. `warnings` and `incomplete` are
    the run's when it had read: a life that goes on with the table says them again.
    """

    rows: int
    counts: Mapping[str, int]
    read: int
    chunks: Mapping[str, int]
    rejected: Mapping[str, int]
    shortened: bool
    stopped: bool
    warnings: Sequence[str] = ()
    incomplete: bool = False

    @property
    def told(self) -> int:
        return self.rows + self.rejected["unverified"] + self.rejected["invalid"]

    @property
    def lost_chunks(self) -> int:
        """Chunks that were not read to their end."""
        return self.chunks["cut"] + self.chunks["failed"]

    @property
    def is_complete(self) -> bool:
        return not (self.lost_chunks or self.shortened or self.stopped)

    def read_chunks(self) -> ReadChunks:
        return ReadChunks(**self.chunks)

    def rejected_rows(self) -> RejectedRows:
        return RejectedRows(**self.rejected)


def known_table(run: Run) -> Collected | None:
    """The table that an earlier life of the run has written down whole."""
    kept = run.ports.rows.state(COLLECTED) if run.ports.rows is not None else None
    if not kept:
        return None
    found = Collected(**json.loads(kept))
    for warning in found.warnings:
        run.warn(warning)
    run.incomplete = run.incomplete or found.incomplete
    return found


def collect(run: Run, tally: Tally, documents: Documents) -> Collected:
    """Writes the rows down, a chunk at a time; what a chunk has packed goes with it."""
    assert run.ports.rows is not None
    chunks = _fates(tally)
    read = sum(found.read for found in tally.chunks.values())
    rejected = sum((found.rejected for found in tally.chunks.values()), Rejected())
    merger = _Merger(tally, documents, tally.max_rows)
    rows = run.ports.rows.replace(merger.lines())
    counted = {"unverified": rejected.unverified, "invalid": rejected.invalid, "duplicate": rejected.duplicate}
    counted["duplicate"] += merger.duplicates
    stopped = tally.stopped is not None
    shortened = merger.left_out > 0
    found = Collected(
        rows, merger.counts, read, chunks, counted, shortened, stopped, tuple(run.warnings), run.incomplete
    )
    run.ports.rows.set_state(COLLECTED, json.dumps(asdict(found)))
    return found


def _fates(tally: Tally) -> dict[str, int]:
    found = tally.chunks.values()
    read = [chunk for chunk in found if chunk.fate == "read"]
    return {
        "read": len(read),
        "empty": sum(1 for chunk in read if not chunk.rows and not _told(chunk)),
        "cut": sum(1 for chunk in found if chunk.fate == "cut"),
        "failed": sum(1 for chunk in found if chunk.fate == "failed"),
    }


def _told(found: ChunkRows) -> int:
    return found.rejected.unverified + found.rejected.invalid


@dataclass(slots=True)
class _Merger:
    """Puts chunks together: rows of neighbours may be the same, and only those are held at once."""

    tally: Tally
    documents: Documents
    max_rows: int
    duplicates: int = 0
    left_out: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    _held: list[tuple[Row, str]] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        for index in sorted(self.tally.chunks):
            found = self.tally.chunks[index]
            yield from self._settled(found.start)
            self._held += found.unpacked()
            self.tally.chunks[index] = ChunkRows(rows=found.rows, read=found.read, fate=found.fate, error=found.error)
        yield from self._settled(None)

    def _settled(self, border: int | None) -> Iterator[str]:
        """The rows that nothing from that character of the context on can be the same as; with None all."""
        ready, self._held = self._divided(border)
        once = distinct(row for row, _ in ready)
        self.duplicates += once.duplicates
        quotes = {row.id: quote for row, quote in ready}
        for row in once.rows:
            if sum(self.counts.values()) >= self.max_rows:
                self.left_out += 1
                continue
            self.counts[row.table] = self.counts.get(row.table, 0) + 1
            yield written(row, quotes[row.id], self.documents.names[row.document])

    def _divided(self, border: int | None) -> tuple[Sequence[tuple[Row, str]], list[tuple[Row, str]]]:
        if border is None:
            return self._held, []
        while True:
            later = [pair for pair in self._held if self._end(pair[0]) > border]
            first = min((self._start(row) for row, _ in later), default=border)
            if first >= border:
                break
            border = first  # one that reaches over the border holds back those before it that it overlaps
        kept = {id(row) for row, _ in later}
        return [pair for pair in self._held if id(pair[0]) not in kept], later

    def _start(self, row: Row) -> int:
        return self.documents.starts[row.document] + row.start

    def _end(self, row: Row) -> int:
        return self.documents.starts[row.document] + row.end

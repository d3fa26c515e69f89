"""What a result says of its table: the rows that count, their places, and what was computed."""

from __future__ import annotations

from collections.abc import Sequence

from rlm_worker.citations.cited import MAX_CITATIONS, Cited
from rlm_worker.journal.tables import RowTable
from rlm_worker.tables.answer import Answered
from rlm_worker.wire.results import Citation
from rlm_worker.wire.tables import TableQuery, TableReport, TableRow, TableSchema

from .collect import Collected
from .lines import found, shown
from .query import Computed

# A citation is cut where a row's evidence is longer than any reader reads.
_MAX_CITED_CHARACTERS = 200_000


def shown_rows(rows: RowTable, computed: Computed | None, most: int) -> list[TableRow]:
    """The picked rows, pairs as two; the first ones of the table where nothing was picked by anybody."""
    if computed is None:
        return [shown(line) for line in rows.lines(range(most))]
    ids = list(dict.fromkeys(name for picked in computed.result.picked for name in picked))
    return [shown(line) for line in found(rows.lines(), ids[:most])]


def cited_rows(rows: Sequence[TableRow]) -> Cited:
    """A citation for each row, as many as a result holds."""
    citations: list[Citation] = []
    room = _MAX_CITED_CHARACTERS
    for row in rows[:MAX_CITATIONS]:
        if row.citation is not None and len(row.citation.cited_text) <= room:
            room -= len(row.citation.cited_text)
            place = row.citation.model_dump(exclude={"verified"})
            citations.append(Citation(**place, verified=True, match="exact", row_id=row.id))
    return Cited(tuple(citations))


def report(
    schema: TableSchema, collected: Collected, computed: Computed | None, rows: Sequence[TableRow]
) -> TableReport:
    """The table as a result has it."""
    return TableReport(
        schema=schema,
        row_count=collected.rows,
        complete=collected.is_complete,
        rejected=collected.rejected_rows(),
        chunks=collected.read_chunks(),
        query=_query(computed),
        rows=list(rows),
    )


def counted(collected: Collected, schema: TableSchema) -> Answered:
    """The answer where nothing was asked: how many rows there are of each table."""
    counts = [f"{collected.counts.get(table.name, 0):,} in {table.name}" for table in schema.tables]
    at_least = "" if collected.is_complete else "at least "
    return Answered(f"Rows: {at_least}{', '.join(counts)}.", at_least=bool(at_least))


def _query(computed: Computed | None) -> TableQuery | None:
    if computed is None:
        return None
    result = computed.result
    return TableQuery(
        pick=result.query.pick,
        compute=result.query.compute,
        columns=list(result.columns),
        rows=[list(row) for row in result.rows],
        truncated=result.truncated,
        attempts=computed.attempt,
    )

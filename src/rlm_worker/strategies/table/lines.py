"""A row as a line of JSON: as it is kept while others are read, and as it is kept for good."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import overload

from rlm_worker.journal.tables import RowTable
from rlm_worker.tables.rows import Row, Value
from rlm_worker.wire.tables import RowCitation, TableRow

# For a string column of a table, by its name: which name each name stands for.
Names = Mapping[tuple[str, str], Mapping[str, str]]


def written(row: Row, quote: str, title: str | None) -> str:
    """A row for good; of what the reader wrote, only what is not the value itself."""
    raw = {name: told for name, told in row.raw.items() if told != row.values.get(name)}
    citation = RowCitation(
        cited_text=quote,
        document_index=row.document,
        document_title=title,
        start_char_index=row.start,
        end_char_index=row.end,
    )
    kept = {"id": row.id, "table": row.table, "values": dict(row.values), "raw": raw, "basis": dict(row.basis)}
    return json.dumps({**kept, "citation": citation.to_wire()}, ensure_ascii=False, separators=(",", ":"))


def shown(line: str) -> TableRow:
    """A kept row as a result shows it."""
    return TableRow.model_validate_json(line)


class StoredRows(Sequence[Row]):
    """The rows of a session, read from its storage when they are asked for: 50,000 of them are never held at once."""

    def __init__(self, rows: RowTable, count: int, names: Names) -> None:
        self._rows = rows
        self._count = count
        self._names = names

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Row]:
        return map(self._row, self._rows.lines())

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...

    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        if isinstance(index, slice):
            return [self._row(line) for line in self._rows.lines(range(*index.indices(self._count)))]
        return self._row(next(iter(self._rows.lines([range(self._count)[index]]))))

    def _row(self, line: str) -> Row:
        kept = json.loads(line)
        table, values, place = kept["table"], kept["values"], kept["citation"]
        for (of, name), names in self._names.items():
            if of == table and values.get(name) in names:
                values[name] = names[values[name]]
        start, end = place["startCharIndex"], place["endCharIndex"]
        return _Stored(table, place["documentIndex"], start, end, values, {}, kept["basis"], 0, kept["id"])


class _Stored(Row):
    """A row that has its id: what it is made of may have been replaced since."""

    __slots__ = ("_id",)
    _id: str

    def __init__(self, *parts: object) -> None:
        *row, known = parts
        super().__init__(*row)  # type: ignore[arg-type] # as written above
        object.__setattr__(self, "_id", known)

    @property
    def id(self) -> str:
        return self._id


def found(lines: Iterable[str], ids: Sequence[str]) -> list[str]:
    """The lines of these ids, in their order."""
    wanted = set(ids)
    known: dict[str, str] = {}
    for line in lines:
        if len(known) == len(wanted):
            break
        name = json.loads(line)["id"]
        if name in wanted:
            known[name] = line
    return [known[name] for name in ids if name in known]


def values_of(line: str) -> Mapping[str, Value]:
    """The values of a kept row."""
    values: Mapping[str, Value] = json.loads(line)["values"]
    return values

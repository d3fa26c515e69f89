"""Rows, each with its place in the source, and which of them are the same."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from zlib import crc32

# Dates are ISO 8601 as far as they are known ("2023", "2023-05", "2023-05-14"); numbers have at most 15 digits, so that
# a float is exactly what was written.
Value = str | int | float | bool | None
# What the source says, what a reader has judged of it, nothing.
Basis = Literal["verbatim", "derived", "null"]


@dataclass(frozen=True, slots=True)
class Row:
    """One record: its values by column, as the reader wrote them (`raw`), and what each rests on.

    Its evidence is characters `start` to `end` (exclusive) of the document, in code points. `reading` is the number of
    the chunk that it was read from, of a second pass another one: two rows of one reading were told apart by their
    reader.
    """

    table: str
    document: int
    start: int
    end: int
    values: Mapping[str, Value]
    raw: Mapping[str, object]
    basis: Mapping[str, Basis]
    reading: int = 0

    @property
    def id(self) -> str:
        """Names the record by its place and by what the source says of it: the same in every run over one text."""
        return f"{self.table}:{self.document}:{self.start}-{self.end}.{_fingerprint(self):08x}"

    @property
    def place(self) -> tuple[str, int, int, int]:
        """Table, document, start and end: what `in_order` wants rows sorted by."""
        return self.table, self.document, self.start, self.end

    def to_wire(self) -> dict[str, object]:
        """What is kept of it, and what the wire says."""
        return {
            "id": self.id,
            "table": self.table,
            "document": self.document,
            "start": self.start,
            "end": self.end,
            "values": dict(self.values),
            "raw": dict(self.raw),
            "basis": dict(self.basis),
            "reading": self.reading,
        }

    @classmethod
    def from_wire(cls, kept: Mapping[str, object]) -> Row:
        """The row that `to_wire` has told; for what this package itself has kept."""
        names = ("table", "document", "start", "end", "values", "raw", "basis", "reading")
        return cls(**{name: kept[name] for name in names if name in kept})  # type: ignore[arg-type] # its own


@dataclass(frozen=True, slots=True)
class Distinct:
    """Rows of which none is told twice, in the order of the source, and how many were."""

    rows: tuple[Row, ...]
    duplicates: int


def distinct(rows: Iterable[Row]) -> Distinct:
    """Drops what is told twice: rows of one table whose evidence overlaps are the same record.

    Of several readings of a passage, the one that tells most rows apart by what stands there stays; of the rows that it
    does not tell apart the one with the most evidence, then with the most values. The order of `rows` does not matter;
    doing it again changes nothing.
    """
    given = sorted(rows, key=lambda row: row.place)
    kept = [row for group in _overlapping(given) for row in _told_once(group)]
    return Distinct(tuple(sorted(kept, key=_in_source)), len(given) - len(kept))


def in_order(rows: Iterable[Row]) -> Iterator[Row]:
    """The same for rows that come sorted by their `place`: holds no more of them than overlap."""
    for group in _overlapping(rows):
        yield from sorted(_told_once(group), key=_in_source)


def _in_source(row: Row) -> tuple[object, ...]:
    return row.document, row.start, row.end, row.table, row.reading, row.id


def _overlapping(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows of a table and document whose evidence hangs together; they come sorted."""
    group: list[Row] = []
    end = 0
    for row in rows:
        if group and ((row.table, row.document) != (group[0].table, group[0].document) or row.start >= end):
            yield group
            group = []
        end = max(end, row.end) if group else row.end
        group.append(row)
    if group:
        yield group


def _told_once(group: Sequence[Row]) -> list[Row]:
    """The rows of the reading that tells most of them apart, then those of others where nothing was told yet."""
    if len(group) == 1:
        return [*group]
    readings: dict[int, list[Row]] = {}
    for row in sorted(group, key=_best_first):
        own = readings.setdefault(row.reading, [])
        if not any(_overlap(row, other) and not _differ(row, other) for other in own):
            own.append(row)
    kept: list[Row] = []
    for own in sorted(readings.values(), key=lambda rows: (-len(rows), _best_first(rows[0]))):
        kept += [row for row in own if not any(_overlap(row, other) for other in kept if other.reading != row.reading)]
    return kept


def _best_first(row: Row) -> tuple[object, ...]:
    told = sum(value is not None for value in row.values.values())
    return row.start - row.end, -told, row.reading, row.start, _canonical(row)


def _overlap(one: Row, other: Row) -> bool:
    return one.start < other.end and other.start < one.end


def _differ(one: Row, other: Row) -> bool:
    """Whether the source itself gives the two different values."""
    names = [name for name, basis in one.basis.items() if basis == "verbatim" == other.basis.get(name)]
    return any(one.values[name] != other.values.get(name) for name in names)


def _canonical(row: Row) -> str:
    return json.dumps([dict(row.values), dict(row.basis), dict(row.raw)], sort_keys=True, default=str)


def _fingerprint(row: Row) -> int:
    verbatim = {name: row.raw.get(name) for name, basis in row.basis.items() if basis == "verbatim"}
    return crc32(json.dumps(verbatim, sort_keys=True, default=str).encode("utf-8", "surrogatepass"))

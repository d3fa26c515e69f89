"""Rows held against the chunk that they were read from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rlm_worker.citations.passages import Documents, Seen
from rlm_worker.citations.quotes import SEPARATOR, Place, locate

from .reading import Candidate, Reading
from .rows import Row, distinct
from .schema import Schema, Table
from .values import Followed, Hints, follow, hints_of

# `rejected`: rows were told, and not one of them stands in the source.
VerifiedOutcome = Literal["rows", "empty", "unreadable", "rejected"]
MAX_PROBLEMS = 5
# A quotation of a row is a record, not a chapter.
_MAX_QUOTE = 8_000


@dataclass(frozen=True, slots=True)
class Rejected:
    """Rows that were told and not kept: no such quotation or value in the source, no row of the schema, told twice."""

    unverified: int = 0
    invalid: int = 0
    duplicate: int = 0

    def __add__(self, other: Rejected) -> Rejected:
        return Rejected(
            self.unverified + other.unverified, self.invalid + other.invalid, self.duplicate + other.duplicate
        )


@dataclass(frozen=True, slots=True)
class Verified:
    """What of a reading stands. `resume_at`: where in the chunk's `Seen` text to go on, the reply having been cut.

    `problems` are some of what was refused, in sentences: for the trajectory and for a second try.
    """

    outcome: VerifiedOutcome
    rows: tuple[Row, ...] = ()
    rejected: Rejected = Rejected()
    resume_at: int | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Chunk:
    """What rows are held against."""

    seen: Seen
    documents: Documents
    schema: Schema
    question: str
    number: int
    hints: Mapping[int, Hints]


def verify(
    reading: Reading, seen: Seen, schema: Schema, documents: Documents, *, question: str = "", chunk: int = 0
) -> Verified:
    """Keeps the rows whose quotation stands in what the reader has seen and whose values follow from it."""
    if reading.outcome != "rows":
        return Verified(reading.outcome, rejected=Rejected(invalid=reading.invalid))
    against = _Chunk(seen, documents, schema, question, chunk, _hints(seen))
    rows: list[Row] = []
    problems: list[str] = []
    unverified, invalid, end = 0, reading.invalid, 0
    for candidate, place in zip(reading.candidates, _places(reading.candidates, seen.text), strict=True):
        row, problem = _row(candidate, place, against)
        if row is not None and place is not None:
            rows.append(row)
            end = max(end, place.end)
            continue
        invalid += problem.startswith(_INVALID)
        unverified += not problem.startswith(_INVALID)
        problems.append(problem)
    kept = distinct(rows)
    rejected = Rejected(unverified, invalid, kept.duplicates)
    resume = end if reading.cut and rows else None
    return Verified("rows" if rows else "rejected", kept.rows, rejected, resume, tuple(problems[:MAX_PROBLEMS]))


_INVALID = "invalid: "


def _hints(seen: Seen) -> Mapping[int, Hints]:
    """What each document of a chunk shows of how it writes: nothing of another one's."""
    texts: dict[int, list[str]] = {}
    start = 0
    for part in seen.text.split(SEPARATOR):
        texts.setdefault(seen.locate(start)[0], []).append(part)
        start += len(part) + len(SEPARATOR)
    return {document: hints_of("\n".join(parts)) for document, parts in texts.items()}


def _places(candidates: Sequence[Candidate], text: str) -> list[Place | None]:
    """Where each candidate's evidence stands: its record, or its quotation; equal ones one after another."""
    quotes = [candidate.quote[:_MAX_QUOTE] for candidate in candidates if candidate.place is None]
    located = iter(locate(quotes, text))
    places = [
        next(located) if candidate.place is None else Place(*candidate.place, "exact", verified=True)
        for candidate in candidates
    ]
    return [place if place is not None and _holds(place, text) else None for place in places]


def _holds(place: Place, text: str) -> bool:
    """Whether a place is evidence: it stands there word for word, or it is a whole line, however short."""
    if SEPARATOR in text[place.start : place.end]:
        return False
    return place.verified or (place.match in {"exact", "normalized"} and _is_line(place, text))


def _is_line(place: Place, text: str) -> bool:
    before = text[text.rfind("\n", 0, place.start) + 1 : place.start]
    stop = text.find("\n", place.end)
    behind = text[place.end : stop if stop >= 0 else len(text)]
    return not (before + behind).strip(" \t\r|,;-*" + SEPARATOR)


def _row(candidate: Candidate, place: Place | None, against: _Chunk) -> tuple[Row | None, str]:
    """The row, or None and why it is none."""
    table = against.schema.table(candidate.table)
    if table is None:
        return None, f"{_INVALID}there is no table {candidate.table[:80]}"
    if place is None:
        return None, f"the quotation {candidate.quote[:80]!r} does not stand in the text"
    hints = against.hints[against.seen.locate(place.start)[0]]
    evidence = against.seen.text[place.start : place.end]
    followed = {
        column.name: follow(candidate.values.get(column.name), column, evidence, hints, against.question)
        for column in table.columns
    }
    problem = _problem(table, followed)
    return (None, problem) if problem else (_made(table, candidate, place, followed, against), "")


def _problem(table: Table, followed: dict[str, Followed]) -> str:
    for column in table.columns:
        value = followed[column.name]
        if value.refused:
            kind = _INVALID if column.type in {"enum", "boolean"} else ""
            return f"{kind}{column.name}: {value.refused}"
    missing = [column.name for column in table.columns if column.required and followed[column.name].value is None]
    if missing:
        return f"{_INVALID}{missing[0]}: is required, and nothing sure is said of it"
    return "" if any(value.value is not None for value in followed.values()) else f"{_INVALID}a row without any value"


def _made(table: Table, candidate: Candidate, place: Place, followed: dict[str, Followed], against: _Chunk) -> Row:
    document, start = against.seen.locate(place.start)
    start -= against.documents.starts[document]
    return Row(
        table.name,
        document,
        start,
        start + place.end - place.start,
        {name: value.value for name, value in followed.items()},
        {name: value for name, value in candidate.values.items() if value is not None},
        {name: value.basis for name, value in followed.items()},
        against.number,
    )

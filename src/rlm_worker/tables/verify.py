"""Rows held against the chunk that they were read from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rlm_worker.citations.passages import Documents, Seen

from .reading import Reading
from .rows import Row
from .schema import Schema

# `rejected`: rows were told, and not one of them stands in the source.
VerifiedOutcome = Literal["rows", "empty", "unreadable", "rejected"]


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
    """What of a reading stands. `resume_at`: where in the chunk's `Seen` text to go on, the reply having been cut."""

    outcome: VerifiedOutcome
    rows: tuple[Row, ...] = ()
    rejected: Rejected = Rejected()
    resume_at: int | None = None
    problems: tuple[str, ...] = ()


def verify(
    reading: Reading, seen: Seen, schema: Schema, documents: Documents, *, question: str = "", chunk: int = 0
) -> Verified:
    """Keeps the rows whose quotation stands in what the reader has seen and whose values follow from it."""
    raise NotImplementedError

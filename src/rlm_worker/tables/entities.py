"""Names of the same person or thing, resolved by code: in columns that are grouped or joined, and only when sure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .rows import Row
from .schema import Schema


@dataclass(frozen=True, slots=True)
class Resolved:
    """Which name each name stands for, those that stay themselves left out; and what was not merged, in sentences."""

    names: Mapping[str, str]
    doubts: tuple[str, ...] = ()


def resolve(names: Iterable[str]) -> Resolved:
    """Finds the names that stand for others among these; one that fits two is left alone, and told."""
    raise NotImplementedError


def grouped_columns(schema: Schema, *statements: str) -> frozenset[tuple[str, str]]:
    """The string columns, as (table, column), that SQL statements group by, join on, or count the values of."""
    raise NotImplementedError


def with_names_resolved(
    rows: Sequence[Row], columns: frozenset[tuple[str, str]]
) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """The rows with the names of those columns resolved, `raw` and ids as they were; and the doubts."""
    raise NotImplementedError

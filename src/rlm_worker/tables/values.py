"""A reader's word for a value, and the value: what is sure, and null for the rest."""

from __future__ import annotations

from dataclasses import dataclass

from .rows import Basis, Value
from .schema import Column


@dataclass(frozen=True, slots=True)
class Hints:
    """What a text shows of how it writes: the sign before decimals, and whether days stand before months.

    None where it shows nothing, or both.
    """

    decimal_point: bool | None = None
    day_first: bool | None = None


@dataclass(frozen=True, slots=True)
class Followed:
    """A value as it follows from its evidence; `refused` says why it does not, empty where it does or is null."""

    value: Value
    basis: Basis
    refused: str = ""


def hints_of(text: str) -> Hints:
    """What a text, such as a whole chunk, shows of how it writes."""
    raise NotImplementedError


def follow(raw: object, column: Column, evidence: str, hints: Hints, question: str = "") -> Followed:
    """The value of what a reader wrote, as far as it follows from the evidence, which is the source's own slice.

    A value that is only in the question follows from nothing.
    """
    raise NotImplementedError

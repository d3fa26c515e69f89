"""From a reader's reply to candidates: rows as they were told, none of them believed yet.

`[]`, prose, and rows that do not stand up to the source are three different outcomes: a chunk with nothing in it has
been read, one whose reply says nothing has not, and one whose rows are all refused has been misread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from .records import Record
from .schema import Plan, Schema

Outcome = Literal["rows", "empty", "unreadable"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row as a reader told it; `place` is where its record stands in the chunk, None where a quotation says it."""

    table: str
    values: Mapping[str, object]
    quote: str
    place: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reply says. `cut`: it ends too early, and all its complete rows are here; `invalid` items were no rows."""

    outcome: Outcome
    candidates: tuple[Candidate, ...] = ()
    cut: bool = False
    invalid: int = 0


def read_json(reply: str, schema: Schema, *, cut: bool = False) -> Reading:
    """Reads a reply that holds rows as JSON, whatever stands around it; `cut` says that the model was stopped."""
    raise NotImplementedError


def read_lines(reply: str, schema: Schema, records: Sequence[Record], *, cut: bool = False) -> Reading:
    """Reads lines of `number | value | value`, about records that were numbered for the reader."""
    raise NotImplementedError


def read_plan(reply: str) -> Plan:
    """The plan in the root's reply; raises `InvalidRequest`, whose message the root can mend."""
    raise NotImplementedError


def json_object(reply: str) -> dict[str, object]:
    """The first JSON object of a reply, whatever stands around it; raises `MalformedBody` where there is none."""
    raise NotImplementedError

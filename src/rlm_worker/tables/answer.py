"""The answer in words: its numbers are the result's, copied by code."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from .dates import date_mentions
from .numbers import MAX_DIGITS, mentions
from .rows import Value
from .sql import QueryResult

# What an answer tells of a result; the rest is in the result itself.
MAX_TOLD_ROWS = 100
_MAX_TOLD = 20_000
_SCALES = (Decimal(1), Decimal(10) ** 3, Decimal(10) ** 6, Decimal(10) ** 9, Decimal(10) ** 12)
_LIST_NUMBER = re.compile(r"(?m)^[ \t]*\d{1,3}[.)](?=[ \t])")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_IDLE_WORDS = frozenset(("one", "zero"))


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer; `replaced`: the prose held a number that is not in the result, and the result stands instead."""

    text: str
    replaced: bool = False
    at_least: bool = False


def result_text(result: QueryResult) -> str:
    """The result of a query as text: a value alone, or lines under the names of the columns."""
    rows = result.rows[:MAX_TOLD_ROWS]
    if not rows:
        return "No rows."
    if len(result.columns) == 1 and len(result.rows) == 1:
        return told(rows[0][0])
    lines = [" | ".join(told(value) for value in row) for row in rows]
    head = [" | ".join(result.columns)] if len(result.columns) > 1 else []
    text = "\n".join([*head, *lines])[:_MAX_TOLD]
    missing = len(result.rows) - len(rows)
    more = f"\n({len(rows)} of {len(result.rows):,}{'+' if result.truncated else ''} rows)"
    return text + (more if missing or result.truncated else "")


def told(value: Value) -> str:
    """A value of a result as an answer writes it: a number with all of its digits, as it was computed."""
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        plain = format(Decimal(repr(value)), "f")
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    return str(value)


def foreign_numbers(prose: str, result: QueryResult, question: str = "") -> list[str]:
    """The numbers of a model's prose that stand neither in the result nor in the question.

    A number of the result may be rounded to one decimal or more, and may be written with its scale ("1.2 million").
    Numbers of dates, times and lists are looked at, too: those of a result's dates stand in the result.
    """
    known, asked = _known(result), {number for _, number in _numbers(question)}
    written = {found[0] for text in (*_texts(result), question) for found in _NUMBER.finditer(text)}
    return [
        word
        for word, number in _numbers(_LIST_NUMBER.sub("", prose))
        if not (word in written or number in asked or word.casefold() in _IDLE_WORDS or _stands(number, known))
    ]


def answer_text(
    result: QueryResult, prose: str = "", *, question: str = "", coverage: float = 1.0, failed_chunks: int = 0
) -> Answered:
    """What is answered: the prose where its numbers are the result's, else the result itself.

    With coverage below 1 or failed chunks it says "at least"; nothing found is then unknown, and not 0.
    """
    said = prose.strip()
    wrong = len(said) > _MAX_TOLD or bool(foreign_numbers(said, result, question)) or not _tells(said, result)
    replaced = bool(said) and wrong
    text = said if said and not replaced else result_text(result)
    whole = coverage >= 1 and not failed_chunks
    if whole:
        return Answered(text, replaced)
    share = f"only {min(coverage, 1.0):.0%} of the text was read" if coverage < 1 else f"{failed_chunks} parts failed"
    if _found_nothing(result):
        return Answered(f"Unknown: nothing was found, but {share}.", bool(said))
    return Answered(f"At least ({share}): {text}", replaced, at_least=True)


def _found_nothing(result: QueryResult) -> bool:
    """Whether no row counts: then a count is 0, and everything else is nothing."""
    return not result.picked


def _tells(prose: str, result: QueryResult) -> bool:
    """Whether prose tells the number that a result is, where it is one number."""
    if len(result.rows) != 1 or len(result.rows[0]) != 1 or not isinstance(result.rows[0][0], int | float):
        return True
    only = {Decimal(repr(result.rows[0][0]))}
    return any(_stands(number, only) for _, number in _numbers(prose))


def _known(result: QueryResult) -> set[Decimal]:
    """The numbers of a result, its number of rows, and what is written as a number within its texts."""
    values = [value for row in result.rows for value in row]
    known = {Decimal(repr(value)) for value in values if isinstance(value, int | float) and not isinstance(value, bool)}
    return known | {Decimal(len(result.rows))} if not result.truncated else known


def _texts(result: QueryResult) -> list[str]:
    texts = [value for row in result.rows for value in row if isinstance(value, str)]
    return [*texts, *_parts_of_dates(texts), *result.columns]


def _parts_of_dates(texts: Iterable[str]) -> Iterator[str]:
    """The day and year of each date, as prose writes them."""
    for text in texts:
        for mention in date_mentions(text, day_first=None):
            yield " ".join(part.lstrip("0") for part in mention.date.split("-"))


def _numbers(text: str) -> Iterator[tuple[str, Decimal]]:
    """Everything that is a number to a reader, parts of dates and ranges included."""
    seen: set[int] = set()
    for mention in mentions(text, decimal_point=True):
        if mention.number is not None:
            seen.update(range(mention.start, mention.end))
            number = mention.number * (mention.scale or 1)
            yield text[mention.start : mention.end].strip(), number
    for found in _NUMBER.finditer(text):
        if found.start() not in seen:
            plain = found[0].replace(",", "")
            yield found[0], Decimal(plain if plain.count(".") < 2 else plain.replace(".", ""))


def _stands(number: Decimal, known: set[Decimal]) -> bool:
    """Whether a number is one of those, or one of those rounded to as many decimals as it has, one at least."""
    if number in known:
        return True
    for scale in _SCALES:
        places = -int((number / scale).normalize().as_tuple().exponent)
        if 1 <= places <= MAX_DIGITS and any(
            round(value / scale, places) == number / scale for value in known if abs(value) >= scale or scale == 1
        ):
            return True
    return False

"""The answer in words: its numbers are the result's, copied by code."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
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
# What a name does not go on with; in scripts without spaces it stands between other words.
_LATIN = r"[A-Za-z0-9\u00c0-\u024f]"
_TEXTS_OF_SQL = re.compile(r"'(?:[^']|'')*'")
# A count or a sum that more text can only raise: of the picked rows, or of pairs of them.
_GROWING = re.compile(
    r"\s*SELECT\s+(?:count\s*\([^()]*\)|(?:sum|total)\s*\([^()\-]*\))\s*(?:(?:AS\s+)?(?:\w+|\"[^\"]*\")\s*)?"
    r"\bFROM\s+picked\b(.*)",
    re.IGNORECASE | re.DOTALL,
)
# With these, more rows can make a result smaller.
_TAKES_AWAY = re.compile(
    r"\b(?:SELECT|GROUP|HAVING|LIMIT|OFFSET|UNION|EXCEPT|INTERSECT|LEFT|RIGHT|FULL|OUTER)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer; `replaced`: the prose told what the result does not, and the result stands instead.

    `at_least`: more of the text could only make the number larger.
    """

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
    """What is answered: the prose where it tells the result's one value, else the result, which prose may introduce.

    With coverage below 1 or failed chunks it says of what it is true; nothing found is then unknown, and not 0.
    """
    text, replaced = _worded(result, prose.strip(), question)
    if coverage >= 1 and not failed_chunks:
        return Answered(text, replaced)
    share = f"{_percent(coverage)} of the text" if coverage < 1 else f"{failed_chunks} parts failed"
    only = f"only {share} was read" if coverage < 1 else share
    if _found_nothing(result):
        return Answered(f"Unknown: nothing was found, but {only}.", bool(prose.strip()))
    if _only_grows(result):
        return Answered(f"At least ({only}): {text}", replaced, at_least=True)
    space = "\n" if "\n" in text else " "
    return Answered(f"Of what was read ({share}):{space}{text}", replaced)


def _worded(result: QueryResult, prose: str, question: str) -> tuple[str, bool]:
    """The words of an answer, and whether a model's were not fit to stand there."""
    told_alone = result_text(result)
    if not prose:
        return told_alone, False
    if len(prose) > _MAX_TOLD:
        return told_alone, True
    if len(result.rows) > 1 or len(result.columns) > 1:
        # Which row a number of the prose belongs to cannot be told: the rows tell it.
        unlike = replace(result, columns=(), rows=(), truncated=True)
        fits = not foreign_numbers(prose, unlike, question)
        return (f"{prose}\n\n{told_alone}", False) if fits else (told_alone, True)
    fits = not foreign_numbers(prose, result, question) and _tells(prose, result)
    return (prose, False) if fits else (told_alone, True)


def _percent(coverage: float) -> str:
    """A share below 1 in whole percent, never rounded up to all of it."""
    return f"{min(coverage, 0.99):.0%}" if coverage >= 0.01 else "less than 1%"


def _found_nothing(result: QueryResult) -> bool:
    """Whether no row counts, or what is computed of them is nothing: a 0, or no value."""
    if not result.picked or not result.rows:
        return True
    return len(result.rows) == 1 and all(value is None or value == 0 for value in result.rows[0])


def _only_grows(result: QueryResult) -> bool:
    """Whether a result is one number that can only be larger for the whole text."""
    value = result.rows[0][0] if len(result.rows) == len(result.columns) == 1 else None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        return False
    pick, compute = (_TEXTS_OF_SQL.sub("''", text) for text in (result.query.pick, result.query.compute))
    growing = _GROWING.fullmatch(compute)
    return growing is not None and not _TAKES_AWAY.search(growing[1]) and len(_TAKES_AWAY.findall(pick)) == 1


def _tells(prose: str, result: QueryResult) -> bool:
    """Whether prose tells the value that a result is, where it is one: the number, or the text that is no date."""
    value = result.rows[0][0] if len(result.rows) == 1 else None
    if isinstance(value, str) and not any(True for _ in date_mentions(value, day_first=None)):
        return re.search(rf"(?<!{_LATIN}){re.escape(value)}(?!{_LATIN})", prose, re.IGNORECASE) is not None
    if not isinstance(value, int | float):
        return True
    only = {Decimal(repr(value))}
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

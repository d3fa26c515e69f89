"""Dates in text, as precise as they are written: a year, a month, a day; never completed by guessing.

"03/04/2024" is no date without a hint of which is the month, "4 March" has no year, and "spring 2023" is 2023.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

_ENGLISH = "january february march april may june july august september october november december"
_GERMAN = "januar februar märz april mai juni juli august september oktober november dezember"
_FRENCH = "janvier février mars avril mai juin juillet août septembre octobre novembre décembre"
_SPANISH = "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre"
_ITALIAN = "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre"
_SHORT = "jan feb mar apr may jun jul aug sep oct nov dec"
_LANGUAGES = (_ENGLISH, _GERMAN, _FRENCH, _SPANISH, _ITALIAN, _SHORT)
_MONTHS: Mapping[str, int] = {
    **{name: at for names in _LANGUAGES for at, name in enumerate(names.split(), 1)},
    "sept": 9,
    "mär": 3,
    "mrz": 3,
    "okt": 10,
    "dez": 12,
}
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_YEAR = r"(?P<year>[12]\d{3})"
_DAY = r"(?P<day>\d{1,2})"
_NAMED = rf"(?P<month>{_MONTH})\.?"
_ORDINAL = r"(?:st|nd|rd|th|\.|º|er)?"
_GAP = r"[\s\u00a0]{1,3}"
_OF = rf"(?:{_GAP}(?:of|de|del|di))?"
_NUMERIC_MONTH = r"(?P<number>\d{1,2})"
_FORMS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"(?<![\d\w]){_YEAR}-{_NUMERIC_MONTH}-{_DAY}(?:(?=[T ]\d\d:)|(?!\d|-\d))",
        rf"(?<![\d/.\w]){_YEAR}[/.]{_NUMERIC_MONTH}[/.]{_DAY}(?![\d/])",
        rf"{_YEAR}年(?:{_NUMERIC_MONTH}月(?:{_DAY}日)?)?",
        rf"(?<![\d.]){_DAY}{_ORDINAL}{_OF}[\s\u00a0-]{{1,3}}{_NAMED}{_OF}[\s\u00a0,-]{{1,3}}{_YEAR}(?!\d)",
        rf"\b{_NAMED}{_GAP}{_DAY}{_ORDINAL},?{_GAP}{_YEAR}(?!\d)",
        rf"\b{_NAMED}(?:{_GAP}|,{_GAP}|-){_YEAR}(?!\d|-\d)",
        rf"(?<![\d.]){_DAY}\.{_NUMERIC_MONTH}\.{_YEAR}(?!\d)",
        rf"(?<![\d/\w-])(?P<one>\d{{1,2}})(?P<sign>[/-])(?P<two>\d{{1,2}})(?P=sign){_YEAR}(?![\d/-])",
        rf"(?<![\d/\w-]){_YEAR}-{_NUMERIC_MONTH}(?![\d-])",
        r"(?<![\d/\w.,$€£-])(?P<year>1[0-9]\d\d|20\d\d)(?![\d/]|-\d|[.,]\d|[^\W\d_])",
    )
)
# What a text must have for each of the forms.
_NEEDED = ("-", "/.", "年", "month", "month", "month", ".", "/-", "-", "")
_MONTHS_BEGIN = frozenset(name[:3] for name in _MONTHS)
_MAY_HAVE_YEAR = re.compile(r"[12]\d{3}")
# A fiscal year is no year of the calendar, and of "the mid-1990s" no year is said.
_NO_YEAR = re.compile(r"\b(?:FY|fiscal(?: year)?)[\s'-]*$", re.IGNORECASE)
_PLAIN = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class DateMention:
    """A date as it stands in a text: ISO 8601 as far as it is known; empty where it reads two ways, or is none.

    `ways` are then the days that it may be.
    """

    start: int
    end: int
    date: str
    ways: tuple[str, ...] = ()


@lru_cache(maxsize=16)
def date_mentions(text: str, day_first: bool | None) -> tuple[DateMention, ...]:
    """The dates of a text; of what may be read as several, the longest."""
    taken: list[tuple[int, int]] = []
    found: list[DateMention] = []
    for form in _forms_for(text):
        for match in form.finditer(text):
            start, end = match.span()
            free = not any(start < last and first < end for first, last in taken)
            if free and not _NO_YEAR.search(text[max(0, start - 12) : start]):
                taken.append((start, end))
                found.append(_mention(match, day_first))
    return tuple(found)


def _forms_for(text: str) -> Iterator[re.Pattern[str]]:
    """The forms that a text may hold, judged by what is found fast."""
    if not _MAY_HAVE_YEAR.search(text):
        return
    small = text.lower()
    has_month = any(begin in small for begin in _MONTHS_BEGIN)
    for form, needed in zip(_FORMS, _NEEDED, strict=True):
        if has_month if needed == "month" else not needed or any(sign in text for sign in needed):
            yield form


def day_first_of(text: str) -> bool | None:
    """Whether a text writes 13/04/2024 for a day in April; None where it shows neither or both."""
    shown: set[bool] = set()
    for found in _FORMS[7].finditer(text):
        one, two = int(found["one"]), int(found["two"])
        if max(one, two) > 12 >= min(one, two):
            shown.add(one > 12)
    return shown.pop() if len(shown) == 1 else None


def as_date(text: str) -> str:
    """ISO 8601 as a day, month or year that the calendar has; empty for anything else."""
    found = _PLAIN.fullmatch(text.strip()[:10])
    return _iso(int(found[1]), int(found[2] or 0), int(found[3] or 0)) if found else ""


def agrees(one: str, other: str) -> bool:
    """Whether one of two dates is the other, known more precisely."""
    return bool(one and other) and (one.startswith(other) or other.startswith(one))


def _mention(found: re.Match[str], day_first: bool | None) -> DateMention:
    parts = found.groupdict()
    year = int(parts["year"])
    if parts.get("one"):
        return _slashed(found, year, day_first)
    month = int(parts["number"]) if parts.get("number") else _MONTHS.get((parts.get("month") or "").lower(), 0)
    return DateMention(*found.span(), _iso(year, month, int(parts.get("day") or 0)))


def _slashed(found: re.Match[str], year: int, day_first: bool | None) -> DateMention:
    one, two = int(found["one"]), int(found["two"])
    ways = {True: _iso(year, two, one), False: _iso(year, one, two)}
    sure = [way for way in ways.values() if way]
    if len(set(sure)) == 1:
        return DateMention(*found.span(), sure[0])
    if day_first is None or not ways[day_first]:
        return DateMention(*found.span(), "", tuple(sure))
    return DateMention(*found.span(), ways[day_first])


def _iso(year: int, month: int, day: int) -> str:
    if not 1 <= year <= 9999 or month > 12:
        return ""
    if not month:
        return f"{year:04}" if not day else ""
    if day > monthrange(year, month)[1]:
        return ""
    return f"{year:04}-{month:02}-{day:02}" if day else f"{year:04}-{month:02}"

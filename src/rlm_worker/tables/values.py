"""A reader's word for a value, and the value: what follows from the evidence, and null for what is not sure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from rlm_worker.citations.borders import NEGATIONS, is_whole
from rlm_worker.citations.folding import EAST_ASIAN, Folded, fold

from .dates import DateMention, agrees, as_date, date_mentions, day_first_of
from .numbers import Mention, Unit, decimal_point_of, in_unit, mentions, unit_in_name, unit_of, within_digits
from .rows import Basis, Value
from .schema import NUMERIC, Column

MAX_INTEGER = 2**53
MAX_TEXT = 2_000
_TRUE = frozenset(("true", "yes", "y", "1", "ja", "oui", "sí", "si", "是"))
_FALSE = frozenset(("false", "no", "n", "0", "nein", "non", "否"))
_NOTHING = frozenset(("", "null", "none", "n/a", "na", "-", "–", "unknown", "not stated", "not given", "not mentioned"))  # noqa: RUF001
# Words that a text in one language has, and one in another has not: for the sign before decimals.
_POINT_WORDS = frozenset(("the", "and", "of", "to", "was", "with", "million", "billion"))
_OTHER_LANGUAGES = "der die und das ist mit les des est une della che los las una el het een"
_COMMA_WORDS = frozenset(_OTHER_LANGUAGES.split())
_MIN_WORDS = 3
# Names are short; a text of so many words is one that a reader may have put together.
_MAX_NAME_WORDS = 3
_WORD = re.compile(rf"[{EAST_ASIAN}]|[^\W_]+")
_NAME_OR_NUMBER = re.compile(r"\d[\d.,:/-]*\d|\d|(?<![^\W_])[^\W\d_a-zß-öø-ÿ][^\W_]*")
_DENIALS = "|".join(sorted(map(re.escape, NEGATIONS), key=len, reverse=True))
_REACH = rf"(?:{_DENIALS}|\w+n['’]t)(?:\s+\w+){{0,3}}?\s+"  # noqa: RUF001
_STEM = 4
_DIGIT = re.compile(r"\d")
_YEAR = re.compile(r"[12]\d{3}", re.ASCII)


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


_NULL = Followed(None, "null")


@lru_cache(maxsize=4)
def _folded(evidence: str) -> Folded:
    """The evidence is the same for all columns of a row."""
    return fold(evidence)


def hints_of(text: str) -> Hints:
    """What a text, such as a whole chunk, shows of how it writes: its numbers, else its language."""
    point = decimal_point_of(text)
    return Hints(_language(text) if point is None else point, day_first_of(text))


def _language(text: str) -> bool | None:
    words = [word.lower() for word in _WORD.findall(text[:20_000])]
    point, comma = sum(word in _POINT_WORDS for word in words), sum(word in _COMMA_WORDS for word in words)
    if point >= _MIN_WORDS and point > 3 * comma:
        return True
    return False if comma >= _MIN_WORDS and comma > 3 * point else None


def follow(raw: object, column: Column, evidence: str, hints: Hints, question: str = "") -> Followed:
    """The value of what a reader wrote, as far as it follows from the evidence, which is the source's own slice.

    A value that is only in the question follows from nothing.
    """
    if raw is None or (isinstance(raw, str) and raw.strip().casefold() in _NOTHING):
        return _NULL
    if column.type in NUMERIC:
        return _number(raw, column, evidence, hints)
    if column.type == "boolean":
        return _boolean(raw, column, evidence)
    if not isinstance(raw, str | int | float):
        return _refused(raw, "is no single value")
    text = str(raw).strip()
    if column.type == "date":
        return _date(text, evidence, hints)
    return _label(text, column, evidence) if column.type == "enum" else _text(text, evidence, question)


def _refused(raw: object, why: str) -> Followed:
    return Followed(None, "null", f"{str(raw)[:80]!r} {why}")


def _number(raw: object, column: Column, evidence: str, hints: Hints) -> Followed:
    """The number of the evidence that a reader means: its scale, currency and unit are read there, not in the reply."""
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        return _refused(raw, "is no number")
    if column.type == "integer" and _is_year(raw, evidence, hints):
        return Followed(int(raw), "verbatim")
    unit = unit_of(column.unit or unit_in_name(column.name))
    told = _told(raw, hints)
    if not told:
        return _refused(raw, "is no number") if _DIGIT.search(str(raw)) else _NULL
    standing = [mention for mention in mentions(evidence, hints.decimal_point) if _means(told, mention, evidence, unit)]
    if not standing:
        return _refused(raw, "does not stand in the quotation")
    values = {value for mention in standing if (value := in_unit(mention, unit)) is not None}
    return _numeric(values.pop(), column) if len(values) == 1 else _NULL


def _is_year(raw: str | float, evidence: str, hints: Hints) -> bool:
    """Whether a number is the year of one of the evidence's dates."""
    year = str(raw).strip()
    return _YEAR.fullmatch(year) is not None and any(
        day.startswith(year)
        for mention in date_mentions(evidence, hints.day_first)
        for day in (mention.date, *mention.ways)
    )


def _told(raw: str | float, hints: Hints) -> list[Mention | Decimal | str]:
    """What a reader's number may be: as it is written, and as it is read."""
    if not isinstance(raw, str):
        return [Decimal(repr(raw))] if raw == raw and abs(raw) != float("inf") else []  # noqa: PLR0124 - not a number
    if raw.isascii() and raw.isdigit():
        return [Decimal(raw)]
    own = mentions(raw.strip(), True if hints.decimal_point is None else hints.decimal_point)
    return [raw.strip(), own[0]] if len(own) == 1 else []


def _means(told: list[Mention | Decimal | str], mention: Mention, evidence: str, unit: Unit) -> bool:
    """Whether a reader's number is that one of the evidence: written alike, or of the same value."""
    written = evidence[mention.start : mention.end].strip()
    for one in told:
        if isinstance(one, str):
            if one.casefold() == written.casefold():
                return True
        elif isinstance(one, Decimal):
            if one in {mention.number, in_unit(mention, unit)}:
                return True
        elif _same_number(one, mention, unit):
            return True
    return False


def _same_number(one: Mention, mention: Mention, unit: Unit) -> bool:
    if one.number is None or mention.number is None:
        return False
    if one.currency and mention.currency and one.currency != mention.currency:
        return False
    bare = one.scale is None and one.number in {mention.number, in_unit(mention, unit), _scaled(mention)}
    return bare or (one.scale is not None and _scaled(one) == _scaled(mention))


def _scaled(mention: Mention) -> Decimal | None:
    return None if mention.number is None else mention.number * (mention.scale or 1)


def _numeric(value: Decimal, column: Column) -> Followed:
    if column.type == "integer":
        whole = value == value.to_integral_value() and abs(value) <= MAX_INTEGER
        return Followed(int(value), "verbatim") if whole else _NULL
    return Followed(float(value), "verbatim") if within_digits(value) is not None else _NULL


def _date(text: str, evidence: str, hints: Hints) -> Followed:
    """The date of the evidence that a reader means, as precise as the less precise of the two."""
    found = list(date_mentions(evidence, hints.day_first))
    told = as_date(text) or next((mention.date for mention in date_mentions(text, hints.day_first)), "")
    if not told:
        sure = _DIGIT.search(text) and not _stands(text, evidence) and not any(mention.ways for mention in found)
        return _refused(text, "does not stand in the quotation") if sure else _NULL
    agreeing = {min(mention.date, told, key=len) for mention in found if agrees(mention.date, told)}
    if agreeing:
        return Followed(max(agreeing, key=lambda date: (len(date), date)), "verbatim")
    return _NULL if _may_mean(found, told) else _refused(text, "does not stand in the quotation")


def _may_mean(found: list[DateMention], told: str) -> bool:
    return any(agrees(way, told) for mention in found for way in mention.ways)


def _boolean(raw: object, column: Column, evidence: str) -> Followed:
    word = str(raw).strip().casefold()
    if word not in _TRUE | _FALSE:
        return _refused(raw, "is neither true nor false")
    if word in _TRUE and _is_denied(column.name, evidence):
        return _NULL
    return Followed(word in _TRUE, "derived")


def _label(text: str, column: Column, evidence: str) -> Followed:
    label = text if text in column.enum else _labels(column.enum).get(fold(text).text.strip())
    if label is None:
        return _refused(text, f"is none of {column.name}'s labels")
    denied = not _denying().search(label.casefold()) and _is_denied(label, evidence)
    return _NULL if denied else Followed(label, "derived")


@lru_cache(maxsize=32)
def _labels(enum: tuple[str, ...]) -> dict[str, str]:
    return {fold(label).text.strip(): label for label in enum}


def _is_denied(name: str, evidence: str) -> bool:
    """Whether the evidence says of a word only that it is not so."""
    words = [word for word in _WORD.findall(name.replace("_", " ").casefold()) if len(word) >= _STEM]
    if not words or words[-1] not in evidence.casefold():
        return False
    stem = re.escape(words[-1])
    text = _folded(evidence).text
    denied = len(re.findall(rf"\b{_REACH}{stem}|\b(?:un|in|non-?){stem}", text))
    return bool(denied) and denied >= len(re.findall(stem, text))


@lru_cache(maxsize=1)
def _denying() -> re.Pattern[str]:
    return re.compile(rf"\b(?:{_DENIALS}|un\w+|in\w+|non\w+)\b")


def _text(text: str, evidence: str, question: str) -> Followed:
    """Text is the source's own, or else a reader's words without any name, number or short answer of its own."""
    if len(text) > MAX_TEXT:
        return _refused(text, f"is longer than {MAX_TEXT:,} characters")
    if _stands(text, evidence):
        return Followed(text, "verbatim")
    known = set(_WORD.findall(_folded(evidence).text))
    names = {fold(found[0]).text for found in _NAME_OR_NUMBER.finditer(text) if found.start()}
    words = _WORD.findall(fold(text).text)
    if len(words) <= _MAX_NAME_WORDS or any(not known.issuperset(_WORD.findall(name)) for name in names):
        return _refused(text, "does not stand in the quotation")
    if question and _stands(text, question):
        return _refused(text, "stands in the question only")
    return Followed(text, "derived")


def _stands(text: str, evidence: str) -> bool:
    """Whether whole words of the evidence say the text, in whatever case."""
    if (at := evidence.find(text)) >= 0 and is_whole(evidence, at, at + len(text)):
        return True
    sought, folded = fold(text).text.strip(), _folded(evidence)
    at = folded.text.find(sought) if sought else -1
    while at >= 0:
        if is_whole(evidence, *folded.source(at, at + len(sought))):
            return True
        at = folded.text.find(sought, at + 1)
    return False

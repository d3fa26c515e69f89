"""What an answer says and quotes, part by part: of a text its sentences and quotations, of JSON its values."""

# ruff: noqa: RUF001  the stops of other scripts are meant
from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from pydantic_core import from_json

from rlm_worker.errors import MalformedBody
from rlm_worker.json_scan import check_depth
from rlm_worker.text.json_text import Scalar, scalars

from .evidence import quotations_in

_CLAIM_END = re.compile(r"(?<=[.!?;])[\"'”’)*]*\s+|(?<=[。！？；])|\n+")
_YES_OR_NO = re.compile(r"\W*(?:yes|no|ja|nein|oui|non|s[ií]|да|нет|是|不是|はい|いいえ)(?:\W|$)", re.IGNORECASE)
# Keys whose values are somebody's words: where those stand nowhere, that is worth telling.
_QUOTING_KEY = re.compile(r"quot|verbatim|excerpt|snippet|passage|cited|citation", re.IGNORECASE)
_NUMBER = re.compile(r"-?(\d+)(\.\d+)?")
_MIN_DIGITS, _CENTS = 2, 2


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence, line or value of an answer: its characters from `start` to `end` (exclusive)."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Quote:
    """Words of an answer that may stand in the text; `marked`: it says that they do."""

    text: str
    claim: Claim
    marked: bool = True


@dataclass(frozen=True, slots=True)
class Said:
    """An answer and what it says: claims, each with its words; quotes; all words together.

    `is_verdict`: it may be a bare yes or no to the question.
    """

    answer: str
    words: str
    claims: tuple[tuple[Claim, str], ...]
    quotes: tuple[Quote, ...]
    is_verdict: bool


def said_in(answer: str, *, as_json: bool = False) -> Said:
    """What an answer says; as JSON where it is some, and as a text else."""
    if as_json and _is_json(answer):
        return _said_in_json(answer)
    claims = tuple((claim, answer[claim.start : claim.end]) for claim in claims_of(answer))
    quotes = tuple(Quote(found[0], Claim(*found.span())) for found in quotations_in(answer))
    return Said(answer, answer, claims, quotes, _YES_OR_NO.match(answer) is not None)


def claims_of(answer: str) -> list[Claim]:
    """The sentences and lines of a text."""
    borders = [0, *(found.end() for found in _CLAIM_END.finditer(answer)), len(answer)]
    parts = ((start, answer[start:end]) for start, end in pairwise(borders))
    stripped = ((start + len(part) - len(part.lstrip()), part.strip()) for start, part in parts)
    return [Claim(start, start + len(part)) for start, part in stripped if part]


def _is_json(text: str) -> bool:
    try:
        check_depth(text)
        from_json(text)
    except (MalformedBody, ValueError):
        return False
    return True


def _said_in_json(answer: str) -> Said:
    """Keys are the schema's words and no claim; nor are `true`, `null` and single digits, which stand anywhere."""
    values = list(scalars(answer))
    claims: list[tuple[Claim, str]] = []
    quotes: list[Quote] = []
    for value in values:
        if value.is_text:
            claims += _sentences(value)
            quotes += _quotes(value)
        elif sum(sign.isdigit() for sign in value.written) >= _MIN_DIGITS:
            claims.append((Claim(value.start, value.end), " ".join(spellings(value.written))))
    words = "\n".join(text for _, text in claims)
    verdict = any(value.written in ("true", "false") or _says_yes_or_no(value) for value in values)
    return Said(answer, words, tuple(claims), tuple(quotes), verdict)


def _sentences(value: Scalar) -> Iterator[tuple[Claim, str]]:
    """The sentences of a string, each where it is written in the answer."""
    text, places = value.text(), value.places()
    for claim in claims_of(text):
        yield Claim(places[claim.start], places[claim.end]), text[claim.start : claim.end]


def _quotes(value: Scalar) -> Iterator[Quote]:
    """What of a string may stand in the text word for word: all of it, its sentences, what it quotes itself."""
    text, places, marked = value.text(), value.places(), _QUOTING_KEY.search(value.key) is not None
    if text.strip():
        yield Quote(text, Claim(places[0], places[-1]), marked)
    sentences = claims_of(text)
    for claim in sentences if len(sentences) > 1 else ():
        yield Quote(text[claim.start : claim.end], Claim(places[claim.start], places[claim.end]), marked=False)
    for found in quotations_in(text):
        yield Quote(found[0], Claim(places[found.start()], places[found.end()]))


def spellings(number: str) -> list[str]:
    """A number as JSON has it, and as texts write it: 1234.5 is 1,234.50 there."""
    found = _NUMBER.fullmatch(number)
    if found is None:
        return [number]
    whole, rest = found[1], found[2] or ""
    short = rest.rstrip("0").rstrip(".")
    fractions = {rest, short, short.ljust(1 + _CENTS, "0") if short else ""}
    return sorted({f"{part}{fraction}" for part in (whole, f"{int(whole):,}") for fraction in fractions})


def _says_yes_or_no(value: Scalar) -> bool:
    return value.is_text and _YES_OR_NO.fullmatch(value.text()) is not None

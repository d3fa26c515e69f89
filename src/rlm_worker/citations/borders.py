# ruff: noqa: RUF001  the signs and words of other scripts are meant
"""Whether a quotation may begin and end where it does: not inside of a word, a number or a denial.

A slice can be the source's own and yet say something else: "5%" of "-5%", "5" of "5 million", "guilty" of "not guilty".
"""

from __future__ import annotations

import re
import unicodedata

from rlm_worker.text.graphemes import is_boundary

from .folding import EAST_ASIAN

CURRENCY = r"$¢£¤¥֏؋৲৳฿៛₠-⃀﷼"
# Words that deny, as they stand before or behind what they deny.
_ENGLISH = "not no never none nor neither cannot without hardly barely scarcely nobody nothing nowhere"
_GERMAN = "nicht kein keine keinen keinem keiner keines nie niemals ohne weder"
_ROMANCE = "pas jamais aucun aucune sans nunca sin jamás não sem nem non mai senza"
_RUSSIAN = "не ни нет без никогда"
NEGATIONS = frozenset(f"{_ENGLISH} {_GERMAN} {_ROMANCE} {_RUSSIAN}".split())
_DENYING_SIGNS = tuple("不没沒未非無无别別勿莫")
# How much of the surroundings decides.
_REACH = 24
_WORD = rf"(?![{EAST_ASIAN}])[^\W_]"
_LETTER = r"[^\W\d_]"
_MONEY = "eur|euros?|usd|dollars?|gbp|pounds?|chf|jpy|yen|cny|yuan|inr|rupees?"
_SCALE = "percent|per\\scent|hundred|thousand|million|billion|trillion|bn|mn|k|m|pp|prozent|millionen|milliarden"
_MARKS = "\"'“”‘’„«»(*_`"
_EVEN = str.maketrans({**dict.fromkeys("\xad\u200b\u2060\ufeff"), **dict.fromkeys("‐‑‒–—−", "-"), "’": "'"})
_STOPS = frozenset('.,;:!?")')

# "\0" stands for the border.
_INSIDE = re.compile(
    rf"""
    {_WORD}\0{_WORD} | {_LETTER}'\0{_WORD} | {_WORD}\0'{_LETTER}
  | [\d.,/:^+\-±<>≤≥≈~{CURRENCY}]\0[+\-±]?(?:[{CURRENCY}]|(?:{_MONEY})\s)?[.,]?\d
  | (?:[{CURRENCY}]|\b(?:{_MONEY}|minus|negative))\s\0\d
  | \d\0(?:[.,/:^'\-–]?\d|\s?[%‰°{CURRENCY}]|\^|\s(?:{_SCALE}|{_MONEY})\b)
  | [+\-±<>≤≥≈~{CURRENCY}]\0\s?\d
  | \(\0[{CURRENCY}]?\d[\d.,]*\s?%?\)
    """,
    re.VERBOSE,
)
_SENTENCE_ENDS = tuple(".!?;:。！？；：")
# Denials that stand behind what they deny, as they begin.
_DENIED_BEHIND = ("not", "nicht", "never")
_DENYING_ENDS = ("ない", "なか", "ません", "ず", "ぬ")


def is_whole(text: str, start: int, end: int) -> bool:
    """Whether the slice says no more and no less than its words and numbers do where they stand."""
    if not (is_boundary(text, start) and is_boundary(text, end)):
        return False
    if _is_inside(text, start) or _is_inside(text, end):
        return False
    return not (_is_denied_before(text, start) or _is_denied_behind(text, end))


def _is_inside(text: str, border: int) -> bool:
    """Whether a word or a number goes across the border."""
    before, behind = text[border - 1 : border], text[border : border + 1]
    if not before or not behind:
        return False
    if (before.isspace() and behind.isalpha()) or (behind.isspace() and (before.isalpha() or before in _STOPS)):
        return False
    return _INSIDE.search(f"{_even(text, border - _REACH, border)}\0{_even(text, border, border + _REACH)}") is not None


def _is_denied_before(text: str, start: int) -> bool:
    words = _even(text, start - _REACH, start).split()
    last = words[-1].strip(_MARKS) if words else ""
    return last in NEGATIONS or last.endswith("n't") or last[-1:] in _DENYING_SIGNS


def _is_denied_behind(text: str, end: int) -> bool:
    if text[end - 1 : end] in _SENTENCE_ENDS:
        return False
    behind = _even(text, end, end + _REACH)
    first = behind.split()[:1]
    return bool(first and first[0].strip(_MARKS + ".,;:!?") in _DENIED_BEHIND) or behind.startswith(_DENYING_ENDS)


def _even(text: str, start: int, end: int) -> str:
    """A part of a text in small letters, in which equal signs look alike."""
    part = text[max(0, start) : end]
    return (part if part.isascii() else unicodedata.normalize("NFKC", part).translate(_EVEN)).casefold()

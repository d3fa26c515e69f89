# ruff: noqa: RUF001  the signs that are folded are meant
"""Texts without what does not count in a quotation, and the way back: from folded characters to the source's.

Folded are case, white space, compatibility forms (NFKC), quotation marks (those around words are dropped, but not
behind numbers: 5" are inches), dashes, soft hyphens, words that a line's end has hyphenated, emphasis and other marks
of Markdown, and spaces between East Asian characters. Never folded are digits of another value (x² is not x2), signs,
decimal points, percent and currency signs. Folding is local: a slice of a text that begins and ends with whole
characters of a reader, folded, is a slice of the folded text.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache

# Letters that stand without blanks between words: Han, kana, and the punctuation that goes with them.
EAST_ASIAN = r"\u2e80-\u2fff\u3001-\u303f\u3041-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"

# Letters with their accents, which are no letters to `re`: everything but blanks, digits and ASCII's signs.
_LETTER = r"[^\s\d!-/:-@\[-`{-~]"
_NOT_NUMBER = r"[^\s\d]"
_ACCENTS = r"\u0300-\u036f"
_DASH, _LONG_DASH = "-", "—"
_SAME = {
    **dict.fromkeys("‐‑‒–−﹣", _DASH),
    **dict.fromkeys("—―﹘", _LONG_DASH),
    **dict.fromkeys("“”„‟«»〝〞〟″「」『』", '"'),
    **dict.fromkeys("‘’‚‛‹›′´", "'"),
    **dict.fromkeys("\r\t", " "),
    **dict.fromkeys("\n\x0b\x0c\x85\u2028\u2029", "\n"),
}
_UNSEEN = "\u200b\u2060\ufeff\ufe0e\ufe0f"
# Compatibility forms that change what is meant: powers, indices, fractions, numbers in circles and squares.
_MEANING = ("<super>", "<sub>", "<fraction>", "<circle>", "<square>")
_NUMERO = "№"  # not the word "no"
_MARKS = frozenset(("Mn", "Me", "Mc"))
_HALF_WIDTH_MARKS = "\uff9e\uff9f"
_HANGUL = r"[\u1100-\u115f][\u1160-\u11a7][\u11a8-\u11ff]?|[\uac00-\ud7a3][\u11a8-\u11ff]"

# What changes the length, or depends on what stands around it. Line breaks are "\n" here, all other blanks " ".
_FIXED = rf"""
    \xad(?:\ *+\n\ *+)?
  | [{_UNSEEN}]+
  | (?P<hyphen>(?<={_LETTER})-\ *+\n[ \n]*+(?={_LETTER}))
  | (?<={_NOT_NUMBER})(?P<dash>[ \n]*+(?:—|-{{2,3}})[ \n]*+|[ \n]++-[ \n]++)(?={_NOT_NUMBER})
  | (?<=[{EAST_ASIAN}{_HALF_WIDTH_MARKS}])[ \n]++(?=[{EAST_ASIAN}])
  | (?<![ \n])(?P<mark>[ \n]*?\n\ *+(?:>|\#{{1,6}})\ ++(?={_LETTER}))
  | (?P<blank>[ \n]{{2,}}+)
  | (?<![\w*`"{_ACCENTS}])[*`"]{{1,4}}+(?=\S)
  | (?<=[^\s*`"\d])[*`"]{{1,4}}+(?!\w)
  | (?<=\d)[*`]{{1,3}}+(?![\w"])
"""
# Characters about which is remembered how they are folded: no text can make this grow.
_MAX_KNOWN = 20_000
_OUTPUT = {"dash": " - ", "mark": " ", "blank": " "}


@dataclass(frozen=True, slots=True)
class Folded:
    """A folded text; `source` finds the characters that a part of it stands for."""

    text: str
    # Each change of length: where it begins and ends in the folded text, and where it ends and begins in the source.
    _starts: array[int]
    _ends: array[int]
    _source_starts: array[int]
    _source_ends: array[int]

    def source(self, start: int, end: int) -> tuple[int, int]:
        """The range of the source that the folded characters from `start` to `end` (exclusive) stand for."""
        at, last = self._change(start), self._change(end - 1)
        first = self._source_starts[at] if at >= 0 and start < self._ends[at] else self._beyond(at, start)
        if last >= 0 and end - 1 < self._ends[last]:
            return first, self._source_ends[last]
        return first, self._beyond(last, end)

    def _change(self, position: int) -> int:
        """The last change at or before a position; -1 where there is none."""
        return bisect_right(self._starts, position) - 1

    def _beyond(self, change: int, position: int) -> int:
        return position if change < 0 else self._source_ends[change] + position - self._ends[change]


def fold(text: str, *, line_hyphen: str = "") -> Folded:
    """Folds a text; `line_hyphen` stands for the hyphen of a word that a line's end has cut: dropped, or to be seen."""
    even = text.translate(_TABLE)
    pattern = _PLAIN if text.isascii() else _pattern(frozenset(filter(_stays, set(text))))
    starts, ends, source_starts, source_ends = array("Q"), array("Q"), array("Q"), array("Q")
    parts: list[str] = []
    cursor = written = 0
    for change in pattern.finditer(even):
        begin, end = change.span()
        output = _replacement(change, line_hyphen)
        written += begin - cursor
        parts += (even[cursor:begin], output)
        starts.append(written)
        written += len(output)
        ends.append(written)
        source_starts.append(begin)
        source_ends.append(end)
        cursor = end
    parts.append(even[cursor:])
    folded = "".join(parts).replace("\n", " ").replace(_LONG_DASH, _DASH)
    return Folded(folded, starts, ends, source_starts, source_ends)


def _replacement(change: re.Match[str], line_hyphen: str) -> str:
    kind = change.lastgroup
    if kind is None:
        return ""
    if kind == "hyphen":
        return line_hyphen
    return _OUTPUT[kind] if kind in _OUTPUT else _folded_cluster(change[0])


class _Table(dict[int, str]):
    """For `str.translate`: what keeps its length, found out when it is met; all else stays for the pattern to see."""

    def __missing__(self, code: int) -> str:
        if len(self) > _MAX_KNOWN:
            self.clear()
        sign = chr(code)
        return self.setdefault(code, sign if _stays(sign) or sign in _UNSEEN else _folded(sign))


def _stays(sign: str) -> bool:
    """Whether a character is folded together with its neighbours, or into several."""
    return sign not in _UNSEEN and (_is_mark(sign) or "\u1100" <= sign <= "\u11ff" or len(_folded(sign)) > 1)


def _is_mark(sign: str) -> bool:
    return sign in _HALF_WIDTH_MARKS or unicodedata.category(sign) in _MARKS


@lru_cache(maxsize=64)
def _pattern(staying: frozenset[str]) -> re.Pattern[str]:
    """The pattern for a text in which those characters occur that are not folded one by one."""
    marks = "".join(re.escape(sign) for sign in sorted(staying) if _is_mark(sign))
    longer = "".join(re.escape(sign) for sign in sorted(staying) if not _is_mark(sign))
    clusters = [rf"[^\s]?[{marks}]+"] if marks else []
    if any("\u1100" <= sign <= "\u11ff" for sign in staying):
        clusters.append(_HANGUL)
    if longer:
        clusters.append(f"[{longer}]")
    first = f"(?P<cluster>{'|'.join(clusters)})|" if clusters else ""
    return re.compile(first + _FIXED, re.VERBOSE)


@lru_cache(maxsize=_MAX_KNOWN)
def _folded(sign: str) -> str:
    """One character as it counts."""
    if sign in _SAME:
        return _SAME[sign]
    if sign.isspace():
        return " "
    if unicodedata.decomposition(sign).startswith(_MEANING) or sign == _NUMERO:
        return sign
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", sign).casefold())
    if unicodedata.category(sign) != "Nd" and any(part.isdigit() for part in plain) and not sign.isascii():
        return sign
    if plain[:1].isspace():  # an accent that stands alone is written as a blank with the accent on it
        return sign
    return "".join(_SAME.get(part, part) for part in plain)


def _folded_cluster(cluster: str) -> str:
    """Characters that belong together, such as a letter and its accents, as they count."""
    composed = unicodedata.normalize("NFKC", "".join(map(_folded, cluster)))
    return "".join(part for part in composed if part not in _UNSEEN)


_TABLE = _Table()
_PLAIN = _pattern(frozenset())

# ruff: noqa: RUF001  the signs of other scripts are meant
"""Quotations that are not word for word: where nine tenths of their words stand, in order.

Numbers, denials and names must be the source's own; what differs may be other words. Such a place is where a reader
looked, not what stands there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from .borders import CURRENCY, NEGATIONS
from .folding import EAST_ASIAN, Folded, fold

_MIN_WORDS = 4
_MAX_WORDS, _MAX_CHARACTERS = 400, 4_000
# One word in so many may be another.
_WORDS_TO_AN_EDIT = 10
_SHINGLE = 3
# Places tried for one quotation, those that share most shingles with it; and shingles that are looked at.
_MAX_DIAGONALS, _MAX_HITS = 3, 4_000
# What an edit costs that must not be made.
_FORBIDDEN = 10_000
_REFERENCE = r"\[\d{1,3}(?:\s*[,–-]\s*\d{1,3})*\]"
_TOKEN = re.compile(
    rf"""
    {_REFERENCE}
  | (?P<number>(?:(?<![^\W_])[+\-±])?\ ?[{CURRENCY}]?\d+(?:[.,:/]\d+)*[^\W\d_]*(?:\ ?[%‰°{CURRENCY}])?)
  | (?P<word>[{EAST_ASIAN}]|[^\W_]+(?:'[^\W_]+)*)
  | (?P<sign>[{CURRENCY}%‰<>≤≥≈±=])
""",
    re.VERBOSE,
)
# Words that begin sentences with a capital letter and are no names.
_ARTICLES, _PRONOUNS = "a an the this that these those", "it its he she they we i there here"
_NO_NAMES = frozenset(f"{_ARTICLES} {_PRONOUNS} in on at of and or but as if".split())
_DENYING_PARTS = ("n't", "不", "没", "沒", "未", "非", "無", "无", "ない", "ません")


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a text, its characters from `start` to `end`; `fixed` where it must be the source's own."""

    text: str
    start: int
    end: int
    fixed: bool

    @property
    def cost(self) -> int:
        return _FORBIDDEN if self.fixed else 1


class Words(Sequence[Word]):
    """The words of a text in order; numbers keep their signs, marks of references such as [12] are left out."""

    def __init__(self, text: str, folded: Folded) -> None:
        self._text, self._folded = text, folded
        tokens = [(token[0], token.start(), token.lastgroup) for token in _TOKEN.finditer(folded.text)]
        self._tokens = [token for token in tokens if token[2] is not None]

    def said(self) -> list[str]:
        return [said.replace(" ", "") for said, _, _ in self._tokens]

    def __len__(self) -> int:
        return len(self._tokens)

    def __getitem__(self, at: int) -> Word:  # type: ignore[override] # nobody needs slices
        said, begin, kind = self._tokens[at]
        start, end = self._folded.source(begin + said.startswith(" "), begin + len(said))
        word = said.replace(" ", "")
        fixed = kind != "word" or denies(word) or (self._text[start].isupper() and word not in _NO_NAMES)
        return Word(word, start, end, fixed)

    def between(self, first: int, last: int) -> list[Word]:
        return [self[at] for at in range(max(0, first), min(last, len(self)))]


def denies(word: str) -> bool:
    """Whether a folded word denies what stands beside it."""
    return word in NEGATIONS or any(part in word for part in _DENYING_PARTS)


def align(quotes: Iterable[str], text: str, folded: Folded) -> Mapping[str, tuple[int, int]]:
    """Where quotations stand approximately, by the quotations that do: start and end (exclusive) in the text."""
    short = (quote for quote in dict.fromkeys(quotes) if len(quote) <= _MAX_CHARACTERS)
    sought = {quote: Words(quote, fold(quote)) for quote in short}
    sought = {quote: words for quote, words in sought.items() if _MIN_WORDS <= len(words) <= _MAX_WORDS}
    if not sought:
        return {}
    words = Words(text, folded)
    diagonals = _diagonals(sought, words)
    placed = ((quote, _placed(sought[quote], words, chosen)) for quote, chosen in diagonals.items())
    return {quote: place for quote, place in placed if place is not None}


def _shingles(words: Words) -> Iterator[tuple[int, tuple[str, ...]]]:
    said = words.said()
    return enumerate(zip(said, said[1:], said[2:], strict=False))


def _diagonals(sought: Mapping[str, Words], words: Words) -> Mapping[str, list[int]]:
    """For each quotation the places in the text where it would begin, those that most of its shingles speak for."""
    wanted: dict[tuple[str, ...], list[tuple[str, int]]] = {}
    for quote, said in sought.items():
        for at, shingle in _shingles(said):
            wanted.setdefault(shingle, []).append((quote, at))
    votes: dict[str, Counter[int]] = {quote: Counter() for quote in sought}
    for at, shingle in _shingles(words):
        for quote, offset in wanted.get(shingle, ()):
            if len(votes[quote]) < _MAX_HITS:
                votes[quote][at - offset] += 1
    return {quote: _chosen(counted, len(sought[quote])) for quote, counted in votes.items()}


def _chosen(votes: Counter[int], length: int) -> list[int]:
    """The best diagonals; an edit breaks a few shingles and parts what is left in two, so the best has its share."""
    allowed = length // _WORDS_TO_AN_EDIT
    least = max(1, (length - (allowed + 1) * (_SHINGLE - 1) - allowed) // (allowed + 1))
    return [start for start, count in votes.most_common(_MAX_DIAGONALS) if count >= least and start >= -allowed]


def _placed(quote: Words, words: Words, starts: Sequence[int]) -> tuple[int, int] | None:
    allowed = len(quote) // _WORDS_TO_AN_EDIT
    best: tuple[int, int, int] | None = None
    for start in starts:
        first = max(0, start - allowed)
        window = words.between(first, start + len(quote) + allowed)
        cost, begin, end = _aligned(list(quote), window, start - first + allowed + 1)
        if end > begin and cost <= allowed and (best is None or cost < best[0]):
            best = cost, window[begin].start, window[end - 1].end
    return best[1:] if best else None


def _aligned(quote: Sequence[Word], window: Sequence[Word], band: int) -> tuple[int, int, int]:
    """The cheapest way to read the quotation out of the window: cost, and the words from which and to which it goes.

    Edit distance in words, the window's words before and behind it for nothing. Of each row of the table the `band`
    cells are filled that begin on its diagonal: cell `at` of row `row` has read `row + at` words of the window.
    """
    cells = [(0, -at) for at in range(band)]
    for row, word in enumerate(quote):
        above, cells = [*cells, (_FORBIDDEN, 0)], []
        for at in range(band):
            cost, begin = above[at + 1]
            choices = [(cost + word.cost, begin)]
            if row + at < len(window):
                other = window[row + at]
                same = 0 if word.text == other.text else max(word.cost, other.cost)
                choices.append((above[at][0] + same, above[at][1]))
                if cells:
                    choices.append((cells[-1][0] + other.cost, cells[-1][1]))
            cells.append(min(choices))
        if min(cells)[0] >= _FORBIDDEN:
            return _FORBIDDEN, 0, 0
    cost, begin, last = min((cost, begin, at) for at, (cost, begin) in enumerate(cells))
    return cost, -begin, len(quote) + last

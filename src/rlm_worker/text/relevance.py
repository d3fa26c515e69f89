"""Which chunks to read when not all can be: a ranking by the words of the query, over texts of any length."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

# More terms than this say less and cost more; what is quoted or rare by its form comes first.
_MAX_TERMS = 48
_EXACT_WEIGHT, _PAIR_WEIGHT, _PART_WEIGHT = 3.0, 0.5, 0.3

# Scripts written without blanks between words. Pieces of a few letters stand for words there; Korean has blanks, but
# glues its particles to the words.
_IDEOGRAPHIC = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_HANGUL = "\uac00-\ud7a3"
_SOUTH_EAST_ASIAN = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_UNSPACED_RUN = re.compile(f"(?P<short>[{_IDEOGRAPHIC}]+|[{_HANGUL}]+)|[{_SOUTH_EAST_ASIAN}]+")
# Marks belong to words but are no letters to `re`.
_MARKS = "\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0dff"
_WORD = re.compile(rf"(?:[^\W_]|[{_MARKS}])+")
_TOKEN = re.compile(rf"[\w{_MARKS}]+(?:[-./:@#]+[\w{_MARKS}]+)*")
_QUOTED = re.compile(r'"([^"\n]+)"|“([^”\n]+)”|„([^“”\n]+)[“”]|«([^»\n]+)»|`([^`\n]+)`|「([^」\n]+)」')

_ENDING = re.compile(r"(?:ations?|ings?|ies|ied|ments?|ions?|[eo]rs?|es|ed|ly|s|e|y)$")
_ENDINGS = r"(?:ations?|ings?|ies|ied|ments?|ions?|[eo]rs?|es|ed|ly|'?s|e|y|d|al)?"
_MIN_STEM = 3
_STOP_WORDS = """
    a about all also an and any are as at be been but by can could did do does each find for from give had has have
    how i if in into is it its list many may me more most much my no not of on only or other our out over please say
    says should show so some such tell than that the their them then there these they this those to under up us was
    we were what when where which while who whom whose why will with would you your text document documents context
    der die das den dem des ein eine einer und oder ist sind war wie was wer wo wann warum welche welcher nicht mit
    von zu im auf le la les un une du et ou est sont que qui quoi dans par pour sur el los las y es son en del por
    para con
"""
STOPPED = frozenset(_STOP_WORDS.split())


@dataclass(frozen=True, slots=True)
class Term:
    """Something to count in folded text: a `pattern` that no text without `needle` matches, or the needle itself.

    `weight` is what one term is worth beside another that is as rare.
    """

    needle: str
    pattern: re.Pattern[str] | None
    weight: float

    def count(self, folded: str) -> int:
        """How often the term stands in text that went through `fold`."""
        if self.pattern is None:
            return folded.count(self.needle)
        # Finding a substring is many times faster than matching, and most terms are absent from most chunks.
        return len(self.pattern.findall(folded)) if self.needle in folded else 0


def fold(text: str) -> str:
    """Text as it is compared: without case, and with accents composed (Unicode NFC)."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text).casefold()


def terms_of(query: str) -> list[Term]:
    """The terms of a query, each once, the most telling kinds first."""
    folded = fold(query)
    identifiers = _identifiers(query)
    parts = {part for identifier in identifiers for part in _words(identifier)}
    spoken = [word for word in _words(folded) if word not in parts]
    words = [word for word in spoken if word not in STOPPED] or ([] if parts else spoken)
    terms = [
        *map(_exact_term, _phrases(folded)),
        *map(_exact_term, identifiers),
        *(_word_term(word, 1.0) for word in words),
        *_grams(folded),
        *_pairs(words),
        *(_word_term(part, _PART_WEIGHT) for part in sorted(parts)),
    ]
    return _distinct(terms)[:_MAX_TERMS]


def _distinct(terms: Iterable[Term]) -> list[Term]:
    first: dict[tuple[str, re.Pattern[str] | None], Term] = {}
    for term in terms:
        first.setdefault((term.needle, term.pattern), term)
    return list(first.values())


def _words(folded: str) -> list[str]:
    return _WORD.findall(_UNSPACED_RUN.sub(" ", folded))


def _phrases(folded: str) -> Iterator[str]:
    for match in _QUOTED.finditer(folded):
        phrase = next(filter(None, match.groups())).strip()
        if _WORD.search(phrase):
            yield phrase


def _identifiers(query: str) -> list[str]:
    """Names from code, keys, versions, paths, addresses: what no sentence would hold by chance."""
    return [fold(token) for token in _TOKEN.findall(query) if _is_identifier(token)]


def _is_identifier(token: str) -> bool:
    if not token.isascii() or len(token) < 4:
        return False
    mixed = re.search(r"\d", token) and re.search(r"[A-Za-z]", token)
    return bool(mixed or re.search(r"[_./:@#]|\d-|[a-z][A-Z]", token))


def _exact_term(phrase: str) -> Term:
    """What stands there as it is, but for the blanks between words."""
    if _UNSPACED_RUN.search(phrase):
        return Term(phrase, None, _EXACT_WEIGHT)
    first, *rest = (re.escape(part) for part in phrase.split())
    pattern = r"\s+".join([_begun(first), *rest])
    return Term(phrase.split(maxsplit=1)[0], re.compile(pattern + _end_after(phrase)), _EXACT_WEIGHT)


def _begun(escaped: str) -> str:
    """A word's beginning as a pattern that starts with literals, which the engine finds faster than a word boundary."""
    return rf"{escaped}(?<!\w{escaped})"


def _end_after(phrase: str) -> str:
    return r"(?!\w)" if re.match(r"\w", phrase[-1]) else ""


def _word_term(word: str, weight: float) -> Term:
    stem, endings = _stem(word)
    return Term(stem, re.compile(rf"{_begun(stem)}{endings}(?!\w)"), weight)


def _stem(word: str) -> tuple[str, str]:
    """A word's lasting beginning, and the pattern of what may follow it: `settings` gives `set` and `t?(ings|…)?`."""
    if not word.isalpha():
        return word, ""
    if not word.isascii():
        kept = len(word) - (2 if len(word) > 5 else 1 if len(word) > 3 else 0)
        return word[:kept], r"\w{0,4}" if len(word) > 3 else ""
    ending = _ENDING.search(word)
    stem = word[: ending.start()] if ending and ending.start() >= _MIN_STEM else word
    if len(stem) > _MIN_STEM and stem[-1] == stem[-2]:
        stem = stem[:-1]
    return stem, f"{stem[-1]}?{_ENDINGS}"


def _pairs(words: list[str]) -> Iterator[Term]:
    """Words that follow each other in the query, when they do so in the text too, or nearly."""
    for first, second in pairwise(words):
        stem, endings = _stem(first)
        next_stem, next_endings = _stem(second)
        pattern = rf"{_begun(stem)}{endings}\W+(?:\w+\W+)?{next_stem}{next_endings}(?!\w)"
        yield Term(stem, re.compile(pattern), _PAIR_WEIGHT)


def _grams(folded: str) -> Iterator[Term]:
    for run in _UNSPACED_RUN.finditer(folded):
        text = run.group()
        length = min(len(text), 2 if run["short"] else 3)
        for at in range(len(text) - length + 1):
            yield Term(text[at : at + length], None, 1.0)


# Okapi BM25's usual constants: how soon repetition stops to count, and how much length does.
_SATURATION, _LENGTH_SHARE = 1.2, 0.75


@dataclass(frozen=True, slots=True)
class _Counted:
    index: int
    length: int
    hits: tuple[tuple[int, int], ...]  # term, count; only terms that occur


class RelevanceIndex:
    """Ranks chunks for one query by BM25, of which it keeps nothing but counts: some 200 bytes a chunk.

    Beside words, which match in their usual endings and without regard to case, it looks for identifiers (`abc-123`),
    quoted phrases, words that stand together, and pairs of characters where a script has no blanks. How rare a term is
    counts squared, so that a name which only few chunks have outweighs many words which half of them have.
    """

    def __init__(self, query: str) -> None:
        self._terms = terms_of(query)
        self._chunks: list[_Counted] = []
        self._length = 0  # of all chunks
        self._frequency = [0] * len(self._terms)  # chunks that hold the term

    def add(self, index: int, text: str) -> None:
        """Counts the query's terms in a chunk's text; the names of its documents may stand before it."""
        folded = fold(text)
        hits = tuple((at, count) for at, term in enumerate(self._terms) if (count := term.count(folded)))
        for at, _ in hits:
            self._frequency[at] += 1
        self._length += len(text)
        self._chunks.append(_Counted(index, len(text), hits))

    def rank(self) -> list[int]:
        """The indices of all chunks, best first; equals, and those without any term, by index."""
        scores = self.scores()
        return sorted(scores, key=lambda index: (-scores[index], index))

    def scores(self) -> dict[int, float]:
        """Each chunk's score by its index: 0 where no term of the query occurs, else above 0."""
        return {chunk.index: sum(self._worths(chunk)) for chunk in self._chunks}

    def shares(self) -> dict[int, float]:
        """Each chunk's score as a share of what one would have that holds every term once, whatever the others hold."""
        whole = sum(term.weight * self._rarity(at) ** 2 for at, term in enumerate(self._terms)) or 1.0
        return {index: score / whole for index, score in self.scores().items()}

    def _worths(self, chunk: _Counted) -> Iterator[float]:
        average = self._length / len(self._chunks)
        relative = 1 - _LENGTH_SHARE + _LENGTH_SHARE * chunk.length / average
        for term, count in chunk.hits:
            frequent = count * (_SATURATION + 1) / (count + _SATURATION * relative)
            yield self._terms[term].weight * self._rarity(term) ** 2 * frequent

    def _rarity(self, term: int) -> float:
        found = self._frequency[term]
        return math.log(1 + (len(self._chunks) - found + 0.5) / (found + 0.5))

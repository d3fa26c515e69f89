"""What a query looks for: words, identifiers and quoted phrases, as patterns over folded text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

# More terms than this say less and cost more; what is quoted or rare by its form comes first.
_MOST_TERMS = 48
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
_SHORTEST_STEM = 3
_STOP_WORDS = """
    a about all also an and any are as at be been but by can could did do does each find for from give had has have
    how i if in into is it its list many may me more most much my no not of on only or other our out over please say
    says should show so some such tell than that the their them then there these they this those to under up us was
    we were what when where which while who whom whose why will with would you your text document documents context
    der die das den dem des ein eine einer und oder ist sind war wie was wer wo wann warum welche welcher nicht mit
    von zu im auf le la les un une du et ou est sont que qui quoi dans par pour sur el los las y es son en del por
    para con
"""
_STOPPED = frozenset(_STOP_WORDS.split())


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
    words = [word for word in spoken if word not in _STOPPED] or ([] if parts else spoken)
    terms = [
        *map(_exact_term, _phrases(folded)),
        *map(_exact_term, identifiers),
        *(_word_term(word, 1.0) for word in words),
        *_grams(folded),
        *_pairs(words),
        *(_word_term(part, _PART_WEIGHT) for part in sorted(parts)),
    ]
    return _distinct(terms)[:_MOST_TERMS]


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
    stem = word[: ending.start()] if ending and ending.start() >= _SHORTEST_STEM else word
    if len(stem) > _SHORTEST_STEM and stem[-1] == stem[-2]:
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

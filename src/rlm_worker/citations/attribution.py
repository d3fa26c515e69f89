# ruff: noqa: RUF001  the words of other scripts are meant
"""Which passages an answer rests on, told by what they share: names, numbers and rare words, sentence by sentence.

No model is asked. What only the question says counts little, since every passage that was found for it says it too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rlm_worker.text.json_text import Scalar, scalars
from rlm_worker.text.relevance import STOPPED

from .folding import EAST_ASIAN, fold
from .said import Claim, Said, spellings

_TERM = re.compile(rf"\d+(?:[.,:]\d+)*|[^\W\d_{EAST_ASIAN}]+(?:['’][^\W\d_]+)*|(?P<run>[{EAST_ASIAN}]+)")
# What a term is worth that is a number, and one that the question has said.
_NUMBER, _ASKED = 2.0, 0.25
# The question's own words in a passage tell apart those that are equal otherwise.
_TIE = 0.01
# A passage is cited for a claim that shares this much of what the best one shares; a number in common needs less.
_SHARE, _SHARE_WITH_NUMBER = 0.5, 0.3
_MIN_DIGITS = 2
# Without a number in common it must hold this share of what the claim says, or half of its own words must be there.
_CLAIM_SHARE, _PASSAGE_SHARE = 0.25, 0.5
# A term that stands in so many passages as good as each other, or in so many different ones, tells nothing.
_MAX_EQUALS, _MAX_DIFFERENT = 24, 4
_EPSILON = 1e-9


@dataclass(frozen=True, slots=True)
class Support:
    """A passage that an answer rests on, by its number, and the claim that it was chosen for."""

    passage: int
    claim: Claim


def terms_in(text: str) -> frozenset[str]:
    """The words and numbers of a text, folded, without such as say nothing; of scripts without blanks, pairs."""
    return frozenset(term for term in _terms(fold(text).text) if term not in STOPPED)


def told_terms(words: str, query: str) -> frozenset[str]:
    """What an answer says that its question has not said, or all that it says where that is nothing."""
    told = terms_in(words)
    return told - terms_in(query) or told


def is_said_in(answer: str, *texts: str) -> bool:
    """Whether there are words or numbers in the values of a JSON text, and each stands in one of the texts."""
    known = frozenset().union(*map(terms_in, texts))
    told = [value for value in scalars(answer) if value.is_text or any(sign.isdigit() for sign in value.written)]
    return bool(told) and all(_is_known(value, known) for value in told)


def _is_known(value: Scalar, known: frozenset[str]) -> bool:
    return terms_in(value.text()) <= known if value.is_text else not known.isdisjoint(spellings(value.written))


def supports(said: Said, query: str, passages: Sequence[str]) -> list[Support]:
    """The passages that the answer rests on; one passage may be there for several claims."""
    index = _Index(terms_in(query), [terms_in(passage) for passage in passages])
    found = [Support(at, claim) for claim, words in said.claims for at in index.best(words)]
    if not found and said.is_verdict:
        whole = Claim(0, len(said.answer))
        found = [Support(at, whole) for at in index.best(query)]
    return found


@dataclass(slots=True)
class _Index:
    """Passages by their terms; the rarer a term is among them, the more it tells."""

    asked: frozenset[str]
    passages: Sequence[frozenset[str]]
    _holders: dict[str, list[int]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        for at, terms in enumerate(self.passages):
            for term in terms:
                self._holders.setdefault(term, []).append(at)

    def best(self, claim: str) -> list[int]:
        """The passages that explain the claim's terms best, in their order."""
        claimed = terms_in(claim)
        said = claimed & self._holders.keys()
        telling = said - self.asked or said
        scores = self._scores(said, telling)
        top = max(scores.values(), default=0.0)
        chosen: set[int] = set()
        for term in telling:
            most = max(scores[at] for at in self._holders[term])
            best = [at for at in self._holders[term] if scores[at] >= most - _EPSILON]
            if len(best) <= _MAX_EQUALS and len({self.passages[at] for at in best}) <= _MAX_DIFFERENT:
                chosen |= {at for at in best if self._is_enough(term, at, scores[at] / top, claimed)}
        return sorted(chosen)

    def _is_enough(self, term: str, at: int, share: float, claimed: frozenset[str]) -> bool:
        """Whether what a passage shares with a claim is more than chance; `share` is of what the best one shares."""
        if _is_telling_number(term):
            return share >= _SHARE_WITH_NUMBER
        own, telling = self.passages[at] - self.asked, claimed - self.asked
        shared = len(own & telling) if telling & self._holders.keys() else len(self.passages[at] & claimed)
        enough = shared >= _CLAIM_SHARE * len(telling) or shared >= _PASSAGE_SHARE * len(own)
        return share >= _SHARE and enough

    def _scores(self, said: Iterable[str], telling: Iterable[str]) -> Mapping[int, float]:
        """What each passage shares with a claim; only those that share more than the question."""
        scores: dict[int, float] = {}
        for at in {at for term in telling for at in self._holders[term]}:
            own = sum(self._weight(term) for term in said if term in self.passages[at])
            scores[at] = own + _TIE * sum(self._weight(term) for term in self.asked & self.passages[at])
        return scores

    def _weight(self, term: str) -> float:
        rarity = math.log1p(len(self.passages) / len(self._holders[term]))
        return rarity * (_NUMBER if term[0].isdigit() else 1.0) * (_ASKED if term in self.asked else 1.0)


def _is_telling_number(term: str) -> bool:
    return sum(sign.isdigit() for sign in term) >= _MIN_DIGITS


def _terms(folded: str) -> Iterator[str]:
    for found in _TERM.finditer(folded):
        run = found["run"]
        if run is None:
            yield found[0].removesuffix("'s")
        else:
            yield from (run[at : at + 2] for at in range(max(1, len(run) - 1)))

"""Which chunks to read when not all can be: a ranking by the words of the query, over texts of any length."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from .query import fold, terms_of

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

    def _worths(self, chunk: _Counted) -> Iterator[float]:
        average = self._length / len(self._chunks)
        relative = 1 - _LENGTH_SHARE + _LENGTH_SHARE * chunk.length / average
        for term, count in chunk.hits:
            frequent = count * (_SATURATION + 1) / (count + _SATURATION * relative)
            yield self._terms[term].weight * self._rarity(term) ** 2 * frequent

    def _rarity(self, term: int) -> float:
        found = self._frequency[term]
        return math.log(1 + (len(self._chunks) - found + 0.5) / (found + 0.5))

"""Two judges' opinions as one order."""

from __future__ import annotations

from collections.abc import Mapping

# Reciprocal rank fusion (Cormack, Clarke, Büttcher 2009) with its usual constant.
_RANK_CONSTANT = 60


def merged(judged: Mapping[int, float], words: Mapping[int, float]) -> tuple[int, ...]:
    """All chunks that `words` knows, best first: by what was judged and by words, each by rank.

    A model may miss what only a number or a name tells, which words do not; where no word is shared, words say nothing.
    """
    places = [_places(judged), _places({index: score for index, score in words.items() if score})]
    worth = {index: sum(1 / (_RANK_CONSTANT + place[index]) for place in places if index in place) for index in words}
    return tuple(sorted(words, key=lambda index: (-worth[index], index)))


def _places(scores: Mapping[int, float]) -> dict[int, int]:
    """Each chunk's place, from 1; equals by index."""
    return {index: at for at, index in enumerate(sorted(scores, key=lambda index: (-scores[index], index)), 1)}

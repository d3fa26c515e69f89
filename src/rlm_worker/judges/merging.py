"""What a judge and words say, as one order."""

from __future__ import annotations

from collections.abc import Mapping

# What words count beside a judge, whose scores lie between 0 and 1: measured with `python -m tests.eval.relevance`. One
# place for each of them (reciprocal rank fusion) lost a third of what only the judge had found.
_WORDS = 2.0


def merged(judged: Mapping[int, float], words: Mapping[int, float]) -> tuple[int, ...]:
    """All chunks that `words` knows, best first, by their scores; those of `words` from 0, none, to 1, all of them.

    A model may miss what only a number or a name tells, which words do not; where hardly a word is shared, words say
    little.
    """
    least, most = min(judged.values(), default=0.0), max(judged.values(), default=0.0)
    width = (most - least) or 1.0
    worth = {index: (judged.get(index, least) - least) / width + _WORDS * share for index, share in words.items()}
    return tuple(sorted(worth, key=lambda index: (-worth[index], index)))

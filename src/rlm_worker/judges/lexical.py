"""The judge that costs nothing: BM25 over the words of the query."""

from __future__ import annotations

from collections.abc import AsyncIterator

from rlm_worker.ports import Ranking
from rlm_worker.text.relevance import RelevanceIndex


class LexicalRelevance:
    """Ranks chunks by the query's words; needs nobody, so it is also what stands in for every other judge."""

    async def rank(self, query: str, texts: AsyncIterator[tuple[int, str]]) -> Ranking:
        index = RelevanceIndex(query)
        async for number, text in texts:
            index.add(number, text)
        return Ranking(tuple(index.rank()))

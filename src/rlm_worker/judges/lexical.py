"""The judge that costs nothing: BM25 over the words of the query."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from rlm_worker.ports import Ranking
from rlm_worker.text.relevance import RelevanceIndex


@dataclass(frozen=True, slots=True)
class LexicalRelevance:
    """Ranks chunks by the query's words; stands in for every other judge, and `warning` says why it does."""

    warning: str = ""

    async def rank(self, query: str, texts: AsyncIterator[tuple[int, str]]) -> Ranking:
        index = RelevanceIndex(query)
        async for number, text in texts:
            index.add(number, text)
        return Ranking(tuple(index.rank()), warning=self.warning)

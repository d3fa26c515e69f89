"""Judges that are models: asked about passages of the chunks; a chunk is worth what its best passage is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic_core import from_json

from rlm_worker.errors import InvocationSpent, RLMError
from rlm_worker.messages import Message, ModelRequest, ModelSpec
from rlm_worker.models.concurrency import fan_out
from rlm_worker.ports import Model, Ranking
from rlm_worker.text.relevance import RelevanceIndex

from .kinds import JudgeKind
from .merging import merged
from .passages import Passage, chosen, passages_of, shortened

# Calls at once: an answer of vectors is a megabyte, and much larger where Python holds it.
_WIDTH = 4
# How the passages of a call stand in the journal, which does not keep their texts a second time.
_PLACES = "Passages, as chunk:characters of it: "


@dataclass(frozen=True, slots=True)
class AskedRelevance:
    """Asks a model of that kind; ranks by the query's words where it fails, at whatever point.

    `per_chunk` passages of each chunk are shown at most, all where it is None. Judging may take so many `seconds`.
    `merge` makes one order of what was judged and of what words say.
    """

    kind: JudgeKind
    spec: ModelSpec
    model: Model
    per_chunk: int | None
    seconds: float
    merge: Callable[[Mapping[int, float], Mapping[int, float]], tuple[int, ...]] = merged

    async def rank(self, query: str, texts: AsyncIterator[tuple[int, str]]) -> Ranking:
        judging = _Judging(self, query, RelevanceIndex(query), asyncio.get_running_loop().time() + self.seconds)
        await fan_out(judging.batches(texts), judging.ask, width=_WIDTH)
        if judging.failure:
            warning = f"the judge {self.kind.name} has failed ({judging.failure}): chunks were chosen by words"
            return Ranking(tuple(judging.index.rank()), warning=warning)
        return Ranking(self.merge(judging.best, judging.index.shares()), self.kind.name)


@dataclass(slots=True)
class _Judging:
    """One ranking under way: the best score of each chunk so far, and why judging has ended before its end."""

    relevance: AskedRelevance
    query: str
    index: RelevanceIndex
    until: float
    best: dict[int, float] = field(default_factory=dict)
    failure: str = ""

    async def batches(self, texts: AsyncIterator[tuple[int, str]]) -> AsyncIterator[tuple[Passage, ...]]:
        """What each call is about; every chunk's words are counted beside, and nothing else once judging has failed."""
        waiting: list[Passage] = []
        kind = self.relevance.kind
        async for number, text in texts:
            self.index.add(number, text)
            if self.failure:
                continue
            waiting += self._shown(number, text)
            size = max(1, len(waiting)) if kind.whole_chunk else kind.texts
            while len(waiting) >= size:
                batch, waiting = tuple(waiting[:size]), waiting[size:]
                yield batch
        if waiting and not self.failure:
            yield tuple(waiting)

    def _shown(self, number: int, text: str) -> list[Passage]:
        found = passages_of(number, text, self.relevance.kind.passage_tokens)
        most = self.relevance.per_chunk
        return found if most is None else chosen(self.query, found, most)

    async def ask(self, batch: tuple[Passage, ...]) -> None:
        if self.failure:
            return
        try:
            async with asyncio.timeout_at(self.until):
                reply = await self.relevance.model.complete(self._request(batch))
            self._take(batch, reply.text)
        except InvocationSpent:
            raise
        except RLMError as error:
            self.failure = str(error)
        except TimeoutError:
            self.failure = f"it took longer than {self.relevance.seconds:.3g} s"

    def _request(self, batch: Sequence[Passage]) -> ModelRequest:
        query = shortened(self.query, self.relevance.kind.query_tokens)
        places = _PLACES + " ".join(passage.place for passage in batch)
        return ModelRequest(
            model=self.relevance.spec,
            messages=(Message("user", query), Message("user", places)),
            max_output_tokens=0,
            role="judge",
            kind="judge",
            texts=tuple(passage.text for passage in batch),
        )

    def _take(self, batch: Sequence[Passage], text: str) -> None:
        """Notes the scores, which stand in a reply as a JSON list: one for each passage, or one for all of a chunk."""
        scores: list[float] = from_json(text)
        for passage, score in zip(batch, scores * len(batch) if len(scores) == 1 else scores, strict=True):
            self.best[passage.chunk] = max(score, self.best.get(passage.chunk, score))

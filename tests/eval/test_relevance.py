"""The sets on which judges are compared are what they say, and the comparison counts what it says."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence

import pytest

from rlm_worker.judges.lexical import LexicalRelevance
from rlm_worker.text.relevance import STOPPED, terms_of

from .planted import PlantedSet, planted_facts, planted_sets
from .relevance import VectorModel, by_vectors, measured

SETS = planted_sets(1, 120_000)


def by_name(name: str) -> PlantedSet:
    return next(planted for planted in SETS if planted.name == name)


def test_sets_are_seeded() -> None:
    assert planted_sets(1, 120_000) == SETS
    assert planted_sets(2, 120_000) != SETS


@pytest.mark.parametrize("fact", planted_facts(), ids=lambda fact: fact["fact"][:20])
def test_other_words_are_others(fact: dict[str, str]) -> None:
    shared = [term for term in terms_of(fact["otherWords"]) if term.count(fact["fact"].lower())]
    assert not [term for term in shared if term.needle not in STOPPED]


@pytest.mark.parametrize("planted", SETS, ids=lambda planted: planted.name)
def test_answers_stand_in_place(planted: PlantedSet) -> None:
    for question in planted.questions:
        for start, end in question.answers:
            answer = planted.context[start:end]
            if planted.name == "code":
                first = next(line for line in answer.splitlines() if not line.lstrip().startswith("@"))
                assert first.lstrip().startswith(("def ", "async def "))
                assert question.text not in " ".join(planted.context.split())
            else:
                assert answer in {*(fact["fact"] for fact in planted_facts())} or "warehouse" in answer


def test_code_has_no_docstrings() -> None:
    tree = ast.parse(by_name("code").context.split("\n\n\n")[0])
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and ast.get_docstring(node)]


async def test_words_find_needles() -> None:
    recall = await measured(LexicalRelevance(), by_name("needle"), 4_000, lambda: 0.0)
    assert recall.found == (1.0, 1.0)


async def test_vectors_are_kept_and_priced() -> None:
    asked: list[tuple[int, bool]] = []

    def vectors(texts: Sequence[str], is_query: bool) -> list[list[float]]:
        asked.append((len(texts), is_query))
        return [[1.0, float("lioness" in text)] for text in texts]

    model = VectorModel(vectors)
    planted = by_name("many")
    recall = await measured(by_vectors(model, 1, alone=True), planted, 4_000, lambda: model.usd)
    once = sum(count for count, is_query in asked if not is_query)
    await measured(by_vectors(model, 1, alone=True), planted, 4_000, lambda: model.usd)
    assert sum(count for count, is_query in asked if not is_query) == once
    assert recall.usd > 0
    assert json.dumps(recall.found)

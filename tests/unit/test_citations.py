"""Answers with the places that they rest on: found by code in whatever a model has read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from rlm_worker.errors import InputTooLarge
from rlm_worker.messages import ModelReply, ModelRequest
from rlm_worker.testing import FunctionModel, MemoryCache, memory_ports, reply_of
from rlm_worker.text.graphemes import is_boundary
from rlm_worker.wire.results import RunResult
from tests.worker.planted import QUESTION, Library, library, notes_of, slices, spans, told

RunOn = Callable[..., Awaitable[RunResult]]
Texts = list[tuple[str | None, str]]


@pytest.fixture(scope="module")
def planted() -> Library:
    return library(documents=40, characters=400_000)


def teller(answer: str) -> Callable[[ModelRequest], ModelReply]:
    """Quotes planted facts as a reader, gives that answer as the one who answers."""

    def reply(request: ModelRequest) -> ModelReply:
        return reply_of(request, notes_of(request.messages[-1].content) if request.kind == "map" else answer)

    return reply


def wire(result: RunResult) -> list[dict[str, object]]:
    return [citation.to_wire() for citation in result.citations]


def check(planted: Library, result: RunResult, count: int) -> None:
    """Every citation's slice is the source's, and those facts are cited, each at its place, and nothing else."""
    assert all(said == standing for said, standing in slices(planted, wire(result)))
    assert spans(wire(result)) == sorted(fact.span for fact in planted.facts[:count])
    assert all(citation.verified for citation in result.citations)


async def test_named_facts_are_cited(run_on: RunOn, planted: Library) -> None:
    answer = told(planted.facts[:8])
    result = await run_on(memory_ports(FunctionModel(teller(answer))), list(planted.documents), QUESTION)
    assert result.strategy == "map_reduce"
    check(planted, result, 8)
    for citation in result.citations:
        claim = answer[citation.answer_start : citation.answer_end]
        assert citation.cited_text.split()[-1].rstrip(".") in claim


async def test_direct_answers_are_cited(run_on: RunOn) -> None:
    planted = library(documents=10, characters=20_000)
    result = await run_on(
        memory_ports(FunctionModel(teller(told(planted.facts[:3])))), list(planted.documents), QUESTION
    )
    assert result.strategy == "direct"
    check(planted, result, 3)


async def test_trees_keep_places(run_on: RunOn, planted: Library) -> None:
    """Merged notes are in nobody's words any more; their places are."""

    def verbose(request: ModelRequest) -> ModelReply:
        if request.kind == "map":
            return reply_of(request, f"{notes_of(request.messages[-1].content)}\n" + "words of its own " * 250)
        return reply_of(request, "merged " * 40 if request.kind == "reduce" else told(planted.facts[:5]))

    model = FunctionModel(verbose)
    result = await run_on(
        memory_ports(model), list(planted.documents), QUESTION, chunkSize=8_000, maxOutputTokens=1_200
    )
    assert model.asked("reduce")
    check(planted, result, 5)


async def test_cached_notes_are_cited(run_on: RunOn, planted: Library) -> None:
    cache = MemoryCache()
    first, second = (FunctionModel(teller(told(planted.facts[:4]))) for _ in range(2))
    for model in (first, second):
        result = await run_on(replace(memory_ports(model), cache=cache), list(planted.documents), QUESTION)
        check(planted, result, 4)
    assert first.asked("map")
    assert not second.asked("map")


async def test_halves_are_cited(run_on: RunOn, planted: Library) -> None:
    def narrow(request: ModelRequest) -> ModelReply:
        if request.kind == "map" and request.characters() > 30_000:
            raise InputTooLarge("prompt too long", 3006)
        return teller(told(planted.facts[:6]))(request)

    result = await run_on(memory_ports(FunctionModel(narrow)), list(planted.documents), QUESTION)
    check(planted, result, 6)


async def test_overlaps_are_cited_once(run_on: RunOn, planted: Library) -> None:
    model = FunctionModel(teller(told(planted.facts)))
    result = await run_on(
        memory_ports(model), list(planted.documents), QUESTION, chunkSize=3_000, chunkOverlap=700, maxSubCalls=500
    )
    check(planted, result, len(planted.facts))


async def test_limits_keep_citations(run_on: RunOn, planted: Library) -> None:
    """Where no call is left for words the answer is the evidence, and says where it stands."""

    def tired(request: ModelRequest) -> ModelReply:
        return reply_of(request, notes_of(request.messages[-1].content) if request.kind == "map" else "?" * 9_000)

    result = await run_on(
        memory_ports(FunctionModel(tired)), list(planted.documents), QUESTION, maxSubCalls=6, maxCostUsd=0.004
    )
    assert result.success
    assert result.truncated
    assert result.citations or "?" in (result.answer or "")
    assert all(said == standing for said, standing in slices(planted, wire(result)))


async def test_made_up_quotes_are_told(run_on: RunOn, planted: Library) -> None:
    answer = (
        'The report says "the depot of Atlantis is closed for good", and you ask "Which access codes do" they have.'
    )
    result = await run_on(memory_ports(FunctionModel(teller(answer))), list(planted.documents), QUESTION)
    assert {one.quote: one.reason for one in result.unlocated} == {
        '"the depot of Atlantis is closed for good"': "not_found",
        '"Which access codes do"': "from_prompt",
    }
    assert not result.citations


async def test_made_up_notes_are_told(run_on: RunOn, planted: Library) -> None:
    def inventor(request: ModelRequest) -> ModelReply:
        note = "The access code of the Atlantis depot is 77777."
        return reply_of(request, note if request.kind == "map" else "Atlantis has 77777.")

    result = await run_on(memory_ports(FunctionModel(inventor)), list(planted.documents), QUESTION)
    assert not result.citations
    assert [one.reason for one in result.unlocated] == ["not_found"]


async def test_quotations_are_cited_narrowly(run_on: RunOn) -> None:
    texts: Texts = [("a.txt", "He said that the sea level rose by 5 mm, and then he left the room for ever.")]
    answer = 'It says that "the sea level rose by 5 mm".'
    result = await run_on(memory_ports(FunctionModel(lambda r: reply_of(r, answer))), texts, "How much did it rise?")
    (citation,) = result.citations
    assert citation.cited_text == "the sea level rose by 5 mm"
    assert answer[citation.answer_start : citation.answer_end] == '"the sea level rose by 5 mm"'


async def test_plain_yes_is_cited(run_on: RunOn) -> None:
    texts: Texts = [("a.txt", "The grass is green. The old harbour of Bergen was sold in May. The sky is blue.")]
    model = FunctionModel(lambda request: reply_of(request, "Yes."))
    result = await run_on(memory_ports(model), texts, "Was the harbour of Bergen sold?")
    assert [citation.cited_text for citation in result.citations] == ["The old harbour of Bergen was sold in May."]


async def test_nothing_found_cites_nothing(run_on: RunOn) -> None:
    texts: Texts = [("a.txt", "The grass is green. The old harbour of Bergen was sold in May. The sky is blue.")]
    model = FunctionModel(lambda request: reply_of(request, "The text does not mention the king's age."))
    result = await run_on(memory_ports(model), texts, "How old is the king?")
    assert not result.citations


async def test_chinese_is_cited(run_on: RunOn) -> None:
    texts: Texts = [("甲", "天气很好。"), ("乙", "他在北京大学学习计算机科学。他住在上海。")]
    model = FunctionModel(lambda request: reply_of(request, "他学习计算机科学。"))
    result = await run_on(memory_ports(model), texts, "他学习什么？")  # noqa: RUF001 - Chinese asks so
    assert [(one.document_title, one.cited_text) for one in result.citations] == [
        ("乙", "他在北京大学学习计算机科学。")
    ]


async def test_citations_stay_small(run_on: RunOn) -> None:
    """A text without a stop is one sentence; a result must fit a row of its session's journal all the same."""
    texts: Texts = [(f"{n}.txt", f"begin{n} " + "word " * 6_000 + f"end{n}") for n in range(8)]
    quoted = "\n\n".join(text for _, text in texts)
    model = FunctionModel(lambda request: reply_of(request, quoted))
    result = await run_on(memory_ports(model), texts, "What?", strategy="map_reduce")
    assert result.citations
    assert sum(len(citation.cited_text) for citation in result.citations) <= 200_000


@pytest.mark.parametrize("filler", ["word " * 900, "字" * 4_000, "👩‍👩‍👧‍👦" * 700])
async def test_endless_sentences_are_cut_between_characters(run_on: RunOn, filler: str) -> None:
    text = f"{filler} Bergen has 48213 {filler}"
    model = FunctionModel(lambda request: reply_of(request, "It is 48213."))
    result = await run_on(memory_ports(model), [("a.txt", text)], "Which code has Bergen?", strategy="direct")
    (citation,) = result.citations
    assert "Bergen has 48213" in citation.cited_text
    assert len(citation.cited_text) < 4_000
    assert is_boundary(text, citation.start_char_index)
    assert is_boundary(text, citation.end_char_index)
    assert citation.cited_text == text[citation.start_char_index : citation.end_char_index]


async def test_next_sentence_denies_nothing(run_on: RunOn) -> None:
    text = "The code of Bergen is 48213. Never tell it. Not even once."
    model = FunctionModel(lambda request: reply_of(request, "It is 48213."))
    result = await run_on(memory_ports(model), [("a.txt", text)], "Which code has Bergen?")
    assert [(one.cited_text, one.verified) for one in result.citations] == [("The code of Bergen is 48213.", True)]


async def test_reasons_are_told_apart(run_on: RunOn) -> None:
    """A reader that quotes what another part says is told from one that makes things up."""
    texts: Texts = [
        ("a.txt", "The code of Bergen is 48213. " + "x " * 900),
        ("b.txt", "Alta is far away. " + "y " * 900),
    ]

    def reader(request: ModelRequest) -> ModelReply:
        data = request.messages[-1].content
        made_up = "The code of Oslo is 99999."
        note = "The code of Bergen is 48213." if "Bergen is" in data else f"The code of Bergen is 48213.\n{made_up}"
        answer = 'Bergen has 48213, Oslo has 99999, and "no way" is what they say.'
        return reply_of(request, note if request.kind == "map" else answer)

    config = {"strategy": "map_reduce", "chunkSize": 1_900}
    result = await run_on(memory_ports(FunctionModel(reader)), texts, "Which codes are there?", **config)
    assert {one.cited_text for one in result.citations} == {"The code of Bergen is 48213."}
    assert {(one.quote, one.reason) for one in result.unlocated} == {
        ("The code of Bergen is 48213.", "misattributed"),
        ("The code of Oslo is 99999.", "not_found"),
        ('"no way"', "too_short"),
    }

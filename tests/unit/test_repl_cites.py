"""Citations by construction: what code cites stands there, is told, and comes back after a crash."""

from __future__ import annotations

import itertools
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlm_worker.citations.cited import Cited
from rlm_worker.citations.said import said_in
from rlm_worker.journal.cells import CellOutcome
from rlm_worker.messages import ModelReply, ModelRequest
from rlm_worker.repl.cite import mark_claims, marks_in, merged, newly_cited
from rlm_worker.repl.passages import GivenText
from rlm_worker.sandbox.cites import MAX_CITED_CHARACTERS, MAX_CITES, Cites
from rlm_worker.testing import reply_of
from rlm_worker.wire.results import Citation, RunResult
from tests.unit.conftest import Texts
from tests.unit.test_follow_ups import SHORT, Town, plays
from tests.unit.test_repl import Played, cell
from tests.unit.test_repl_sandbox import Session, free_monitoring, origin_of

__all__ = ["free_monitoring"]

RunOn = Callable[..., Awaitable[RunResult]]
NOTES = "# Budget\r\n  The total is 5 million, not 6.\r\nIt rose 😀 by 12%.\r\n"
CODE = "def f():\n    return 1\n"
LONG = "word " * 2_000 + "needle here " + "word " * 2_000
DOCUMENTS: Texts = [("notes.md", NOTES), ("empty", ""), ("code.py", CODE), ("long", LONG), (None, "no name")]
CONTENT = "".join(text for _, text in DOCUMENTS)


def session() -> Session:
    return Session(CONTENT, [[name, len(text)] for name, text in DOCUMENTS])


def cited(code: str) -> list[str]:
    return [CONTENT[start:end] for start, end in session().run(code)["cited"]]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("cite(context.search('5 million')[0])", "The total is 5 million, not 6."),
        ("cite(context.search('rose')[0])", "It rose 😀 by 12%."),
        ("cite(context[2:8])", "Budget"),
        ("cite(2, 8)", "Budget"),
        ("cite(0, 8, 'code.py')", "def f():"),
        ("cite(4, 7, 2)", "f()"),
        ("cite(0, 7, context.documents[4])", "no name"),
        ("cite('notes.md', 2)", "  The total is 5 million, not 6."),
        ("cite('code.py', 1, 2)", CODE.rstrip()),
        ("cite(context.documents[2], 2, 9)", "    return 1"),
        ("cite(context['code.py'])", CODE),
        ("cite('return 1')", "return 1"),
        ("cite(next(line for line in context.lines if 'rose' in line))", "It rose 😀 by 12%.\r"),
    ],
)
def test_cites_places(code: str, text: str) -> None:
    assert cited(code) == [text]


def test_long_lines_are_cited_around() -> None:
    (text,) = cited("cite(context.search('needle')[0])")
    assert "needle here" in text
    assert len(text) <= 300
    assert set(text.split()) == {"word", "needle", "here"}


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("cite(8, 2)", "8 to 2 is no range of it: the context has"),
        ("cite(3, 3)", "is no range of it"),
        ("cite(-5, 3)", "is no range of it"),
        ("cite(0, 10**9)", "is no range of it"),
        ("cite(0, 50, 'code.py')", "code.py has 22 characters"),
        ("cite(0, 1, 'empty')", "empty has 0 characters"),
        ("cite(5)", "takes two offsets"),
        ("cite(2, 8, 'nope')", "no document is named 'nope'"),
        ("cite('notes.md', 9)", "notes.md has no line 9"),
        ("cite('notes.md', 'a')", "takes line numbers"),
        ("cite(context)", "2,000 characters at most"),
        ("cite(context['long'])", "cite the sentence"),
        (f"cite({len(NOTES) - 4}, {len(NOTES) + 4})", f"notes.md ends at {len(NOTES)}"),
        ("cite('these are other words')", "do not stand in the context"),
        ("cite('')", "do not stand in the context"),
        ("for n in range(200): cite(n % 60, n % 60 + 1 + n // 60)", "100 citations are there already"),
    ],
)
def test_wrong_places_are_told(code: str, error: str) -> None:
    report = session().run(code)
    assert report["failed"]
    assert error in report["output"]


def test_marks_are_numbered() -> None:
    asked = session()
    assert asked.says("print(cite(2, 8), cite(0, 1), cite(2, 8))") == "[1] [2] [1]\n"
    report = asked.run("print(cite(0, 1), cite(3, 4))", cited=[[2, 8], [0, 1]])
    assert report["output"] == "[2] [3]\n"
    assert report["cited"] == [[3, 4]]


def test_numbers_follow_the_session() -> None:
    """A cell that went another way when it ran again changes no number: the session tells what was cited."""
    asked = session()
    asked.run("cite(0, 1); cite(1, 2)")
    assert asked.run("print(cite(5, 6))", cited=[[0, 1]])["output"] == "[2]\n"


def test_forged_places_are_refused() -> None:
    passage = GivenText("x" * 5_000)
    forged = [[5, 1], [0, 0], [0, 10**9], [0, 1], [0, MAX_CITED_CHARACTERS + 1], [7, 9], [0, 1], [4_999, 5_000]]
    assert newly_cited(passage, [(7, 9)], forged) == ((0, 1), (4_999, 5_000))
    many = [[n, n + 1] for n in range(MAX_CITES)]
    assert len(newly_cited(passage, [(7, 10)], many)) == MAX_CITES - 1


async def test_cites_reach_the_result(run_on: RunOn) -> None:
    code = "hit = context.search('5 million')[0]\nmark = cite(hit)\nother = cite('code.py', 2)\n"
    played = Played(cell(code + "FINAL(f'The sum is 5 million {mark}. The function gives 1.{other}')"))
    result = await run_on(played.ports(), DOCUMENTS, "What is the total?", strategy="repl")
    answer = result.answer or ""
    assert answer == "The sum is 5 million [1]. The function gives 1.[2]"
    first, second = result.citations
    assert (first.cited_text, first.document_index, first.verified) == ("The total is 5 million, not 6.", 0, True)
    assert NOTES[first.start_char_index : first.end_char_index] == first.cited_text
    assert answer[first.answer_start : first.answer_end] == "The sum is 5 million [1]."
    assert (second.cited_text, second.document_title, second.match) == ("    return 1", "code.py", "exact")
    assert answer[second.answer_start : second.answer_end] == "The function gives 1.[2]"


async def test_cut_numbers_are_not_verified(run_on: RunOn) -> None:
    played = Played(cell("at = context.find('12%')\ncite(at, at + 2)\ncite(at, at + 3)\nFINAL('done')"))
    result = await run_on(played.ports(), DOCUMENTS, "By how much?", strategy="repl")
    assert {one.cited_text: one.verified for one in result.citations} == {"12": False, "12%": True}


async def test_children_cite_through(run_on: RunOn) -> None:
    """What a child run cites in its slice is cited in the context, under the asker's numbers; in a new REPL too."""
    asks = "b = rlm_query('inner', context[2:60])\nc = rlm_query('own', 'a text of its own')\n"
    asks += "d = rlm_query('values', context[2:60])"
    codes = {
        "inner": ["FINAL(f'{len(context)} [7] {cite(0, 6)}, {cite(7, 8)}')"],
        "own": ["FINAL('cite' in globals())"],
        "values": ["FINAL({'n': [1], 'why': f'so {cite(0, 6)}'})"],
        "outer": [f"a = cite('code.py', 1)\n{asks}", "import os\nos._exit(1)", "FINAL(f'{a} {b} | {c} | {d}')"],
    }

    def root(request: ModelRequest) -> ModelReply:
        question = request.messages[1].content.split()[1]
        turn = sum(message.role == "assistant" for message in request.messages)
        return reply_of(request, cell(codes[question][turn]))

    played = Played("")
    played.model.answer = root
    result = await run_on(played.ports(), DOCUMENTS, "outer", strategy="repl")
    assert result.answer == '[1] 58 [7] [2], [3] | false | {"n": [1], "why": "so "}'
    assert {"def f():", "Budget"} <= {one.cited_text for one in result.citations}
    assert all(CONTENT.count(one.cited_text) for one in result.citations)
    assert len(played.model.asked("turn")) == 6
    own = next(one for one in played.model.asked("turn") if "Question: own" in one.messages[1].content)
    assert "cite(" not in own.messages[0].content


def test_full_lists_drop_marks() -> None:
    cites = Cites(origin_of(CONTENT))
    cites.places = [(n, n + 1) for n in range(MAX_CITES - 1)]
    assert cites.adopt("a [1] b [2], [1, 2] [9]", [(5, 50), (6, 60)]) == f"a [{MAX_CITES}] b , [{MAX_CITES}] [9]"


async def test_lost_isolates_keep_numbers(run_on: RunOn) -> None:
    played = Played(
        cell("a = cite(0, 8)"),
        cell("b = cite(2, 8)\nimport os\nos._exit(1)"),
        cell("c = cite('code.py', 1)\nFINAL(f'{a} and {c}')"),
    )
    result = await run_on(played.ports(), DOCUMENTS, "q", strategy="repl")
    assert result.answer == "[1] and [2]"
    assert [one.cited_text for one in result.citations] == ["# Budget", "def f():"]


async def test_resumed_runs_cite_alike(run_on: RunOn) -> None:
    """A run that begins again on the journal of the first gives the same citations and pays nothing."""
    played = Played(cell("a = cite(0, 8)"), cell("FINAL(f'{a} and {cite(2, 8)}')"))
    ports = played.ports()
    first = await run_on(ports, DOCUMENTS, "q", strategy="repl")
    asked = len(played.turns())
    again = await run_on(replace(ports), DOCUMENTS, "q", strategy="repl")
    assert again.citations == first.citations
    assert len(first.citations) == 2
    assert len(played.turns()) == asked


async def test_follow_ups_go_on_counting() -> None:
    """Marks of earlier answers keep their places; an answer has those of them that it names."""
    town = Town(
        plays(
            "a = cite(0, 9)\nFINAL(f'The tower {a}')",
            "b = cite(35, 45)\nFINAL(f'The bridge {b}')",
            "FINAL(f'Both {a}, {b}, {cite(0, 9)}.')",
        )
    )
    first = await town.ask(context=SHORT, config={"strategy": "repl"})
    second = await town.follow(first, "second?")
    third = await town.follow(second, "third?")
    assert [one.answer for one in (first, second, third)] == ["The tower [1]", "The bridge [2]", "Both [1], [2], [1]."]
    places = [[(one.start_char_index, one.end_char_index) for one in told.citations] for told in (first, second, third)]
    assert (0, 9) in places[0]
    assert (35, 45) in places[1]
    assert (0, 9) not in places[1]
    assert {(0, 9), (35, 45)} <= set(places[2])


def test_old_outcomes_are_read() -> None:
    facts: dict[str, Any] = json.loads(CellOutcome("out", cited=((1, 2),), left="1 s").to_json())
    assert CellOutcome.from_json(json.dumps(facts)).cited == ((1, 2),)
    for name in ("cited", "left", "turns_left"):
        del facts[name]
    assert CellOutcome.from_json(json.dumps(facts)) == CellOutcome("out")


def claim_texts(answer: str) -> dict[int, str]:
    return {number: answer[claim.start : claim.end] for number, claim in mark_claims(marks_in(said_in(answer))).items()}


def test_marks_name_their_sentence() -> None:
    assert claim_texts("It is red [1]. It is blue. [2] [3] Then green.\n[4] A line.") == {
        1: "It is red [1].",
        2: "It is blue.",
        3: "It is blue.",
        4: "[4] A line.",
    }
    assert claim_texts("All [1, 2] of it") == {1: "All [1, 2] of it", 2: "All [1, 2] of it"}
    assert claim_texts("[7]") == {7: "[7]"}
    assert claim_texts("no [x] mark [1234]") == {}


async def test_marks_in_values_are_marks(run_on: RunOn) -> None:
    """In JSON a mark stands within a string; an array is none."""
    schema = {"type": "object", "properties": {"n": {"type": "array"}, "why": {"type": "string"}}}
    played = Played(cell("m = cite(2, 8)\nSUBMIT(n=[1], why=f'It is the heading. {m}')"))
    result = await run_on(played.ports(), DOCUMENTS, "q", strategy="repl", response_schema=schema)
    assert json.loads(result.answer or "") == {"n": [1], "why": "It is the heading. [1]"}
    (only,) = [one for one in result.citations if one.cited_text == "Budget"]
    assert "heading" in (result.answer or "")[only.answer_start : only.answer_end]


@given(st.text(alphabet="a.[]12, \n", max_size=60))
def test_claims_lie_in_the_answer(answer: str) -> None:
    assert all(0 <= claim.start < claim.end <= len(answer) for claim in mark_claims(marks_in(said_in(answer))).values())


def citation(start: int, end: int, document: int = 0, answer: int | None = None) -> Citation:
    return Citation(
        cited_text="x" * (end - start),
        document_index=document,
        start_char_index=start,
        end_char_index=end,
        verified=True,
        match="exact",
        answer_start=answer,
        answer_end=None if answer is None else answer + 5,
    )


def test_same_places_are_merged() -> None:
    chosen = [citation(10, 20), citation(30, 40, answer=2)]
    found = Cited(
        (citation(5, 25, answer=7), citation(32, 38, answer=9), citation(35, 45, answer=1), citation(10, 20, 1))
    )
    told = merged(chosen, found).citations
    assert [(one.document_index, one.start_char_index, one.end_char_index, one.answer_start) for one in told] == [
        (0, 35, 45, 1),
        (0, 30, 40, 2),
        (0, 10, 20, 7),
        (1, 10, 20, None),
    ]


places = st.tuples(st.integers(0, 12), st.integers(1, 6), st.integers(0, 1), st.one_of(st.none(), st.integers(0, 9)))


@given(st.lists(places, max_size=5), st.lists(places, max_size=8))
def test_no_place_comes_twice(marked: list[Any], found: list[Any]) -> None:
    chosen = [
        citation(start, start + size, document, answer) for start, size, document, answer in dict.fromkeys(marked)
    ]
    others = [citation(start, start + size, document, answer) for start, size, document, answer in found]
    told = list(merged(chosen, Cited(tuple(others))).citations)
    keys = [(one.document_index, one.start_char_index, one.end_char_index) for one in chosen]
    assert all(key in [(o.document_index, o.start_char_index, o.end_char_index) for o in told] for key in keys)
    for own, other in itertools.product(chosen, told):
        inside = own.start_char_index <= other.start_char_index and other.end_char_index <= own.end_char_index
        if inside and own.document_index == other.document_index:
            assert (other.document_index, other.start_char_index, other.end_char_index) in keys


async def test_turns_are_counted(run_on: RunOn) -> None:
    played = Played(cell("llm_query('x')"), "prose", cell("FINAL(1)"))
    await run_on(played.ports(), CONTENT, "q", strategy="repl", maxIterations=13, maxSubCalls=9, maxCostUsd=1)
    assert "(Turn 1 of 12. Left: 8 sub-calls, $0.9" in played.feedback(1)
    assert played.feedback(2).endswith("(Turn 2 of 12.)")


async def test_prompt_tells_what_fits(run_on: RunOn) -> None:
    small, large = Played(cell("FINAL(1)")), Played(cell("FINAL(1)"))
    await run_on(small.ports(), "alpha " * 100, "q", strategy="repl")
    await run_on(large.ports(), "alpha " * 500_000, "q", strategy="repl")
    told, long = (played.turns()[0].messages[0].content for played in (small, large))
    assert "print(context) shows it" in told
    assert "fits one sub-call" in told
    assert "too long" not in told
    assert "fits" not in long
    assert "documents[" not in long


async def test_submit_comes_with_a_schema(run_on: RunOn) -> None:
    plain, held = Played(cell("FINAL(1)")), Played(cell("SUBMIT(n=1)"))
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    await run_on(plain.ports(), CONTENT, "q", strategy="repl")
    await run_on(held.ports(), CONTENT, "q", strategy="repl", response_schema=schema)
    assert "SUBMIT" not in plain.turns()[0].messages[0].content
    assert "SUBMIT" in held.turns()[0].messages[0].content

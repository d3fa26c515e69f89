"""The evaluation itself: who reads perfectly scores one, who says nothing none, and a stop loses nothing."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from rlm_worker.messages import Message
from rlm_worker.strategies.notes import counted
from rlm_worker.strategies.prompts import map_messages
from rlm_worker.text.chunks import Chunk, Piece
from tests.eval.chat import Said
from tests.eval.evaluation import Plan, evaluate, score, table
from tests.eval.journal import Key, Results
from tests.eval.scores import mean_of
from tests.eval.suites import SUITES, Case, case
from tests.eval.variants import KEPT, VARIANTS, notes_of

CASES = [case(suite, seed, 1_500) for suite in SUITES for seed in range(20)]
KEY = Key("read", "needle", "after", "m", 0, 600)


def perfect(asked: Case) -> str:
    return "\n".join(one for one in asked.evidence if any(word in one for word in asked.expected)) or "NONE"


@pytest.mark.parametrize("asked", CASES, ids=lambda asked: f"{asked.suite} {asked.seed}")
def test_perfect_reader_scores_one(asked: Case) -> None:
    assert score("read", asked, perfect(asked)) == 1
    assert score("answer", asked, asked.answer or "The text does not say.") == 1
    assert asked.answer not in asked.question or not asked.answer


@pytest.mark.parametrize("asked", CASES, ids=lambda asked: f"{asked.suite} {asked.seed}")
def test_empty_reader_scores_none(asked: Case) -> None:
    """Abstention apart: there nothing is what there is to say."""
    assert score("read", asked, "") == (0 if asked.expected else 1)
    assert score("answer", asked, "") == 0


def test_inventor_scores_none() -> None:
    """An item that does not stand in the text counts no more than none."""
    listing = case("listing", 1, 1_500)
    assert score("read", listing, "At 77 o'clock the gate was opened.") == 0
    assert score("read", case("absent", 1, 1_500), "The code is K1234.") == 0


def test_wrong_count_scores_in_part() -> None:
    listing = case("listing", 1, 1_500)
    assert score("answer", listing, f"{int(listing.answer) + 1} times") == 0.75
    assert score("answer", listing, f"It was opened {int(listing.answer) - 2} times.") == 0.75**2


def test_cases_repeat() -> None:
    for suite in SUITES:
        assert case(suite, 3, 2_000) == case(suite, 3, 2_000) != case(suite, 4, 2_000)
        assert 0.9 < len(case(suite, 3, 2_000).text) / 2_000 < 1.2


def test_other_words_share_none() -> None:
    """The question is not found by its words: what it shares with the line that answers it tells nothing."""
    for seed in range(10):
        asked = case("other words", seed, 1_500)
        shared = set(re.findall(r"\w{4,}", asked.question.lower())) & set(re.findall(r"\w{4,}", perfect(asked).lower()))
        assert shared == set()


def test_notes_hold_all_evidence() -> None:
    for asked in CASES:
        assert counted(notes_of(asked)) == len(asked.evidence)


def test_kept_prompt_is_the_products() -> None:
    """What the table calls kept is what the Worker says, word for word apart from the marker."""
    asked = case("needle", 1, 1_500)
    chunk = Chunk(0, 0, len(asked.text), (Piece(0, None, 0, asked.text),))
    ours, theirs = map_messages(asked.question, chunk), VARIANTS[KEPT].reading(asked)
    unmarked: Callable[[Sequence[Message]], list[str]] = lambda messages: [  # noqa: E731
        re.sub(r"[0-9a-f]{16}", "marker", message.content) for message in messages
    ]
    assert unmarked(ours) == unmarked(theirs)


def test_interval_shrinks() -> None:
    few, many = mean_of([1.0, 0.0] * 5), mean_of([1.0, 0.0] * 50)
    assert (few.count, many.count, few.value) == (10, 100, 0.5)
    assert 0 < many.half < few.half < 0.35
    assert mean_of([1.0] * 5).half > 0.2


@dataclass(slots=True)
class Counting:
    """Says always the same, and counts how often."""

    asked: int = 0

    def ask(self, messages: Sequence[Message], max_tokens: int) -> Said:
        self.asked += 1
        return Said("NONE", 10, 1)


def test_stop_loses_nothing(tmp_path: Path) -> None:
    """What was measured is not asked again; a line that was cut off is."""
    file, chat = tmp_path / "results.jsonl", Counting()
    plan = Plan("read", "m", list(SUITES), ["before", "after"], 2, 600)
    evaluate(plan, chat, Results(file), seconds=0)
    assert chat.asked == 0
    evaluate(plan, chat, Results(file), seconds=math.inf)
    assert chat.asked == 2 * 2 * len(SUITES)
    file.write_text(file.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    evaluate(plan, chat, Results(file))
    assert chat.asked == 2 * 2 * len(SUITES) + 1
    assert "| read | m | absent | after | 2 | 100 ± 33 | 1 |" in table(Results(file))
    assert KEY in Results(file)

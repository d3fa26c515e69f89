from __future__ import annotations

import pytest

from rlm_worker.text.tokens import TokenEstimator, weigh, weighed_prefix

ENGLISH = (
    "Every reader of a long report looks for the few lines that answer the question, and a careful reader also notes"
    " where they stand. The rest is passed over quickly, but it has to be passed over by somebody.\n\n"
)
CODE = """def total(items: list[int]) -> int:
    result = 0
    for item in items:
        result += item
    return result
"""


# Counted with Llama 3's tokenizer.
@pytest.mark.parametrize(
    ("text", "counted"),
    [
        (ENGLISH, 43),
        (CODE, 31),
        ("报告说明了公司去年的收入增加了百分之十。", 14),
        ("Отчёт показывает, что доходы компании выросли на десять процентов.", 19),
    ],
)
def test_estimates_are_near(text: str, counted: int) -> None:
    assert counted * 0.8 <= TokenEstimator().estimate(text) <= counted * 2


def test_scripts_weigh_differently() -> None:
    latin, chinese, emoji = (weigh(text * 100) for text in ("reader", "报告说明收入", "😀🎉🔥🚀🌍👍"))
    assert latin * 3 < chinese < emoji


def test_weights_add_up() -> None:
    parts = [ENGLISH * 50, CODE * 9, "报告" * 5000, "😀" * 777, "\x00\u202e\r\n", "é" * 8191]
    assert weigh("".join(parts)) == sum(map(weigh, parts))


def test_estimates_round_up() -> None:
    assert TokenEstimator().estimate("a") == 1
    assert TokenEstimator().estimate("") == 0


@pytest.mark.parametrize("text", [ENGLISH * 200, "报告说明" * 3000, "a😀é" * 4000, "x" * 8192])
def test_prefix_is_the_longest(text: str) -> None:
    whole = weigh(text)
    for weight in (0, 1, 40, 511 * 8, whole // 3, whole - 1):
        end = weighed_prefix(text, weight)
        assert weigh(text[:end]) <= weight < weigh(text[: end + 1])
    assert weighed_prefix(text, whole) == len(text)


def test_reports_are_learned() -> None:
    estimator = TokenEstimator()
    text = ENGLISH * 100
    reported = estimator.estimate(text) * 3 // 2
    estimator.observe(text, reported)
    assert reported <= estimator.estimate(text) <= reported * 1.02


def test_learning_descends_slowly() -> None:
    estimator = TokenEstimator()
    text = ENGLISH * 100
    reported = estimator.estimate(text) // 2
    estimator.observe(text, reported)
    assert estimator.factor > 0.8
    for _ in range(20):
        estimator.observe(weigh(text), reported)
    assert reported <= estimator.estimate(text) <= reported * 1.1


def test_short_prompts_teach_little() -> None:
    estimator = TokenEstimator()
    estimator.observe("hi", 40)
    assert estimator.factor < 1.05


def test_nonsense_teaches_nothing() -> None:
    estimator = TokenEstimator()
    estimator.observe("", 10)
    estimator.observe(ENGLISH, 0)
    assert estimator.factor == 1
    estimator.observe(ENGLISH * 100, 10**9)
    assert estimator.factor == 4


def test_budget_gives_characters() -> None:
    estimator = TokenEstimator(1.3)
    for sample in (ENGLISH, CODE, "报告说明了"):
        characters = estimator.characters_within(1000, sample)
        text = (sample * (characters // len(sample) + 1))[:characters]
        assert 950 <= estimator.estimate(text) <= 1020
    assert 2000 <= estimator.characters_within(1000, "") <= 4000
    assert estimator.characters_within(0, ENGLISH) == 0

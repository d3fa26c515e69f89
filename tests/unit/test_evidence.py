# ruff: noqa: RUF001  the stops of other scripts are meant
"""Notes held against their text: what was quoted stays, what was made up goes."""

from __future__ import annotations

import pytest

from rlm_worker.citations.evidence import parts_of, quoted

TEXT = 'Anna bought  17 apples, and the\n  "with" statement is used to wrap a block. The end of the long story is near.'


def test_quotation_stays() -> None:
    assert quoted("Anna bought 17 apples, and the with statement is used to wrap a block.", TEXT)


def test_invention_goes() -> None:
    assert quoted("Anna bought 18 apples.", TEXT) == ""


def test_sentences_part() -> None:
    note = "Anna sold a house. The end of the long story is near. Bob left."
    assert quoted(note, TEXT) == "The end of the long story is near."


def test_repetition_kept_once() -> None:
    assert quoted("The end of the long story is near. " * 5, TEXT) == "The end of the long story is near."


@pytest.mark.parametrize("note", ["", "NONE", "apples.", "the with statement is used to"])
def test_scraps_do_not_count(note: str) -> None:
    assert quoted(note, TEXT) == ""


def test_words_stay_whole() -> None:
    assert quoted("nna bought 17 apples.", TEXT) == ""


def test_quotation_within_words_of_its_own() -> None:
    text = "    except Refused as error:\n        sys.exit(exit_code(error))\n"
    assert quoted("It ends with `sys.exit(exit_code(error))` in the end.", text) == "`sys.exit(exit_code(error))`"
    assert quoted("It ends with `sys.exit(7, quickly)` in the end.", text) == ""


def test_chinese_sentence_stays() -> None:
    text = "他在北京大学学习计算机科学。他不喜欢吃苹果。\n天气很好。"
    assert quoted("他在北京大学学习计算机科学。天气不好，所以他回家了。", text) == "他在北京大学学习计算机科学。"


@pytest.mark.parametrize(
    ("note", "text"), [("It fell by 5% in May.", "It fell by -5% in May."), ("$5 each.", "€5 each.")]
)
def test_signs_count(note: str, text: str) -> None:
    assert quoted(note, text) == ""


def test_lines_part() -> None:
    text = "2024-01-02 alice logged in at noon;\n2024-01-03 bob was refused the key;\n2024-01-04 carol left;\n"
    note = "- 2024-01-02 alice logged in at noon;\n- 2024-01-04 dave logged in at night;\n- 2024-01-04 carol left;"
    assert quoted(note, text) == "- 2024-01-02 alice logged in at noon; - 2024-01-04 carol left;".replace(
        "; - ", ";\n- "
    )


def test_doubt_is_no_part_of_quotation() -> None:
    """What a reader doubted is looked for without the mark, and kept with it."""
    note = "UNSURE: The end of the long story is near.\n- unsure: Anna bought 18 apples."
    assert quoted(note, TEXT) == "UNSURE: The end of the long story is near."
    (found, lost) = parts_of(note, TEXT)
    assert (found.text, found.place is not None) == ("The end of the long story is near.", True)
    assert lost.place is None


def test_doubt_comes_last() -> None:
    sure = "Anna bought 17 apples, and the with statement is used to wrap a block."
    assert quoted(f"UNSURE: The end of the long story is near.\n{sure}", TEXT).splitlines()[1:] == [
        "UNSURE: The end of the long story is near."
    ]

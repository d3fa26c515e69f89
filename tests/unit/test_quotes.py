"""Notes held against their text: what was quoted stays, what was made up goes."""

from __future__ import annotations

import pytest

from rlm_worker.text.quotes import quoted

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

# ruff: noqa: RUF001  the signs of many scripts are meant
"""What holds of quotations from every text: they are found where they stand, and nothing else is verified."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from itertools import pairwise

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rlm_worker.citations.borders import is_whole
from rlm_worker.citations.folding import fold
from rlm_worker.citations.occurrences import occurrences
from rlm_worker.citations.quotes import is_too_short, locate
from rlm_worker.text.graphemes import is_boundary

WORDS = (
    *("the", "Quick", "brown", "fox", "don't", "jumped", "Over", "ﬁnance", "ﬂow", "Größe", "café", "cafe\u0301"),
    *("naïve", "state-of-the-art", "well-\nknown", "infor-\r\nmation", "co\u00adoperate", "x²", "½", "[12]", "[3, 4]"),
    *("-5%", "−7.25", "+3", "$1,000.50", "€20", "12:30", "1\u00a0000", "３４", "№", "**bold**", "`code()`", "“said”"),
    *("‘so’", "«oui»", "don’t", "人工智能", "学习。", "機械学習", "カタカナ", "ｶﾞｲﾄﾞ", "ひらがなです", "한국어", "한국"),
    *("👩‍💻", "👍🏽", "🇩🇪", "❤️", "é̂", "नमस्ते", "ภาษาไทย", "שלום", "مرحبا", "…", "—", "--", "a–b", "end.", "yes;"),
)
BLANKS = (" ", " ", " ", "\n", "\r\n", "  ", "\n\n", "\u00a0", "\t", "")
words = st.sampled_from(WORDS)
texts = st.lists(st.tuples(words | st.text(max_size=8), st.sampled_from(BLANKS)), min_size=1, max_size=40).map(
    lambda parts: "".join(word + blank for word, blank in parts)
)
plain_texts = st.lists(st.tuples(words, st.sampled_from(BLANKS[:-1])), min_size=6, max_size=40).map(
    lambda parts: "".join(word + blank for word, blank in parts)
)


@st.composite
def cut(draw: st.DrawFn, sources: st.SearchStrategy[str]) -> tuple[str, str]:
    """A text and a slice of it that begins and ends with whole characters of a reader."""
    text = draw(sources)
    borders = [at for at in range(len(text) + 1) if is_boundary(text, at)]
    first, last = sorted(draw(st.tuples(st.sampled_from(borders), st.sampled_from(borders))))
    return text, text[first:last]


@st.composite
def cut_between_words(draw: st.DrawFn) -> tuple[str, str]:
    text = draw(plain_texts)
    spans = [found.span() for found in re.finditer(r"\S+", text)]
    first, last = sorted(draw(st.tuples(st.sampled_from(range(len(spans))), st.sampled_from(range(len(spans))))))
    return text, text[spans[first][0] : spans[last][1]]


def recased(text: str) -> str:
    """Other letters of the same words: only where the pair is one."""
    return "".join(
        sign.swapcase() if len(sign.swapcase()) == 1 and sign.swapcase().casefold() == sign.casefold() else sign
        for sign in text
    )


def reflowed(text: str) -> str:
    return re.sub(r"(?<=[a-z.,])\s(?=[a-z])", " \r\n\t", text)


def retyped(text: str) -> str:
    pairs = {"“": '"', "”": '"', "«": '"', "»": '"', "‘": "'", "’": "'", "–": "-", "−": "-", "\u00a0": " ", "…": "..."}
    return "".join(pairs.get(sign, sign) for sign in text)


def compatible(text: str) -> str:
    return text.replace("ﬁ", "fi").replace("ﬂ", "fl").replace("３４", "34").replace("ｶﾞｲﾄﾞ", "ガイド")


def joined(text: str) -> str:
    return re.sub(r"(?<=[a-z])-\r?\n(?=[a-z])", "", text).replace("\u00ad", "")


def unmarked(text: str) -> str:
    return text.replace("**bold**", "bold").replace("`code()`", "code()")


def composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def decomposed(text: str) -> str:
    return unicodedata.normalize("NFD", text)


FOLDS: Sequence[Callable[[str], str]] = (
    recased,
    reflowed,
    retyped,
    compatible,
    joined,
    unmarked,
    composed,
    decomposed,
)


@given(cut(texts))
@settings(max_examples=400)
def test_slices_are_found(given_: tuple[str, str]) -> None:
    text, quote = given_
    (place,) = locate([quote], text)
    if not quote.strip() or "\uffff" in quote:
        return
    assert place is not None
    assert place.match == "exact"
    assert text[place.start : place.end] == quote.strip()


@given(cut_between_words(), st.lists(st.sampled_from(FOLDS), max_size=4))
@settings(max_examples=500)
def test_folded_slices_are_found(given_: tuple[str, str], folds: list[Callable[[str], str]]) -> None:
    text, original = given_
    quote = original
    for change in folds:
        quote = change(quote)
    assume(quote.strip(" .,;:\n\"'—-–…*`“”«»‘’"))
    (place,) = locate([quote], text)
    assert place is not None, (text, quote)
    assert fold(text[place.start : place.end]).text.strip(" -") in fold(quote).text
    assert place.verified or is_too_short(quote) or not is_whole(text, place.start, place.end)


@given(st.lists(plain_texts, min_size=3, max_size=3), st.sampled_from(("…", "...", " [...] ", " […] ", " (...) ")))
def test_elided_slices_are_found(parts: list[str], ellipsis: str) -> None:
    first, middle, last = (f"begin{number} {part.replace('…', '')} end{number}" for number, part in enumerate(parts))
    text = f"Before. {first} {middle} {last} After."
    (place,) = locate([f"{first}{ellipsis}{last}"], text)
    assert place is not None
    assert text[place.start : place.end] == f"{first} {middle} {last}"
    assert place.match == "elided"
    assert place.verified or "don" in middle  # what denies may not be left out of a sentence


@given(plain_texts, st.integers(1, 5), st.integers(1, 7))
def test_repeated_slices_take_turns(sentence: str, times: int, asked: int) -> None:
    quote = f"once {sentence.strip()} upon"
    text = " ".join([quote + "."] * times)
    places = locate([quote] * asked, text)
    expected = [number * (len(quote) + 2) for number in range(times)]
    starts = [place.start for place in places if place is not None]
    assert starts == [expected[min(number, times - 1)] for number in range(asked)]


SENTENCE = "In 2019 the {owner} of Tromsø {verb} {sign}{currency}{number}{unit} for the old harbour {end}."


@st.composite
def statement(draw: st.DrawFn) -> dict[str, str]:
    return {
        "owner": draw(st.sampled_from(("council", "city", "port"))),
        "verb": draw(st.sampled_from(("paid", "did not pay", "never paid", "lost", "could not lose"))),
        "sign": draw(st.sampled_from(("", "-", "+", "−", "<"))),
        "currency": draw(st.sampled_from(("", "$", "€", "£", "EUR ", "¥"))),
        "number": draw(st.from_regex(r"\A[1-9][0-9]{0,3}([.,][0-9]{1,3})?\Z")),
        "unit": draw(st.sampled_from(("", "%", " %", " million", "‰"))),
        "end": draw(st.sampled_from(("and left", "then", "at once"))),
    }


@given(statement(), statement(), st.sampled_from(("verb", "sign", "currency", "number", "unit")), st.data())
@settings(max_examples=500)
def test_changed_facts_are_never_verified(
    said: dict[str, str], other: dict[str, str], at: str, data: st.DataObject
) -> None:
    changed = {**said, at: other[at]}
    text = f"It rained all day. {SENTENCE.format_map(said)} Nobody came."
    quote = SENTENCE.format_map(changed)
    first = data.draw(st.sampled_from([0, quote.index(changed["number"]), quote.index("the ")]))
    # From the number on, the quotation says nothing of what stands before it but what is part of the number.
    assume(not (first and at == "verb" and quote.index("the ") != first))
    if at in ("sign", "currency"):
        first = min(first, quote.index(changed["sign"] + changed["currency"] + changed["number"]))
    assume(fold(quote).text != fold(SENTENCE.format_map(said)).text)
    for form in (quote[first:], recased(quote[first:]), quote[first:].rstrip(".")):
        (place,) = locate([form], text)
        assert place is None or not place.verified, (form, text)


def test_dashes_are_no_signs() -> None:
    text = "He paid EUR 3 for the harbour, and they said -- at once -- that it was too much."
    verified = {"— EUR 3 for the harbour": True, "-EUR 3 for the harbour": False, "at once — that it was": True}
    for quote, expected in verified.items():
        (place,) = locate([quote], text)
        assert (place is not None and place.verified) == expected, quote


def test_ellipses_hide_no_denial() -> None:
    text = "The old mayor was in the end not found guilty of it. Nobody came. The new mayor was found guilty of theft."
    cases = {
        "The old mayor was ... found guilty of it": False,
        "The old mayor [...] found guilty of it": False,
        "The old mayor was ... guilty of theft": True,
        "The new mayor … guilty of theft": True,
    }
    for quote, verified in cases.items():
        (place,) = locate([quote], text)
        assert place is not None
        assert (place.match, place.verified) == ("elided", verified), quote


def test_marks_around_words_are_no_words() -> None:
    text = 'The "with" statement wraps a block, and a 5" pipe is “no pipe”, says `sys.exit`.'
    cases = {
        "The with statement wraps a block": True,
        "the `with` statement wraps a *block*": True,
        "a 5 pipe is no pipe, says": False,
        'a 5" pipe is no pipe, says sys.exit': True,
    }
    for quote, verified in cases.items():
        (place,) = locate([quote], text)
        assert (place is not None and place.verified) == verified, quote


def test_parts_of_facts_are_not_verified() -> None:
    cases = {
        "growth of -5% in the year": ["5% in the year"],
        "it costs €5 a piece, or more": ["5 a piece, or more"],
        "they sold 5 million bottles": ["they sold 5"],
        "they sold 50,000 bottles": ["they sold 50", "000 bottles of"],
        "he was found not guilty of it": ["guilty of it all", "guilty of it"],
        "the plan was approved not by them": ["the plan was approved"],
        "他不喜欢吃苹果和香蕉": ["喜欢吃苹果和香蕉"],
        "they can't have done it": ["they can have done", "t have done it"],
        "x is 10² metres in all": ["x is 102 metres in all", "x is 10"],
    }
    for text, quotes in cases.items():
        for place in locate(quotes, text):
            assert place is None or not place.verified, text


@given(st.lists(st.text("ab ", min_size=1, max_size=9), max_size=60), st.text("ab ", max_size=300))
def test_many_phrases_are_found_as_one(phrases: list[str], text: str) -> None:
    many = occurrences([*phrases, *(f"none {number} such" for number in range(30))], text)
    assert many == {phrase: places for phrase in set(phrases) if (places := _places(phrase, text))}


def _places(phrase: str, text: str) -> list[int]:
    return [at for at in range(len(text)) if text.startswith(phrase, at)]


@given(texts)
@settings(max_examples=300)
def test_folding_maps_back(text: str) -> None:
    folded = fold(text)
    ends = [folded.source(at, at + 1) for at in range(len(folded.text))]
    assert all(0 <= start < end <= len(text) for start, end in ends)
    assert all(one[0] <= other[0] and one[1] <= other[1] for one, other in pairwise(ends))

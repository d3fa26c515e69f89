# ruff: noqa: RUF001  other scripts are meant
from __future__ import annotations

import random

import pytest

from rlm_worker.text.relevance import RelevanceIndex

FILLER = "The committee met again to talk about the value of settings and the deployment of keys in every region. "


def ranked(query: str, chunks: list[str]) -> list[int]:
    index = RelevanceIndex(query)
    for number, chunk in enumerate(chunks):
        index.add(number, chunk)
    return index.rank()


def first(query: str, needle: str, *others: str) -> bool:
    chunks = [FILLER * 40, *(other + FILLER * 40 for other in others), FILLER * 20 + needle + FILLER * 20, FILLER * 40]
    return ranked(query, chunks)[0] == len(others) + 1


@pytest.mark.parametrize(
    ("query", "needle"),
    [
        ("What is the value of key abc-123 in the deployment settings?", "the entry ABC-123 is 7 "),
        ("Who wrote to Zarathustra about the keys?", "a letter to ZARATHUSTRA "),
        ("Which policies apply?", "one policy "),
        ("Where did they stop running?", "she runs far "),
        ("When is max_retry_count read?", "self.max_retry_count = 3 "),
        ("What does parseHeader do?", "function parseHeader(line) "),
        ('Who said "nobody expects it"?', "then nobody\nexpects it "),
        ("公司去年的收入是多少？", "公司的收入增加了。"),
        ("회사의 수입은 얼마입니까?", "그 회사는 수입이 "),
        ("Какие настройки базы данных?", "Настройка базы данных "),
        ("Wo liegen die Übergänge?", "an Übergängen dort "),
        ("What about the cafe\u0301 opening?", "the CAFÉ was closed "),
        ("वित्तीय वर्ष का राजस्व", "राजस्व बढ़ा "),
        ("รายได้ของบริษัท", "รายได้เพิ่มขึ้น "),
    ],
)
def test_needles_come_first(query: str, needle: str) -> None:
    assert first(query, needle)


@pytest.mark.parametrize(
    ("query", "needle", "decoy"),
    [
        ("Find key abc-123", "abc-123 ", "abc-1234 abc and 123 xabc-123 "),
        ("cat", "a cat ", "concatenate category "),
        ('Who has the "blue door"?', "the blue door ", "a door so blue, blue and blue, a door "),
        ("What about connection pool limits?", "connection pool limits ", "limits of a pool; a connection "),
    ],
)
def test_decoys_come_later(query: str, needle: str, decoy: str) -> None:
    assert first(query, needle, decoy)


def test_rare_terms_dominate() -> None:
    chance = random.Random(3)
    words = ["deployment", "settings", "region", "committee", "value"]
    chunks = [" ".join(chance.choices([*words, "other", "more"], k=300)) for _ in range(40)]
    chunks[23] = "other more " * 150 + "Kilimanjaro"
    query = "What value do the deployment settings of the committee have in region Kilimanjaro?"
    assert ranked(query, chunks)[0] == 23


def test_density_beats_length() -> None:
    assert ranked("harvest", ["nothing", "harvest " + "filler " * 5000, "harvest " + "filler " * 50]) == [2, 1, 0]


def test_equals_keep_order() -> None:
    assert ranked("harvest", ["none", "harvest", "none", "harvest", "none"]) == [1, 3, 0, 2, 4]


def test_indices_are_kept() -> None:
    index = RelevanceIndex("harvest")
    for number, text in ((9, "none"), (4, "harvest"), (7, "none")):
        index.add(number, text)
    assert index.rank() == [4, 7, 9]


@pytest.mark.parametrize("query", ["", "???", "what is it", "the", "\x00", "((((", "a" * 5000, "x-1 " * 3000])
def test_any_query_ranks(query: str) -> None:
    assert sorted(ranked(query, ["one", "two (((( what", ""])) == [0, 1, 2]


def test_nothing_added_ranks_nothing() -> None:
    assert RelevanceIndex("harvest").rank() == []


def test_shares_tell_how_much_is_met() -> None:
    index = RelevanceIndex("harvest of barley")
    for number, text in enumerate(["a harvest of barley", "a harvest", "nothing at all"]):
        index.add(number, text)
    shares = index.shares()
    assert shares[0] > shares[1] > shares[2] == 0
    assert 0.8 < shares[0] < 1.5
    index = RelevanceIndex("unheard words")
    index.add(0, "nothing at all")
    assert index.shares() == {0: 0}


def test_absent_terms_score_nothing() -> None:
    index = RelevanceIndex("harvest")
    index.add(0, "winter")
    index.add(1, "harvests")
    scores = index.scores()
    assert scores[0] == 0 < scores[1]

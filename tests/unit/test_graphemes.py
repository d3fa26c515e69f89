from __future__ import annotations

import pytest

from rlm_worker.text.graphemes import first_boundary, is_boundary, last_boundary

CLUSTERS = [
    "\r\n",
    "e\u0301",
    "e\u0301\u0323",
    "👍🏽",
    "👩\u200d👩\u200d👧\u200d👦",
    "❤\ufe0f",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "1\ufe0f\u20e3",
    "🇩🇪",
    "\u1112\u1161\u11ab",
    "\uac00\u11a8",
    "क्षि",
    "ক্ষ",
    "நி",
    "กำ",
    "\u0600\u0661",
    "ｶﾞ",
    "\u0648\u064e",
]


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_clusters_have_no_boundary(cluster: str) -> None:
    text = f"a{cluster}b"
    inside = range(2, len(text) - 1)
    assert [at for at in inside if is_boundary(text, at)] == []
    assert is_boundary(text, 1)
    assert is_boundary(text, len(text) - 1)


@pytest.mark.parametrize(
    "pair", ["ab", "\n\r", "\n\u0301", "\u0301a", "中文", "각가", "👍👍", "\u200ba", "कि" + "क", "ß\x00"]
)
def test_neighbours_have_a_boundary(pair: str) -> None:
    assert is_boundary(pair, len(pair) - 1)


def test_flags_come_in_pairs() -> None:
    flags = "🇩🇪🇫🇷🇯🇵"
    assert [at for at in range(7) if is_boundary(flags, at)] == [0, 2, 4, 6]
    assert [at for at in range(9) if is_boundary(f"x{flags}y", at)] == [0, 1, 3, 5, 7, 8]


def test_boundaries_are_found() -> None:
    text = "ab" + "\u0301" * 5 + "c"
    assert last_boundary(text, 1, 6) == 1
    assert first_boundary(text, 2, 8) == 7
    assert last_boundary(text, 2, 6) == 0
    assert first_boundary(text, 2, 6) == 0

"""Finding quotations beside its peers: `str.find`, which knows no folding, and a pattern for each quotation.

10,000 quotations of one megabyte: exact, in other letters and lines, elided, repeated, and some that stand nowhere.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Sequence
from pydoc_data.topics import topics

from rlm_worker.citations.quotes import locate
from tests.bench.tables import Table
from tests.bench.texts import MEGABYTE

_QUOTES, _PATTERNS, _ROUNDS = 10_000, 200, 3
_MIN_CHARACTERS, _MAX_CHARACTERS = 40, 240
_CHANGES: Sequence[tuple[float, Callable[[str], str]]] = (
    (0.6, lambda quote: quote),
    (0.75, str.upper),
    (0.85, lambda quote: " \n".join(quote.split(" "))),
    (0.95, lambda quote: f"{quote[:30]} … {quote[-30:]}"),
    (1.0, lambda quote: quote.replace("a", "qa")),
)


def tables() -> list[Table]:
    text = document()
    asked = quotations(text)
    table = Table(f"{_QUOTES:,} quotations over 1 MB", ("", "s CPU", "x ours", "found"))
    ours, found = _best(lambda: sum(place is not None for place in locate(asked, text)))
    for name, find in (("str.find", _by_find), ("a pattern each", _by_pattern)):
        sample = asked if find is _by_find else asked[:: _QUOTES // _PATTERNS]
        seconds, hits = _best(lambda find=find, sample=sample: find(sample, text))  # type: ignore[misc] # its own
        share = len(asked) / len(sample)
        table.add(name, f"{seconds * share:.2f}", f"{seconds * share / ours:.1f}", f"{hits * share:,.0f}")
    table.rows.insert(0, ("ours", f"{ours:.2f}", "1.0", f"{found:,}"))
    table.notes.append(f"patterns (letters and blanks folded) were measured on {_PATTERNS} quotations")
    return [table]


def document() -> str:
    """One megabyte of prose and code in which no paragraph stands twice alike."""
    chance = random.Random(7)
    paragraphs = [part for name in sorted(topics) for part in topics[name].split("\n\n") if len(part) > 80]
    parts: list[str] = []
    size = 0
    while size < MEGABYTE:
        parts.append(f"{chance.choice(paragraphs)} ({chance.randrange(10**9)})\n\n")
        size += len(parts[-1])
    return "".join(parts)[:MEGABYTE]


def quotations(text: str) -> list[str]:
    chance = random.Random(11)
    asked: list[str] = []
    while len(asked) < _QUOTES:
        start = chance.randrange(len(text) - _MAX_CHARACTERS)
        quote = text[start : start + chance.randrange(_MIN_CHARACTERS, _MAX_CHARACTERS)].strip()
        drawn = chance.random()
        change = next(change for share, change in _CHANGES if drawn < share)
        asked += [change(quote)] * (2 if chance.random() < 0.1 else 1)
    return asked[:_QUOTES]


def _by_find(quotes: Sequence[str], text: str) -> int:
    return sum(text.find(quote) >= 0 for quote in quotes)


def _by_pattern(quotes: Sequence[str], text: str) -> int:
    patterns = (re.compile(r"\s+".join(map(re.escape, quote.split())), re.IGNORECASE) for quote in quotes)
    return sum(pattern.search(text) is not None for pattern in patterns)


def _best(work: Callable[[], int]) -> tuple[float, int]:
    """The least CPU time of several rounds, in seconds, and what the work gives."""
    times: list[float] = []
    given = 0
    for _ in range(_ROUNDS):
        began = time.process_time()
        given = work()
        times.append(time.process_time() - began)
    return min(times), given

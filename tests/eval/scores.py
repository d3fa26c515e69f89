"""From replies to scores between 0 and 1, and from scores to a mean with its interval."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rlm_worker.citations.evidence import quoted
from rlm_worker.strategies.prompts import is_no_evidence

from .suites import Case

# OOLONG's: each item too many or too few costs a quarter of what is left.
_PER_ITEM = 0.75
_Z = 1.96
_ABSTAINS = re.compile(r"\b(not|no|none|nothing|cannot|unknown|unable)\b|\w+n['\u2019]t\b", re.IGNORECASE)


def note_score(case: Case, note: str) -> float:
    """How much of what a reader should have found is in its note, as far as it stands in the text."""
    if not case.expected:
        return float(is_no_evidence(note))
    if case.count:
        found = _folded(quoted_lines(note, case.text)).count(_folded(case.expected[0]))
        return _PER_ITEM ** abs(found - len(case.expected)) if found else 0.0
    folded = _folded(note)
    return sum(_folded(one) in folded for one in case.expected) / len(case.expected)


def answer_score(case: Case, answer: str) -> float:
    """Whether an answer is right; a count that is wrong by a few is right in part."""
    if not case.expected:
        return float(bool(_ABSTAINS.search(answer)))
    if not case.count:
        return float(_folded(case.answer) in _folded(answer))
    numbers = re.findall(r"\d+", answer) or [str(_WORDS.index(word)) for word in _words(answer) if word in _WORDS]
    return _PER_ITEM ** abs(int(numbers[-1]) - int(case.answer)) if numbers else 0.0


def quoted_lines(note: str, text: str) -> str:
    """The lines of a note that say something which stands in the text, repeats included."""
    return "\n".join(line for line in note.splitlines() if quoted(line, text))


_WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _folded(text: str) -> str:
    return " ".join(text.lower().split())


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean of `count` scores, and the half of its 95 % interval."""

    count: int
    value: float
    half: float

    def __str__(self) -> str:
        return f"{100 * self.value:.0f} ± {100 * self.half:.0f}"


def mean_of(scores: Sequence[float]) -> Mean:
    """Wilson's interval around the mean; for scores between 0 and 1 it is no narrower than theirs."""
    count = len(scores)
    if not count:
        return Mean(0, 0.0, 1.0)
    value = sum(scores) / count
    spread = _Z * math.sqrt(value * (1 - value) / count + _Z**2 / (4 * count**2)) / (1 + _Z**2 / count)
    return Mean(count, value, spread)

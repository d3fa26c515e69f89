"""What a judge is shown of a chunk: passages that fit its window."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rlm_worker.text.relevance import RelevanceIndex
from rlm_worker.text.tokens import TokenEstimator, weighed_prefix

# A passage ends at the last of these in its last third, so that few sentences are cut.
_ENDS = (re.compile(r"\n\s*\n"), re.compile(r"\n|[.!?][\"')\]]*\s|[\u3002\uff01\uff1f]"), re.compile(r"\s"))
_LAST_SHARE = 1 / 3


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a chunk's text: the chunk's index, and the first of its characters in it."""

    chunk: int
    start: int
    text: str

    @property
    def place(self) -> str:
        """Which characters of which chunk, the end exclusive."""
        return f"{self.chunk}:{self.start}-{self.start + len(self.text)}"


def passages_of(chunk: int, text: str, tokens: int) -> list[Passage]:
    """The whole text in passages of at most that many tokens, by an estimate; blank ones are left out."""
    weight = TokenEstimator().weight_within(tokens)
    cut = _cut(text, weight)
    return [Passage(chunk, start, part) for start, part in cut if not part.isspace()]


def chosen(query: str, passages: Sequence[Passage], most: int) -> list[Passage]:
    """At most so many: those that have the query's words first, then such as lie evenly between; in their order."""
    if len(passages) <= most:
        return list(passages)
    index = RelevanceIndex(query)
    for number, passage in enumerate(passages):
        index.add(number, passage.text)
    scores = index.scores()
    kept = {number for number in index.rank()[:most] if scores[number]}
    kept |= set(_spread([number for number in range(len(passages)) if number not in kept], most - len(kept)))
    return [passages[number] for number in sorted(kept)]


def shortened(text: str, tokens: int) -> str:
    """A text's beginning and end where the whole has more tokens, by an estimate: a long question asks at either."""
    weight = TokenEstimator().weight_within(tokens)
    if weighed_prefix(text, weight) == len(text):
        return text
    head = text[: weighed_prefix(text, weight // 2)]
    tail = text[::-1][: weighed_prefix(text[::-1], weight // 2)][::-1]
    return f"{head} … {tail}"


def _cut(text: str, weight: int) -> Iterator[tuple[int, str]]:
    start = 0
    while start < len(text):
        # No character weighs nothing, and none weighs less than a sixteenth of a token: see `text.tokens`.
        rest = text[start : start + max(1, weight // 2)]
        most = max(1, weighed_prefix(rest, weight))
        end = most if start + most >= len(text) else _end(rest, most)
        yield start, rest[:end]
        start += end


def _end(text: str, most: int) -> int:
    """Where to end within `most` characters."""
    first = int(most * (1 - _LAST_SHARE))
    for ends in _ENDS:
        if found := _last(ends.finditer(text, first, most)):
            return found
    return most


def _last(matches: Iterable[re.Match[str]]) -> int:
    end = 0
    for match in matches:
        end = match.end()
    return end


def _spread(numbers: Sequence[int], most: int) -> list[int]:
    """So many of them, evenly."""
    if most <= 0 or not numbers:
        return []
    step = len(numbers) / min(most, len(numbers))
    return [numbers[int(step * (at + 0.5))] for at in range(min(most, len(numbers)))]

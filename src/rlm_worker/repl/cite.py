"""The citations of an answer that was found by exploring: what code has cited, and what was read on the way.

Code cites by places, so that what is cited stands there by construction; what the answer says is looked for in what was
read besides. A mark in the answer, `[2]`, is the second place that code has cited.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from rlm_worker.citations.borders import is_whole
from rlm_worker.citations.cited import MAX_CITATIONS, Cited, Citing
from rlm_worker.citations.passages import Documents, Seen
from rlm_worker.citations.said import Claim, Said
from rlm_worker.errors import InvocationSpent, RLMError
from rlm_worker.ports import Interval
from rlm_worker.runs.run import Run
from rlm_worker.sandbox.cites import MAX_CITED_CHARACTERS, MAX_CITES
from rlm_worker.text.chunks import Piece
from rlm_worker.wire.results import Citation

from .passages import Coverage, Passage

# What is read again for one answer at most, and at once; in characters.
_MAX_CHARACTERS, _AT_ONCE = 2_000_000, 500_000
# What stands beside a place decides whether it begins and ends with whole words and numbers; in characters.
_BESIDE = 32
_MARKS = re.compile(r"\[\d{1,3}(?:\s*,\s*\d{1,3})*\]")
_LEADING_MARKS = re.compile(rf"(?:{_MARKS.pattern}\s*)+")


def newly_cited(passage: Passage, known: Sequence[Interval], told: Sequence[Sequence[int]]) -> tuple[Interval, ...]:
    """What a cell has cited, as far as such places exist; the sandbox that tells them is not trusted."""
    if not told:
        return ()
    borders = list(accumulate((characters for _, characters in passage.documents()), initial=0))
    new: list[Interval] = []
    for start, end in told:
        is_place = start < end <= min(passage.characters, start + MAX_CITED_CHARACTERS)
        if is_place and end <= borders[bisect_right(borders, start)] and (start, end) not in (*known, *new):
            new.append((start, end))
    return tuple(new[: max(0, MAX_CITES - len(known))])


async def cite_explored(
    run: Run,
    answer: str,
    context: Passage,
    read: Sequence[Interval],
    marked: Sequence[Interval] = (),
    *,
    earlier: int = 0,
) -> Cited:
    """Cites the places that code has marked, and the sentences that an answer rests on, out of what was read.

    The first `earlier` places were marked for an earlier question: they count where the answer names them.
    """
    documents = Documents.of(run.reader.manifest)
    marks = marks_in(run.said(answer))
    citing = Citing(run.said(_without(answer, marks, len(marked))), run.job.query, documents)
    chosen: list[Citation] = []
    seen: list[Seen] = []
    try:
        chosen = [one async for one in _chosen(context, documents, marked, mark_claims(marks), earlier)]
        async for start, text in _texts(context, read, marked):
            seen.append(Seen.of(_pieces(documents, start, text)))
    except InvocationSpent:
        raise
    except RLMError as error:  # the answer is there: better with fewer citations than not at all
        run.warn(f"not everything could be cited: {error}")
    citing.read(seen)
    return merged(chosen, citing.cited())


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark in an answer, characters `start` to `end` (exclusive): its numbers, and what it stands in or behind."""

    start: int
    end: int
    numbers: tuple[int, ...]
    claim: Claim


def marks_in(said: Said) -> list[Mark]:
    """The marks in what an answer says; one that begins a sentence belongs to the one before it on its line."""
    found: list[Mark] = []
    before: Claim | None = None
    for claim, _ in said.claims:
        text = said.answer[claim.start : claim.end]
        leading = _LEADING_MARKS.match(text)
        between = said.answer[before.end : claim.start] if before else ""
        follows = before is not None and between.isspace() and "\n" not in between
        for mark in _MARKS.finditer(text):
            is_behind = follows and leading is not None and mark.end() <= leading.end()
            numbers = tuple(int(number) for number in re.findall(r"\d+", mark[0]))
            belongs = before if is_behind and before else claim
            found.append(Mark(claim.start + mark.start(), claim.start + mark.end(), numbers, belongs))
        before = claim
    return found


def mark_claims(marks: Sequence[Mark]) -> dict[int, Claim]:
    """For each number in a mark what it is first cited for."""
    claims: dict[int, Claim] = {}
    for mark in marks:
        for number in mark.numbers:
            claims.setdefault(number, mark.claim)
    return claims


def unmarked(value: object) -> object:
    """A value without the marks in its texts."""
    if isinstance(value, str):
        return _MARKS.sub("", value)
    if isinstance(value, list):
        return [unmarked(item) for item in value]
    if isinstance(value, dict):
        return {key: unmarked(item) for key, item in value.items()}
    return value


def _without(answer: str, marks: Sequence[Mark], count: int) -> str:
    """The answer with blanks for marks of places that were cited: their numbers are nothing that it says."""
    kept: list[str] = []
    at = 0
    for mark in marks:
        if all(1 <= number <= count for number in mark.numbers):
            kept += [answer[at : mark.start], " " * (mark.end - mark.start)]
            at = mark.end
    return "".join([*kept, answer[at:]])


def merged(chosen: Sequence[Citation], cited: Cited) -> Cited:
    """What code has cited, and of what was found besides, that which is not the same place."""
    own = list(chosen)
    others: list[Citation] = []
    for found in cited.citations:
        same = [at for at, one in enumerate(own) if _is_same(one, found)]
        if not same:
            others.append(found)
        claim = {"answer_start": found.answer_start, "answer_end": found.answer_end}
        for at in same:
            if own[at].answer_start is None:
                own[at] = own[at].model_copy(update=claim)
    kept = sorted([*own, *others[: MAX_CITATIONS - len(own)]], key=_order)
    return Cited(tuple(kept), cited.unlocated)


def _is_same(one: Citation, other: Citation) -> bool:
    """Whether one of two places lies within the other."""
    if one.document_index != other.document_index:
        return False
    starts, ends = (one.start_char_index, other.start_char_index), (one.end_char_index, other.end_char_index)
    return (max(starts), min(ends)) in zip(starts, ends, strict=True)


def _order(citation: Citation) -> tuple[bool, int, int, int]:
    """As they come in the answer; those that it does not name behind."""
    start = citation.answer_start
    return start is None, start or 0, citation.document_index, citation.start_char_index


async def _chosen(
    context: Passage, documents: Documents, marked: Sequence[Interval], claims: Mapping[int, Claim], earlier: int
) -> AsyncIterator[Citation]:
    for number, place in enumerate(marked, 1):
        if number > earlier or number in claims:
            yield await cited_place(context, documents, place, claims.get(number))


async def cited_place(context: Passage, documents: Documents, place: Interval, claim: Claim | None = None) -> Citation:
    """A place of the context as a citation: its text is what stands there."""
    document = bisect_right(documents.starts, place[0]) - 1
    begin, end = documents.starts[document], documents.starts[document + 1]
    first = max(begin, place[0] - _BESIDE)
    around = await context.read(first, min(end, place[1] + _BESIDE))
    start, stop = place[0] - first, place[1] - first
    return Citation(
        cited_text=around[start:stop],
        document_index=document,
        document_title=documents.names[document],
        start_char_index=place[0] - begin,
        end_char_index=place[1] - begin,
        verified=is_whole(around, start, stop),
        match="exact",
        answer_start=claim.start if claim else None,
        answer_end=claim.end if claim else None,
    )


async def _texts(
    context: Passage, read: Sequence[Interval], marked: Sequence[Interval]
) -> AsyncIterator[tuple[int, str]]:
    """What was read or marked, in parts, each with its start; as much as may be read again."""
    left, ranges = _MAX_CHARACTERS, Coverage()
    for start, end in (*read, *marked):
        ranges.add(start, end)
    for start, end in ranges.intervals():
        for at in range(start, min(end, start + left), _AT_ONCE):
            text = await context.read(at, min(end, at + left, at + _AT_ONCE))
            left -= len(text)
            yield at, text


def _pieces(documents: Documents, start: int, text: str) -> list[Piece]:
    """A range of the context, cut where documents end."""
    pieces: list[Piece] = []
    while text:
        document = bisect_right(documents.starts, start) - 1
        part = text[: documents.starts[document + 1] - start]
        pieces.append(Piece(document, documents.names[document], start, part))
        start, text = start + len(part), text[len(part) :]
    return pieces

# ruff: noqa: RUF001  the signs of quotations are meant
"""Quotations found in a text by code: exact, folded, elided, or approximately; and whether they stand there indeed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from .alignment import Words, align, denies
from .borders import is_whole
from .folding import EAST_ASIAN, Folded, fold
from .occurrences import occurrences

Match = Literal["exact", "normalized", "elided", "approximate"]

# Shorter ones are found in almost any text; an East Asian character counts twice.
MIN_CHARACTERS, _SURELY_LONG = 12, 60
# The most that an ellipsis may stand for, in characters.
MAX_ELISION = 2_000
# Between the parts of a text that are no neighbours; no quotation goes across.
SEPARATOR = "\uffff"

_EAST_ASIAN = re.compile(rf"[{EAST_ASIAN}]")
_ELLIPSIS = re.compile(r"\s*(?:\[\s*(?:…|\.{3,})\s*\]|\(\s*(?:…|\.{3,})\s*\)|…|\.{3,})\s*")
_SENTENCE_END = re.compile(r"[.!?。！？](?:\s|$)|[。！？]")
_BULLET = re.compile(r"^(?:[-*•·>]|#{1,6}|\(?\d{1,3}[.)])\s+")
_LINE_HYPHEN = re.compile(r"[-‐][ \t]*\r?\n")
_HYPHEN = re.compile(r"(?<=[^\W\d_])-(?=[^\W\d_])")
_WRAPPING = "\"'“”„‟«»‘’‚‛‹›「」『』`* \t\n"
# Dashes with which a quotation begins or ends, but no sign of a number.
_EDGE_DASHES = re.compile(r"^(?:[—―]|-{2,}(?=\s|[^\W\d])|[-‐‑–−](?=\s))+\s*|\s*[-‐‑–—―−]+$")
_STOPS = ".,;:!?。，；：！？、"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a quotation stands: characters `start` to `end` (exclusive) of the text.

    `verified`: its words and numbers are the source's own, all of them and no more than whole ones.
    """

    start: int
    end: int
    match: Match
    verified: bool


@dataclass(slots=True)
class _Sought:
    """One quotation, in the forms under which it is looked for, and the places found until now, the best first."""

    quote: str
    forms: tuple[str, ...]
    places: list[Place] = field(default_factory=list)


def is_too_short(quote: str) -> bool:
    """Whether a quotation says too little for its place to mean anything."""
    if len(quote) > _SURELY_LONG:
        return False
    text = fold(quote).text.strip(_WRAPPING + _STOPS)
    return len(text) + len(_EAST_ASIAN.findall(text)) < MIN_CHARACTERS


def locate(quotes: Sequence[str], text: str) -> list[Place | None]:
    """The place of each quotation in the text, in their order; None where it stands nowhere.

    Equal quotations take the places of their words one after another; when there are no more, the last again.
    """
    sought = {quote: _Sought(quote, _forms(quote)) for quote in dict.fromkeys(quotes) if quote.strip()}
    _find_exact(sought.values(), text)
    if pending := _lost(sought.values()):
        folded = fold(text)
        for stage in (_find_folded, _find_hyphenated, _find_elided, _find_approximate):
            stage(_lost(pending), text, folded)
    return list(_told(quotes, sought))


def _told(quotes: Iterable[str], sought: dict[str, _Sought]) -> Iterator[Place | None]:
    told: dict[str, int] = {}
    for quote in quotes:
        places = sought[quote].places if quote in sought else []
        count = told.get(quote, 0)
        told[quote] = count + 1
        yield places[min(count, len(places) - 1)] if places else None


def _lost(sought: Iterable[_Sought]) -> list[_Sought]:
    return [one for one in sought if not one.places]


def _forms(quote: str) -> tuple[str, ...]:
    """A quotation as it is, without what readers put around it, and without a stop that may be theirs."""
    plain = quote.strip()
    bare = _EDGE_DASHES.sub("", _BULLET.sub("", plain.strip(_WRAPPING)).strip(_WRAPPING)).strip(_WRAPPING)
    return tuple(form for form in dict.fromkeys((plain, bare, bare.rstrip(_STOPS))) if form and SEPARATOR not in form)


def _best(places: Iterable[Place]) -> list[Place]:
    """The verified ones of some places in the order of the text; where there are none, all."""
    found = list(places)
    return [place for place in found if place.verified] or found


def _place(text: str, start: int, end: int, match: Match, *, short: bool = False) -> Place:
    return Place(start, end, match, match != "approximate" and not short and is_whole(text, start, end))


def _find_exact(sought: Iterable[_Sought], text: str) -> None:
    pending = [one for one in sought if one.forms]
    found = occurrences((one.forms[0] for one in pending), text)
    for one in pending:
        form, short = one.forms[0], is_too_short(one.quote)
        starts = found.get(form, ())
        one.places = _best(_place(text, start, start + len(form), "exact", short=short) for start in starts)


def _find_folded(sought: Sequence[_Sought], text: str, folded: Folded) -> None:
    forms = {one.quote: [fold(form).text.strip() for form in one.forms] for one in sought}
    found = occurrences((form for chosen in forms.values() for form in chosen), folded.text)
    for one in sought:
        short = is_too_short(one.quote)
        for form in forms[one.quote]:
            ranges = (folded.source(start, start + len(form)) for start in found.get(form, ()))
            places = _best(_place(text, *range_, _match(text, range_, one), short=short) for range_ in ranges)
            if places:
                one.places = places
                break


def _match(text: str, range_: tuple[int, int], one: _Sought) -> Match:
    return "exact" if text[slice(*range_)] == one.forms[0] else "normalized"


def _find_hyphenated(sought: Sequence[_Sought], text: str, folded: Folded) -> None:
    """Words that are written with a hyphen and were cut at it by a line's end."""
    if not sought or not _LINE_HYPHEN.search(text):
        return
    for one in sought:
        form = fold(one.forms[-1]).text.strip() if one.forms else ""
        if _HYPHEN.search(form):
            pattern = _HYPHEN.sub("-?", re.escape(form).replace(r"\-", "-"))
            ranges = (folded.source(*found.span()) for found in re.finditer(pattern, folded.text))
            honest = [range_ for range_ in ranges if _is_hyphenated(text[slice(*range_)], form)]
            one.places = _best(_place(text, *range_, "normalized") for range_ in honest)


def _is_hyphenated(part: str, form: str) -> bool:
    """Whether the two differ at most in the hyphens at the ends of lines."""
    marked = re.escape(fold(part, line_hyphen="\xad").text)
    return re.fullmatch(marked.replace("\xad", "-?"), form) is not None


def _find_elided(sought: Sequence[_Sought], text: str, folded: Folded) -> None:
    parts = {one.quote: _parts(one) for one in sought}
    parts = {quote: segments for quote, segments in parts.items() if len(segments) > 1}
    anchors = {quote: [*map(len, one)].index(max(map(len, one))) for quote, one in parts.items()}
    found = occurrences((parts[quote][at] for quote, at in anchors.items()), folded.text)
    for one in sought:
        segments = parts.get(one.quote)
        if segments is not None:
            at = anchors[one.quote]
            chains = (_chain(segments, at, start, folded.text) for start in found.get(segments[at], ()))
            one.places = _best(_elided(text, folded, segments, chain) for chain in chains if chain is not None)


def _parts(one: _Sought) -> list[str]:
    """What stands between the ellipses of a quotation, folded."""
    bare = one.forms[1] if len(one.forms) > 1 else one.forms[0] if one.forms else ""
    parts = (fold(part).text.strip(_WRAPPING) for part in _ELLIPSIS.split(bare))
    return [part for part in parts if part]


def _chain(segments: Sequence[str], anchor: int, start: int, text: str) -> list[int] | None:
    """Where the segments stand when one of them stands at `start`: in order, no more than an ellipsis apart."""
    starts = [start]
    for segment in reversed(segments[:anchor]):
        starts.insert(0, text.rfind(segment, max(0, starts[0] - MAX_ELISION - len(segment)), starts[0]))
        if starts[0] < 0:
            return None
    for before, segment in zip(segments[anchor:], segments[anchor + 1 :], strict=False):
        end = starts[-1] + len(before)
        starts.append(text.find(segment, end, end + MAX_ELISION + len(segment)))
        if starts[-1] < 0:
            return None
    return starts if SEPARATOR not in text[starts[0] : starts[-1]] else None


def _elided(text: str, folded: Folded, segments: Sequence[str], starts: Sequence[int]) -> Place:
    ranges = [folded.source(start, start + len(part)) for start, part in zip(starts, segments, strict=True)]
    short = all(is_too_short(segment) for segment in segments)
    gaps = (text[before[1] : behind[0]] for before, behind in pairwise(ranges))
    verified = not short and all(is_whole(text, start, end) for start, end in ranges)
    verified = verified and not any(_hides_denial(gap) for gap in gaps)
    return Place(ranges[0][0], ranges[-1][1], "elided", verified)


def _hides_denial(gap: str) -> bool:
    """Whether what was left out of a sentence is what denies it."""
    folded = fold(gap)
    return not _SENTENCE_END.search(folded.text) and any(denies(word) for word in Words(gap, folded).said())


def _find_approximate(sought: Sequence[_Sought], text: str, folded: Folded) -> None:
    found = align((one.quote for one in sought), text, folded)
    for one in sought:
        place = found.get(one.quote)
        if place is not None and SEPARATOR not in text[slice(*place)]:
            one.places = [_place(text, *place, "approximate")]

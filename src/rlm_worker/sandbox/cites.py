"""Places that the answer rests on, named by code as offsets: what is cited is what stands there."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .listing import span_of_lines
from .text import Hit, Origin, Readable

MAX_CITES, MAX_CITED_CHARACTERS = 100, 2_000
# The line of a match is cited where it is no longer; else what is shown around it.
_MAX_LINE = 500
_MARK = re.compile(r"\[\d{1,3}(?:\s*,\s*\d{1,3})*\]")


class Cites:
    """The places cited until now, start and end of each; the session tells them before each cell."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self.places: list[tuple[int, int]] = []

    def cite(self, what: object, first: int | None = None, last: object = None) -> str:
        """Marks a place as evidence and gives its mark, such as `[1]`; raises `ValueError` or `NoSuchDocument`.

        `cite(hit)`, `cite(text)` for any text out of the context, `cite(start, end)` for offsets in the context,
        `cite(start, end, document)` for offsets in a document, `cite(document, first, last)` for its lines. Counted
        from 0 and without the end, but for lines.
        """
        number = self._number(self._checked(*self._meant(what, first, last)))
        if not number:
            raise ValueError(f"{MAX_CITES} citations are there already: cite what the answer rests on, no more")
        return f"[{number}]"

    def adopt(self, text: str, places: Sequence[Sequence[int]]) -> str:
        """What a child run has answered, with marks of our own for the places that it has cited."""
        numbers = {str(at): self._number((start, end)) for at, (start, end) in enumerate(places, 1)}

        def renumbered(mark: re.Match[str]) -> str:
            told = [numbers.get(number, int(number)) for number in re.findall(r"\d+", mark[0])]
            kept = [str(number) for number in told if number]
            return f"[{', '.join(kept)}]" if kept else ""

        return _MARK.sub(renumbered, text)

    def _number(self, place: tuple[int, int]) -> int:
        """The number of a place, from 1; 0 where there is no room for it."""
        if place not in self.places:
            if len(self.places) >= MAX_CITES:
                return 0
            self.places.append(place)
        return self.places.index(place) + 1

    def _meant(self, what: object, first: object, last: object) -> tuple[int, int]:
        if isinstance(what, int):
            return self._by_offsets(what, first, last)
        if first is not None:
            if not isinstance(first, int):
                raise ValueError("cite(document, first, last) takes line numbers")
            until = first if last is None else last
            if not isinstance(until, int):
                raise ValueError("cite(document, first, last) takes line numbers")
            return span_of_lines(self._origin, what, first, until)
        if isinstance(what, Hit):
            return self._around(what)
        if isinstance(what, Readable):
            return what.start, what.end
        return self._by_words(str(what))

    def _by_offsets(self, start: int, end: object, document: object) -> tuple[int, int]:
        if not isinstance(end, int):
            raise ValueError("cite(start, end) takes two offsets, the end not included")  # noqa: TRY004 - as above
        if document is None:
            return start, end
        span = self._origin.spans[number := self._origin.number_of(document)]
        if not 0 <= start < end <= span.end - span.start:
            length = f"{self._origin.label(number)} has {span.end - span.start:,} characters"
            raise ValueError(f"{start} to {end} is no range of it: {length}")
        return span.start + start, span.start + end

    def _around(self, hit: Hit) -> tuple[int, int]:
        """The line of a match; where that is long, what is shown around it, in whole words."""
        span = self._origin.spans[self._origin.number_at(hit.at)]
        first = max(span.start, hit.at - _MAX_LINE)
        match_end = hit.at + len(hit.match)
        before = self._origin.read(first, hit.at)
        behind = self._origin.read(match_end, min(match_end + _MAX_LINE, span.end))
        line_start = before.rfind("\n") + 1
        line_end = behind.find("\n")
        if (line_start or first == span.start) and (line_end >= 0 or match_end + len(behind) == span.end):
            start, end = first + line_start, match_end + (line_end if line_end >= 0 else len(behind))
        else:
            start, end = self._whole_words(max(hit.start, span.start), hit.at, match_end, min(hit.end, span.end))
        text = self._origin.read(start, end)
        return start + len(text) - len(text.lstrip()), end - len(text) + len(text.rstrip())

    def _whole_words(self, start: int, at: int, match_end: int, end: int) -> tuple[int, int]:
        before, behind = self._origin.read(start, at), self._origin.read(match_end, end)
        first = next((place for place, sign in enumerate(before) if sign.isspace()), len(before))
        last = next((place for place in range(len(behind), 0, -1) if behind[place - 1].isspace()), 0)
        return start + first, match_end + last

    def _by_words(self, words: str) -> tuple[int, int]:
        at = self._origin.whole().find(words) if words else -1
        if at < 0:
            raise ValueError("these words do not stand in the context as they are: cite a hit, a slice or offsets")
        return at, at + len(words)

    def _checked(self, start: int, end: int) -> tuple[int, int]:
        if not 0 <= start < end <= self._origin.characters:
            total = f"the context has {self._origin.characters:,} characters"
            raise ValueError(f"{start} to {end} is no range of it: {total}")
        if end - start > MAX_CITED_CHARACTERS:
            raise ValueError(
                f"a citation has {MAX_CITED_CHARACTERS:,} characters at most, not {end - start:,}: cite the sentence"
            )
        number = self._origin.number_at(start)
        if end > (border := self._origin.spans[number].end):
            raise ValueError(f"a citation lies in one document: {self._origin.label(number)} ends at {border}")
        return start, end

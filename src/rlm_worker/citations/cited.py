"""From an answer to its citations: what it quotes and what it rests on, each with its place in its document."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rlm_worker.text.chunks import Piece
from rlm_worker.text.context import ContextManifest
from rlm_worker.text.graphemes import is_boundary
from rlm_worker.wire.results import Citation, Unlocated, UnlocatedReason

from .attribution import Support, supports, told_terms
from .borders import is_whole
from .evidence import parts_of, sentences_of
from .folding import EAST_ASIAN, Folded, fold
from .passages import Documents, Seen
from .quotes import SEPARATOR, Place, is_too_short, locate
from .said import Claim, Quote, Said

# What one result holds at most.
MAX_CITATIONS, MAX_UNLOCATED = 200, 50
# Characters of all citations of a result together, and of one quotation that stands nowhere: a row of SQL holds 2 MB.
_MAX_CITED_CHARACTERS, _MAX_LOST_CHARACTERS = 200_000, 1_000
# Sentences that are looked at for one term of an answer; a term that stands more often tells nothing.
_MAX_HITS, _MAX_TERMS = 400, 200
# A sentence is looked for so far around a term; where it is longer than a paragraph of prose, its line is meant.
_REACH, _LONG, _MAX_PROSE_LINES = 1_500, 600, 8
_SENTENCE_BORDER = re.compile(r"(?<=[.!?])[\"'\u201d\u2019)*]*\s+|(?<=[\u3002\uff01\uff1f])|\n[ \t\r]*\n|\uffff")
_EAST_ASIAN = re.compile(rf"[{EAST_ASIAN}]")
_LINE_BORDER = re.compile(r"[\n\uffff]")
# A line of a note is one of a list, not of a sentence that goes on, where the next begins like this.
_NEXT_ITEM = re.compile(rf"\n(?=\s*(?:[-*\u2022>\"'\u201c\u201e\u00ab(\[]|\d|[^\W\d_a-z]|[{EAST_ASIAN}]))")


@dataclass(frozen=True, slots=True)
class Cited:
    """What an answer cites, in its order, and what it quotes that stands nowhere."""

    citations: tuple[Citation, ...] = ()
    unlocated: tuple[Unlocated, ...] = ()


@dataclass(frozen=True, slots=True)
class Noted:
    """A sentence of a reader's note, and the number of the note; chosen for a claim of the answer."""

    note: int
    sentence: str
    claim: Claim


def cite_read(said: Said, query: str, parts: Iterable[Sequence[Piece]], manifest: ContextManifest) -> Cited:
    """What an answer cites of the parts of the context that its model has read itself."""
    citing = Citing(said, query, Documents.of(manifest))
    citing.read(Seen.of(pieces) for pieces in parts)
    return citing.cited()


def cited_in_note(note: str, seen: Seen, documents: Documents) -> list[Citation]:
    """Where the sentences of a reader's note stand in what the reader saw."""
    places = [part.place for part in parts_of(note, seen.text) if part.place is not None]
    return [_citation(seen, documents, place, None) for place in places[:MAX_CITATIONS]]


def chosen_from_notes(said: Said, query: str, notes: Sequence[str]) -> list[Noted]:
    """The sentences of readers' notes that an answer rests on, in the order of the notes."""
    sentences = [(number, item) for number, note in enumerate(notes) for item in _items(note)]
    found = _first_claims(supports(said, query, [sentence for _, sentence in sentences]))
    return [Noted(*sentences[at], claim) for at, claim in sorted(found.items())]


@dataclass(slots=True)
class Citing:
    """Collects the citations of one answer, from one part of the context after another."""

    said: Said
    query: str
    documents: Documents
    _found: dict[tuple[int, int], Citation] = field(default_factory=dict)
    _lost: dict[str, Claim] = field(default_factory=dict)
    _quoted: dict[str, Quote] = field(default_factory=dict)
    _quotes_found: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for quote in self.said.quotes:
            self._quoted.setdefault(quote.text, quote)

    def read(self, parts: Iterable[Seen]) -> None:
        """Cites from what the model that answered has read itself: its quotations, and the sentences behind it."""
        terms = told_terms(self.said.words, self.query)
        sentences: list[tuple[Seen, int, int]] = []
        for seen in parts:
            self.quoted_in(seen)
            sentences += [(seen, start, end) for start, end in _sentences_with(terms, self.query, seen.text)]
        texts = [seen.text[start:end] for seen, start, end in sentences]
        for at, claim in _first_claims(supports(self.said, self.query, texts)).items():
            seen, start, end = sentences[at]
            self._add(seen, Place(start, end, "exact", is_whole(seen.text, start, end)), claim)

    def noted(self, chosen: Sequence[Noted], seen: Seen) -> None:
        """Cites sentences that a reader of this part has noted and that the answer rests on."""
        for one in chosen:
            for part in parts_of(one.sentence, seen.text):
                if part.place is None:
                    self._lost.setdefault(part.text, one.claim)
                else:
                    self._add(seen, part.place, one.claim)
        self.quoted_in(seen)

    def quoted_in(self, seen: Seen) -> None:
        """Cites what the answer quotes from this part."""
        pending = [quote for quote in self._quoted if quote not in self._quotes_found and not is_too_short(quote)]
        for quote, place in zip(pending, locate(pending, seen.text), strict=True):
            if place is not None:
                self._quotes_found.add(quote)
                self._add(seen, place, self._quoted[quote].claim)

    def cited(self) -> Cited:
        """Everything that was found, in the order of the answer and of the documents."""
        citations = _within(_MAX_CITED_CHARACTERS, sorted(self._found.values(), key=_order)[:MAX_CITATIONS])
        lost = dict.fromkeys((*self._lost, *(quote.text for quote in self._quoted.values() if self._is_lost(quote))))
        told = [(quote[:_MAX_LOST_CHARACTERS], self._reason(quote, citations)) for quote in [*lost][:MAX_UNLOCATED]]
        return Cited(tuple(citations), tuple(Unlocated(quote=quote, reason=reason) for quote, reason in told))

    def _is_lost(self, quote: Quote) -> bool:
        """Whether a quotation of the answer was not found; a single short word in marks is none."""
        missed = quote.marked and quote.text not in self._quotes_found
        return missed and (" " in quote.text.strip() or not is_too_short(quote.text))

    def _reason(self, quote: str, citations: Iterable[Citation]) -> UnlocatedReason:
        if is_too_short(quote):
            return "too_short"
        if fold(quote).text.strip(" \"'`") in fold(self.query).text:
            return "from_prompt"
        elsewhere = SEPARATOR.join(citation.cited_text for citation in citations)
        return "not_found" if locate([quote], elsewhere)[0] is None else "misattributed"

    def _add(self, seen: Seen, place: Place, claim: Claim) -> None:
        _, start = seen.locate(place.start)
        end = start + place.end - place.start
        if not any(_is_said(known, claim) and start <= at < end for (at, _), known in self._found.items()):
            self._found[start, end] = _citation(seen, self.documents, place, claim)


def _citation(seen: Seen, documents: Documents, place: Place, claim: Claim | None) -> Citation:
    document, start = seen.locate(place.start)
    start -= documents.starts[document]
    return Citation(
        cited_text=seen.text[place.start : place.end],
        document_index=document,
        document_title=documents.names[document],
        start_char_index=start,
        end_char_index=start + place.end - place.start,
        verified=place.verified,
        match=place.match,
        answer_start=claim.start if claim else None,
        answer_end=claim.end if claim else None,
    )


def _is_said(known: Citation, claim: Claim) -> bool:
    """Whether a citation is for a part of that claim: what the claim quotes needs no sentence around it."""
    return claim.start <= (known.answer_start or 0) and (known.answer_end or 0) <= claim.end


def _within(characters: int, citations: Iterable[Citation]) -> list[Citation]:
    """The citations that fit together; one that is too long for what is left is passed over."""
    kept: list[Citation] = []
    for citation in citations:
        if len(citation.cited_text) <= characters:
            kept.append(citation)
            characters -= len(citation.cited_text)
    return kept


def _order(citation: Citation) -> tuple[int, int, int]:
    return citation.answer_start or 0, citation.document_index, citation.start_char_index


def _first_claims(found: Iterable[Support]) -> Mapping[int, Claim]:
    """The passages by number, each with the first claim that it is there for."""
    claims: dict[int, Claim] = {}
    for support in found:
        claims.setdefault(support.passage, support.claim)
    return claims


def _items(note: str) -> Iterator[str]:
    """The sentences of a note, and the items of lists in it."""
    return (item.strip() for sentence in sentences_of(note) for item in _NEXT_ITEM.split(sentence) if item.strip())


def _sentences_with(terms: frozenset[str], query: str, text: str) -> list[tuple[int, int]]:
    """The sentences of a text that hold any of the terms; the question's where none of these stands there."""
    folded = fold(text)
    sought = sorted(terms, key=len, reverse=True)[:_MAX_TERMS]
    hits = [found for term in sought if (found := _hits(term, folded))]
    hits = hits or [found for term in sorted(told_terms(query, "")) if (found := _hits(term, folded))]
    rare = [found for found in hits if len(found) <= _MAX_HITS] or hits[:1]
    return sorted({_sentence(text, at) for found in rare for at in found[:_MAX_HITS]})


def _hits(term: str, folded: Folded) -> list[int]:
    """Where a term begins in the source; one more than counts at most."""
    text, found = folded.text, list[int]()
    at = text.find(term)
    while at >= 0 and len(found) <= _MAX_HITS:
        end = at + len(term)
        inside = (text[at - 1 : at].isalnum() or text[end : end + 1].isalnum()) and not _EAST_ASIAN.match(term)
        if not inside:
            found.append(folded.source(at, end)[0])
        at = text.find(term, end)
    return found


def _sentence(text: str, at: int) -> tuple[int, int]:
    start, end = _between(_SENTENCE_BORDER, text, at)
    if end - start > _LONG or text.count("\n", start, end) > _MAX_PROSE_LINES:
        start, end = _between(_LINE_BORDER, text, at)
    part = text[start:end]
    return start + len(part) - len(part.lstrip()), end - len(part) + len(part.rstrip())


def _between(border: re.Pattern[str], text: str, at: int) -> tuple[int, int]:
    """From the last border before a character to the first behind it; where there is none so near, whole words."""
    first, last = max(0, at - _REACH), min(len(text), at + _REACH)
    before = [found.end() for found in border.finditer(text, first, at)]
    behind = border.search(text, at, last)
    start = before[-1] if before else _near(text, range(first, at + 1)) if first else 0
    return start, behind.start() if behind else _near(text, range(last, at, -1)) if last < len(text) else last


def _near(text: str, places: Sequence[int]) -> int:
    """The first of some places where no word is cut, or at least no character of a reader."""
    blank = next((at for at in places if text[at - 1].isspace() or text[at].isspace()), None)
    return blank if blank is not None else next((at for at in places if is_boundary(text, at)), places[0])

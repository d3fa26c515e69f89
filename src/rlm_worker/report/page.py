"""The page itself: one static file, no script, everything in it escaped by construction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from rlm_worker.citations.segments import Mark, Segment, segments
from rlm_worker.wire.base import timestamp
from rlm_worker.wire.results import RunResult, UnlocatedReason

from .accounts import cost, money, seconds
from .excerpts import Passage
from .map import reading_section
from .markup import Child, element, html, plain
from .reading import Reading
from .style import POLICY, STYLE
from .tables import table_section

_REASONS: Mapping[UnlocatedReason, str] = {
    "not_found": "stands nowhere in what was read",
    "misattributed": "stands elsewhere than it was said to",
    "from_prompt": "is in the question itself",
    "too_short": "is too short to tell it from chance",
}
_MARKS = "\"'\u201c\u201d\u201e\u00ab\u00bb"
_PROMISE = (
    "Quotations were looked up by code: a verified one stands in the source word for word, numbers and denials "
    "included. That it stands there does not show that it supports the answer: read it. A dashed one is a place that "
    "comes near."
)


@dataclass(frozen=True, slots=True)
class Source:
    """A document that the answer cites: its place among the documents, its name, and what is shown of it."""

    index: int
    title: str | None
    passages: Sequence[Passage]


@dataclass(frozen=True, slots=True)
class Report:
    """What a report tells; `asked_at` in seconds since the epoch.

    `sources` are None where the context is gone: then the citations stand alone. `titles` are those of a few documents
    by the character at which each begins, for what was not read.
    """

    question: str
    instructions: str | None
    asked_at: float
    documents: int
    result: RunResult
    sources: Sequence[Source] | None
    reading: Reading
    unread: Sequence[str] = ()

    @property
    def places(self) -> list[Mark]:
        """What the answer's parts are cited for, by the citations' numbers."""
        cited = enumerate(self.result.citations, start=1)
        return [
            Mark(number, one.answer_start, one.answer_end, one.verified)
            for number, one in cited
            if one.answer_start is not None and one.answer_end is not None
        ]


def page(report: Report) -> Iterator[str]:
    """The report as HTML, in pieces."""
    title = html(element("title", f"{plain(report.question)[:80]} · rlm-worker"))
    policy = html(element("meta", http_equiv="Content-Security-Policy", content=POLICY))
    yield f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">{policy}{title}'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f'<meta name="referrer" content="no-referrer"><style>{STYLE}</style></head>\n<body>\n'
    yield html(_head(report))
    for notice in _notices(report.result):
        yield html(notice)
    yield '<div class="pair">'
    yield html(_answer(report))
    yield html(_sources(report))
    yield "</div>\n"
    numbered = enumerate(report.result.citations, start=1)
    rows = {one.row_id: number for number, one in numbered if one.row_id is not None}
    table = table_section(report.result.table, rows)
    reading = reading_section(report.reading, report.result, report.unread)
    for section in (table, _unlocated(report.result), reading):
        yield html(section) if section is not None else ""
    yield html(cost(report.result))
    yield html(_foot(report)) + "\n</body></html>\n"


def _head(report: Report) -> Element:
    asked = timestamp(report.asked_at)[:16].replace("T", " ")
    return element(
        "header",
        element("p", f"rlm-worker · asked {asked} UTC", class_="kicker"),
        element("h1", plain(report.question), dir="auto"),
        _instructions(report.instructions),
        element("ul", *[element("li", text, class_=kind) for text, kind in _facts(report)], class_="facts"),
    )


def _instructions(instructions: str | None) -> Element | None:
    if not instructions:
        return None
    return element("p", "How to answer: ", element("bdi", plain(instructions)), class_="text soft")


def _facts(report: Report) -> Iterator[tuple[str, str | None]]:
    result = report.result
    cited = len(result.citations) + len(result.unlocated)
    verified = sum(one.verified for one in result.citations)
    if cited:
        yield f"{verified} of {cited} citations verified", "good" if verified == cited else "poor"
    elif result.success:
        yield "no citations", "poor"
    read = f"{_percent(result.coverage)} read by a model"
    yield read, "good" if result.coverage >= 1 else "poor" if result.strategy != "repl" else None
    documents = "1 document" if report.documents == 1 else f"{report.documents:,} documents"
    yield f"{report.reading.characters:,} characters in {documents}", None
    yield result.strategy.replace("_", "-") or "no strategy", None
    yield money(result.cost_usd, estimated=result.estimated), None
    yield seconds(result.duration_ms), None
    if result.cache_hit:
        yield "from the cache", None


def _percent(share: float) -> str:
    """A share as it may be said: one that is not whole is never called 100 %."""
    return "100 %" if share >= 1 else f"{int(share * 1_000) / 10:g} %"


def _notices(result: RunResult) -> Iterator[Element]:
    if result.error is not None:
        yield _notice(f"The run failed: {result.error.message}")
    if result.truncated:
        yield _notice("A limit ended the run: the answer is the best that was there by then.")
    for warning in result.warnings:
        yield _notice(warning)


def _notice(text: str) -> Element:
    return element("p", plain(text), class_="notice text", dir="auto")


def _answer(report: Report) -> Element:
    answer = report.result.answer
    if answer is None:
        return element("section", element("h2", "Answer"), element("p", "There is none.", class_="soft"))
    parts: list[Child] = []
    for segment in segments(answer, report.places):
        parts += _marked(segment, ending=True)
    text = element("div", *parts, class_="answer text", dir="auto")
    return element("section", element("h2", "Answer"), text)


def _marked(segment: Segment, *, ending: bool = False, first: frozenset[int] = frozenset()) -> list[Child]:
    """A part of a text, marked where citations cover it; with the links to those of an answer's that end in it."""
    if not segment.marks:
        return [plain(segment.text)]
    verified = any(place.verified for place in segment.marks)
    numbers = " ".join(str(place.number) for place in segment.marks)
    begun = next((place.number for place in segment.marks if place.number in first), None)
    mark = element(
        "mark",
        plain(segment.text),
        class_=None if verified else "near",
        id=f"c{begun}" if begun is not None else None,
        title=f"citation {numbers}" if not ending else None,
        data_citations=numbers,
    )
    links = [_link(place.number) for place in segment.marks] if ending else []
    return [mark, *([element("sup", *links)] if links else [])]


def _link(number: int) -> Element:
    return element("a", str(number), href=f"#c{number}", aria_label=f"citation {number}")


def _sources(report: Report) -> Element:
    heading = element("h2", "Sources")
    if not report.result.citations:
        return element("section", heading, element("p", "The answer cites nothing.", class_="soft"))
    if report.sources is None:
        gone = element("p", "The context is deleted: the citations stand without their surroundings.", class_="soft")
        return element("section", heading, gone, *_alone(report.result))
    return element("section", heading, *[part for source in report.sources for part in _source(source)])


def _source(source: Source) -> Iterator[Element]:
    yield element("h3", element("bdi", plain(source.title or f"Document {source.index + 1}")))
    shown: set[int] = set()
    for passage in source.passages:
        yield _passage(passage, shown)


def _passage(passage: Passage, shown: set[int]) -> Element:
    parts: list[Child] = ["… " if passage.cut_before else None]
    numbers: list[int] = []
    for segment in passage.segments:
        begun = [place.number for place in segment.marks if place.number not in shown]
        # One place has one anchor; those that begin with it are reached by anchors of their own.
        parts += [element("a", id=f"c{number}") for number in begun[1:]]
        parts += _marked(segment, first=frozenset(begun[:1]))
        shown.update(begun)
        numbers += begun
    parts += [" …" if passage.cut_after else None]
    end = passage.start + sum(len(segment.text) for segment in passage.segments)
    cited = ", ".join(str(number) for number in numbers)
    where = element("p", f"[{cited}] characters {passage.start:,} to {end:,}", class_="where")
    return element("div", where, element("p", *parts, class_="text", dir="auto"), class_="passage")


def _alone(result: RunResult) -> Iterator[Element]:
    for number, one in enumerate(result.citations, start=1):
        title = plain(one.document_title or f"Document {one.document_index + 1}")
        where = element(
            "p",
            f"[{number}] ",
            element("bdi", title),
            f", characters {one.start_char_index:,} to {one.end_char_index:,}",
            class_="where",
        )
        mark = element("mark", plain(one.cited_text), class_=None if one.verified else "near", id=f"c{number}")
        yield element("div", where, element("p", mark, class_="text", dir="auto"), class_="passage")


def _unlocated(result: RunResult) -> Element | None:
    if not result.unlocated:
        return None
    rows = [
        element(
            "p", "“", element("bdi", plain(one.quote.strip(_MARKS))), f"” {_REASONS[one.reason]}.", class_="notice text"
        )
        for one in result.unlocated
    ]
    return element("section", element("h2", "Quoted, and not located"), *rows, id="unlocated")


def _foot(report: Report) -> Element:
    models, routing = report.result, report.result.routing
    why = f"{routing.reason[:1].upper()}{routing.reason[1:]}. " if routing is not None and routing.reason else ""
    said = f"Root model {models.root_model}, sub model {models.sub_model}. " if models.root_model else ""
    return element("footer", element("p", _PROMISE), element("p", plain(f"{said}{why}Session {models.session_id}.")))

"""The report: escaped by construction, every citation in its surroundings, what was not read by name."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from rlm_worker.citations.segments import Mark, segments
from rlm_worker.errors import NotFound
from rlm_worker.messages import Span
from rlm_worker.report.accounts import money
from rlm_worker.report.build import report
from rlm_worker.report.excerpts import MARGIN, Window, passage, windows
from rlm_worker.report.markup import element, html, plain
from rlm_worker.report.reading import reading_of_chunks
from rlm_worker.report.source import SourceText, anchors
from rlm_worker.runs.job import Job
from rlm_worker.text.chunks import ChunkBudget
from rlm_worker.text.context import ChunkStream, ContextReader, InlineReader, gather_documents
from rlm_worker.wire.requests import RunConfig
from rlm_worker.wire.results import Citation, RunResult, Unlocated

TEXTS = st.text(alphabet=st.sampled_from("ab \n草é\U0001d4b3\u202e<&\"'"), max_size=400)


class _Page(HTMLParser):
    """What a page holds: its text, its tags, and the marks with the citations that they say they are for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.said.append(data)

    @property
    def text(self) -> str:
        return "".join(self.said)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.tags if found == tag]


class _Gone:
    """The reader of a context that was deleted."""

    def __init__(self, reader: ContextReader) -> None:
        self.manifest = reader.manifest

    async def read(self, start: int, end: int) -> bytes:
        raise NotFound("there is no such context")


def reader_of(*texts: tuple[str | None, str]) -> InlineReader:
    manifest, parts = gather_documents(texts)
    return InlineReader(manifest, b"".join(parts))


def spans_of(reader: ContextReader, characters: int) -> list[Span]:
    async def cut() -> list[Span]:
        return [span async for span, _ in ChunkStream(reader, ChunkBudget(characters)).chunks()]

    return asyncio.run(cut())


def cited(text: str, quote: str, document: int = 0, *, answer: str = "", said: str = "", sure: bool = True) -> Citation:
    start, at = text.index(quote), answer.find(said) if said else -1
    return Citation(
        cited_text=quote,
        document_index=document,
        start_char_index=start,
        end_char_index=start + len(quote),
        verified=sure,
        match="exact" if sure else "approximate",
        answer_start=at if at >= 0 else None,
        answer_end=at + len(said) if at >= 0 else None,
    )


def result_of(answer: str | None, citations: Sequence[Citation] = (), **fields: object) -> RunResult:
    known: dict[str, object] = {"success": answer is not None, "strategy": "map_reduce", "coverage": 1.0, **fields}
    return RunResult.model_validate({"answer": answer, "citations": list(citations), **known})


def page_of(
    result: RunResult,
    reader: ContextReader,
    spans: Sequence[Span] = (),
    statuses: Mapping[int, str] | None = None,
    query: str = "What?",
) -> tuple[str, _Page]:
    manifest = reader.manifest.to_json()
    job = Job(session_id="0" * 32, owner="o", digest="d", query=query, config=RunConfig(), manifest=manifest)

    async def written() -> str:
        return "".join([piece async for piece in report(job, result, reader, spans, statuses or {})])

    text = asyncio.run(written())
    return text, _Page(text)


@given(TEXTS, st.lists(st.tuples(st.integers(0, 400), st.integers(1, 60)), max_size=8))
def test_segments_keep_text(text: str, wanted: list[tuple[int, int]]) -> None:
    places = [Mark(number, start, start + length, True) for number, (start, length) in enumerate(wanted, start=1)]
    found = list(segments(text, places))
    assert "".join(segment.text for segment in found) == text
    for place in places:
        covered = "".join(segment.text for segment in found if place in segment.marks)
        assert covered == text[place.start : place.end]


@given(st.lists(TEXTS, min_size=1, max_size=4), st.data())
def test_source_is_read_by_characters(texts: list[str], data: st.DataObject) -> None:
    reader = reader_of(*[(f"{number}", text) for number, text in enumerate(texts)])
    whole = "".join(texts)
    known = anchors(reader, spans_of(reader, data.draw(st.integers(1, 50))))
    source, wanted = SourceText(reader, known), data.draw(st.lists(st.tuples(st.integers(0, 600), st.integers(1, 90))))

    async def read() -> None:
        for start, length in sorted(wanted):
            begin, end = min(start, len(whole)), min(start + length, len(whole))
            assert await source.read(0, Window(begin, end, ())) == whole[begin:end]

    asyncio.run(read())


@given(st.integers(0, 3_000), st.integers(1, 400), st.data())
def test_passages_show_citations_whole(start: int, length: int, data: st.DataObject) -> None:
    text = data.draw(st.text(alphabet="ab \n", min_size=start + length, max_size=start + length + 3_000))
    place = Mark(1, start, start + length, True)
    (window,) = windows([place], len(text))
    shown = passage(window, text[window.start : window.end], len(text))
    parts = "".join(segment.text for segment in shown.segments)
    assert text[shown.start : shown.start + len(parts)] == parts
    assert "".join(one.text for one in shown.segments if place in one.marks) == text[start : start + length]
    assert len(parts) <= length + 2 * MARGIN


def test_neighbours_share_a_passage() -> None:
    near = [Mark(1, 1_000, 1_050, True), Mark(2, 1_020, 1_100, True), Mark(3, 9_000, 9_010, True)]
    assert [[place.number for place in window.places] for window in windows(near, 10_000)] == [[1, 2], [3]]


@given(st.lists(st.sampled_from(["ok", "none", "failed", "cached", ""]), max_size=30), st.integers(0, 500))
def test_reading_has_no_gaps(statuses: list[str], rest: int) -> None:
    spans = [Span(number, number * 100, number * 100 + 100, 0, 0) for number in range(len(statuses))]
    characters = 100 * len(statuses) + rest
    found = reading_of_chunks(characters, spans, dict(enumerate(statuses)))
    assert sum(stretch.end - stretch.start for stretch in found.stretches) == characters
    unread = sum(stretch.end - stretch.start for stretch in found.unread)
    assert unread == 100 * sum(status in ("failed", "") for status in statuses) + rest


@given(TEXTS)
def test_text_stays_text(text: str) -> None:
    found = _Page(html(element("p", plain(text), title=plain(text))))
    assert [tag for tag, _ in found.tags] == ["p"]
    assert found.text == plain(text) == found.named("p")[0]["title"]
    assert not set(plain(text)) & {"\u202e", "\x00", "\r"}


def test_invisible_is_named() -> None:
    assert plain("a\u202eb\x00c\r\nd\ud800") == "a⟨U+202E⟩b␀c\nd\ufffd"
    joined = "\U0001f469\u200d\U0001f469 \u06cc\u200c\u062e\tend"  # emoji and Persian need their joiners
    assert plain(joined) == joined


def test_hostile_texts_make_no_tags() -> None:
    evil = '"><script>alert(1)</script><img src=x onerror=alert(1)><a href="javascript:alert(1)">'
    text = f"{evil} The gate opens at nine. {evil}"
    answer = f"It opens at nine. {evil}"
    found = cited(text, "The gate opens at nine.", answer=answer, said="It opens at nine.")
    found = found.model_copy(update={"document_title": evil})
    lost = [Unlocated(quote=evil, reason="not_found")]
    result = result_of(answer, [found], unlocated=lost, warnings=[evil], root_model=evil, sub_model=evil)
    written, page = page_of(result, reader_of((evil, text)), query=evil)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "img", "iframe", "object", "link"}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert all(str(link["href"]).startswith("#c") for link in page.named("a") if "href" in link)
    assert page.text.count("alert(1)") >= 3 * 6
    assert "default-src &#x27;none&#x27;" in written or "default-src 'none'" in written


def test_citations_stand_in_surroundings() -> None:
    text = "Nothing here. " * 90 + "The depot closes at six in winter. " + "Nothing there. " * 90
    answer = "It closes at six, in winter."
    crossing = [
        cited(text, "The depot closes at six", answer=answer, said="It closes at six"),
        cited(text, "closes at six in winter.", answer=answer, said="six, in winter", sure=False),
    ]
    lost = [Unlocated(quote="never on Sundays", reason="misattributed")]
    _, page = page_of(result_of(answer, crossing, unlocated=lost), reader_of(("hours.txt", text)))
    assert "1 of 3 citations verified" in page.text
    assert "hours.txt" in page.text
    assert "never on Sundays” stands elsewhere than it was said to" in page.text
    assert {mark["id"] for mark in page.named("mark") if "id" in mark} == {"c1", "c2"}
    targets = {str(link["href"]) for link in page.named("a") if "href" in link}
    assert targets == {"#c1", "#c2"}
    assert re.search(r"Nothing here\. The depot closes at six in winter\. Nothing there\.", page.text)


def test_deleted_context_leaves_citations() -> None:
    text = "The depot closes at six in winter."
    gone = _Gone(reader_of(("hours.txt", text)))
    _, page = page_of(result_of("At six.", [cited(text, "closes at six")]), gone)
    assert "The context is deleted" in page.text
    assert "closes at six" in page.text


def test_unread_parts_are_named() -> None:
    reader = reader_of(("first.txt", "a" * 1_000), ("second.txt", "b" * 1_000))
    spans = spans_of(reader, 500)
    statuses = {0: "ok", 1: "none", 2: "failed"}
    result = result_of("Yes.", coverage=0.9996, chunks=4)
    _, page = page_of(result, reader, spans, statuses)
    assert "first.txt" not in "".join(page.said[-40:])
    assert "second.txt, characters 0 to 500: could not be read" in page.text
    assert "second.txt, characters 500 to 1,000: not read" in page.text
    assert "99.9 % read by a model" in page.text
    assert "100 %" not in page.text


def test_table_is_told() -> None:
    text = "Ann bought 3 pears. Bob bought 4 pears."
    columns = [{"name": "who", "type": "string"}, {"name": "pears", "type": "integer", "unit": "<b>pieces</b>"}]
    row = {"id": "r1", "table": "sales", "values": {"who": "Bob", "pears": 4}}
    query = {"pick": "SELECT row_id FROM sales", "compute": "SELECT sum(pears) AS n FROM picked", "columns": ["n"]}
    table = {
        "schema": {"tables": [{"name": "sales", "columns": columns}]},
        "rowCount": 2,
        "complete": False,
        "rejected": {"unverified": 1},
        "query": {**query, "rows": [[7]]},
        "rows": [row, {"id": "r2", "table": "sales", "values": {"who": "<script>", "pears": None}}],
    }
    cite = cited(text, "Bob bought 4 pears").model_copy(update={"row_id": "r1"})
    _, page = page_of(result_of("At least 7.", [cite], table=table), reader_of(("log.txt", text)))
    assert "2 rows; not everything was read: there may be more. Left out: 1 without a verified quotation." in page.text
    for words in ("compute: SELECT sum(pears) AS n FROM picked", "pears (<b>pieces</b>)", "<script>", "[1]"):
        assert words in page.text
    assert not {tag for tag, _ in page.tags} & {"script", "b"}


def test_failed_run_has_a_page() -> None:
    failed = result_of(None, error={"type": "nothing_read", "message": "no part could be read"}, coverage=0.0)
    _, page = page_of(failed, reader_of((None, "text")))
    assert "The run failed: no part could be read" in page.text
    assert "There is none." in page.text


def test_money_is_told_as_it_is() -> None:
    assert money(0.00144) == "$0.00144"
    assert money(1234.5) == "$1,234.50"
    assert money(0.0) == "$0.00"
    assert money(1e-9) == "less than $0.000001"
    assert money(0.5, estimated=True) == "about $0.50 (part of it estimated)"

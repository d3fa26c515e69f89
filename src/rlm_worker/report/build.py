"""From a run that has ended to its report: citations with their surroundings, read from the context by ranges."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

from rlm_worker.citations.passages import Documents
from rlm_worker.citations.segments import Mark
from rlm_worker.errors import NotFound
from rlm_worker.messages import Span
from rlm_worker.runs.job import Job
from rlm_worker.text.context import ContextReader
from rlm_worker.wire.results import RunResult

from .excerpts import Passage, by_document, passage, windows
from .page import Report, Source, page
from .reading import Reading, Stretch, reading_of_chunks, whole
from .source import SourceText, anchors

_MAX_UNREAD = 20


async def report(
    job: Job, result: RunResult, reader: ContextReader, spans: Sequence[Span], statuses: Mapping[int, str]
) -> AsyncIterator[str]:
    """The page of a run, in pieces; `statuses` are those of the chunks' last events by their numbers."""
    reading = _reading(result, reader, spans, statuses)
    built = Report(
        question=job.query,
        instructions=job.instructions,
        asked_at=job.started_at,
        documents=len(reader.manifest.documents),
        result=result,
        sources=await _sources(result, reader, spans),
        reading=reading,
        unread=_in_words(reading.unread, Documents.of(reader.manifest)),
    )
    for piece in page(built):
        yield piece


def _reading(result: RunResult, reader: ContextReader, spans: Sequence[Span], statuses: Mapping[int, str]) -> Reading:
    characters = reader.manifest.characters
    if spans:
        return reading_of_chunks(characters, spans, statuses)
    return whole(characters) if result.strategy == "direct" and result.coverage >= 1 else Reading(characters)


async def _sources(result: RunResult, reader: ContextReader, spans: Iterable[Span]) -> list[Source] | None:
    """What is shown of each document that is cited; None where the context is not there any more."""
    text, documents = SourceText(reader, anchors(reader, spans)), Documents.of(reader.manifest)
    cited = enumerate(result.citations, start=1)
    places = [
        (one.document_index, Mark(number, one.start_char_index, one.end_char_index, one.verified))
        for number, one in cited
    ]
    try:
        return [
            Source(index, documents.names[index], await _passages(text, documents, index, found))
            for index, found in by_document(places).items()
        ]
    except NotFound:  # a context that was put may go before its sessions
        return None


async def _passages(text: SourceText, documents: Documents, index: int, places: Sequence[Mark]) -> list[Passage]:
    start, characters = documents.starts[index], documents.starts[index + 1] - documents.starts[index]
    return [passage(window, await text.read(start, window), characters) for window in windows(places, characters)]


def _in_words(unread: Sequence[Stretch], documents: Documents) -> list[str]:
    words = [f"{_where(stretch, documents)}: {_what(stretch)}" for stretch in unread[:_MAX_UNREAD]]
    rest = unread[_MAX_UNREAD:]
    missing = sum(stretch.end - stretch.start for stretch in rest)
    return [*words, f"{len(rest):,} more places, {missing:,} characters"] if rest else words


def _what(stretch: Stretch) -> str:
    return "could not be read" if stretch.state == "failed" else "not read"


def _where(stretch: Stretch, documents: Documents) -> str:
    """A stretch of the context in terms of its documents."""
    first, last = documents.at(stretch.start), documents.at(max(stretch.start, stretch.end - 1))
    start, end = stretch.start - documents.starts[first], stretch.end - documents.starts[last]
    if first == last:
        return f"{_name(documents, first)}, characters {start:,} to {end:,}"
    return f"{_name(documents, first)}, from character {start:,}, to {_name(documents, last)}, character {end:,}"


def _name(documents: Documents, index: int) -> str:
    name = documents.names[index]
    return name or f"document {index + 1}"

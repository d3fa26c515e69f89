"""Which rows are the same record, and which chunks keep records whole."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from rlm_worker.citations.passages import Documents, Seen
from rlm_worker.tables.reading import read_json
from rlm_worker.tables.records import (
    Probe,
    chunk_characters,
    count_records,
    form_of,
    halves,
    records_of,
    rest_of,
    row_chunks,
)
from rlm_worker.tables.rows import Row, distinct, in_order
from rlm_worker.tables.verify import verify
from rlm_worker.text.chunks import Chunk, Piece
from tests.unit.tables_world import row, schema_of, told

SCHEMA = schema_of({"name": "who", "type": "string"})
LINES = [f"Date: Feb 02, 2023 || User: {76_000 + at} || Instance: Who was it? And number {at}?\n" for at in range(300)]
TEXT = "".join(LINES)
PROSE = (
    "The harbour was built in the spring of 1887 by people who had come\nfrom the north and who stayed in the town for "
    "as\nlong as the work lasted. It was closed again in 1921, when the\nriver changed its course and left it dry.\n\n"
) * 20


def test_overlapping_evidence_is_one_row() -> None:
    whole, part = row(1, who="a"), replace(row(1, who="b"), end=120, reading=1)
    assert distinct([part, whole]).rows == (whole,)
    assert distinct([whole, part]).duplicates == 1


def test_equal_values_elsewhere_are_two() -> None:
    assert len(distinct([row(1, who="a"), row(2, who="a")]).rows) == 2
    assert len(distinct([row(1, who="a"), replace(row(1, who="a"), document=1)]).rows) == 2
    assert len(distinct([row(1, who="a"), row(1, "visits", who="a")]).rows) == 2


def test_reader_tells_two_apart() -> None:
    one, two = row(1, who="Alice"), row(1, who="Bob")
    again = [replace(found, reading=1) for found in (one, two)]
    kept = distinct([*again, one, two])
    assert {found.values["who"] for found in kept.rows} == {"Alice", "Bob"}
    assert len({found.id for found in kept.rows}) == len(kept.rows) == 2


def test_richer_reading_stays() -> None:
    ann, bob = row(1, who="Ann"), replace(row(1, who="Bob"), reading=2)
    assert {found.values["who"] for found in distinct([ann, replace(ann, reading=2), bob]).rows} == {"Ann", "Bob"}
    long = replace(row(0, who="Ann"), end=90, reading=1)
    short = [
        replace(row(0, who=who), start=start, end=end, reading=2)
        for who, start, end in (("Ann", 0, 30), ("Bob", 31, 60), ("Cid", 61, 90))
    ]
    assert distinct([long, *short]).rows == tuple(short)
    beside = replace(row(0, who="Dan"), start=85, end=120, reading=1)
    assert distinct([long, *short[:2], beside]).duplicates == 2


def test_labels_tell_nothing_apart() -> None:
    one = replace(row(1, who="a"), basis={"who": "derived"})
    assert len(distinct([one, replace(one, values={"who": "b"})]).rows) == 1


def test_ordered_rows_stream() -> None:
    rows = sorted((row(at // 2, who="a") for at in range(100)), key=lambda found: found.place)
    assert list(in_order(iter(rows))) == list(distinct(rows).rows)


def test_row_round_trip() -> None:
    assert Row.from_wire(row(1, who="a").to_wire()) == row(1, who="a")


def read(chunks: list[Chunk], schema_text: str = TEXT) -> list[Row]:
    """Every record of every chunk, as a reader that is never wrong tells it."""
    rows: list[Row] = []
    for number, chunk in enumerate(chunks):
        seen = Seen.of(chunk.pieces, chunk.overlap)
        records = [line for line in seen.text.splitlines() if "User: " in line]
        said = told(*({"quote": line, "who": line.split("User: ")[1][:5]} for line in records))
        documents = Documents([None], [0, len(schema_text)])
        rows += verify(read_json(said, SCHEMA), seen, SCHEMA, documents, chunk=number).rows
    return rows


def overlapped(size: int, overlap: int) -> list[Chunk]:
    """Chunks that end anywhere, each beginning with the end of the one before."""
    pieces = [Piece(0, None, start, TEXT[start : start + size]) for start in range(0, len(TEXT), size)]
    tails = [TEXT[max(0, piece.start - overlap) : piece.start] for piece in pieces]
    return [
        Chunk(at, one.start, one.end, (one,), tail) for at, (one, tail) in enumerate(zip(pieces, tails, strict=True))
    ]


def test_overlap_counts_nothing_twice() -> None:
    aligned = distinct(read(list(row_chunks([Piece(0, None, 0, TEXT)], 2_000)))).rows
    overlapping = distinct(read(overlapped(2_000, 500))).rows
    assert len(aligned) == len(LINES)
    assert [(found.start, found.values) for found in aligned] == [(found.start, found.values) for found in overlapping]


@pytest.mark.parametrize("size", [150, 400, 1_999, 10_000, 100_000])
def test_chunks_end_between_records(size: int) -> None:
    chunks = list(row_chunks([Piece(0, None, 0, TEXT)], size))
    assert "".join(chunk.text for chunk in chunks) == TEXT
    assert all(len(chunk.text) <= size and chunk.text.endswith("\n") for chunk in chunks)


def test_pieces_make_no_difference() -> None:
    pieces = [Piece(0, None, at, TEXT[at : at + 333]) for at in range(0, len(TEXT), 333)]
    assert list(row_chunks(pieces, 2_000)) == list(row_chunks([Piece(0, None, 0, TEXT)], 2_000))


def test_small_documents_share_a_chunk() -> None:
    texts, start, pieces = [f"Record {at} of a file.\n" for at in range(30)], 0, []
    for at, text in enumerate(texts):
        pieces.append(Piece(at, f"{at}.txt", start, text))
        start += len(text)
    chunks = list(row_chunks(pieces, 200))
    assert 2 < len(chunks) < 10
    assert [piece for chunk in chunks for piece in chunk.pieces] == pieces


def test_long_record_is_cut_as_text() -> None:
    text = "word " * 1_000
    chunks = list(row_chunks([Piece(0, None, 0, text)], 500))
    assert "".join(chunk.text for chunk in chunks) == text
    assert all(len(chunk.text) <= 500 for chunk in chunks)


def test_halves_between_records() -> None:
    (chunk,) = row_chunks([Piece(0, None, 0, TEXT)], 100_000)
    one, two = halves(chunk)
    assert one.text + two.text == TEXT
    assert one.text.endswith("\n")
    assert halves(Chunk(0, 0, 1, (Piece(0, None, 0, "a"),))) == (Chunk(0, 0, 1, (Piece(0, None, 0, "a"),)),)


def test_rest_of_a_chunk() -> None:
    pieces = (Piece(0, "a", 0, "one\ntwo\n"), Piece(1, "b", 8, "three\nfour\n"))
    chunk = Chunk(3, 0, 19, pieces, "before ")
    seen = Seen.of(pieces, "before ").text
    for word in ("two", "three", "four"):
        rest = rest_of(chunk, seen.index(word))
        assert rest is not None
        assert rest.text == "one\ntwo\nthree\nfour\n"[rest.start :]
        assert rest.text.startswith(word)
    assert rest_of(chunk, len(seen) - 1) is None


def test_forms_of_records() -> None:
    assert form_of(TEXT) == "lines"
    assert form_of("Name: a\nAge: 3\n\nName: b\nAge: 4\n\n" * 9) == "blocks"
    assert form_of(PROSE) == "sentences"


def test_records_are_counted() -> None:
    assert count_records(TEXT) == 300
    assert count_records("Name: a\nAge: 3\n\nName: b\nAge: 4\n\n" * 9) == 18
    assert count_records(PROSE) == 40
    assert count_records("") == 0


def test_records_are_slices() -> None:
    for text in (TEXT, PROSE, "a\uffffb\uffffc"):
        records = records_of(text)
        assert all(text[found.start : found.end] == found.text for found in records)
        assert all(one.end <= other.start for one, other in pairwise(records))


def test_density_decides_the_size() -> None:
    dense, sparse = Probe(4_000, 40, 2_000), Probe(4_000, 4, 200)
    assert chunk_characters([dense, sparse], 4_000, 50_000) == 6_400
    assert chunk_characters([sparse], 4_000, 50_000) == 50_000
    assert chunk_characters([Probe(4_000, 0, 5)], 4_000, 50_000) == 50_000
    assert chunk_characters([Probe(400, 40, 2_000)], 100, 50_000) == 400

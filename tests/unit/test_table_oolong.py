"""Counting and pairing 400,000 characters by table: exact where labels are, and as wrong as they are where not."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import accumulate

import pytest

from rlm_worker.citations.passages import Documents, Seen
from rlm_worker.messages import Message
from rlm_worker.tables.prompts import line_messages, reading_messages
from rlm_worker.tables.reading import read_json, read_lines
from rlm_worker.tables.records import records_of, row_chunks
from rlm_worker.tables.rows import Row, distinct
from rlm_worker.tables.schema import parse_schema
from rlm_worker.tables.sql import Query, QueryResult, TableDatabase
from rlm_worker.tables.verify import verify
from rlm_worker.text.chunks import Piece
from scripts.local.scripted.calls import ChatCall
from tests.worker.oolong import COUNTING, PAIRS, SCHEMA, Question, TableModel, as_read, entries, f1, text_of

CHARACTERS, SHARE = 400_000, 0.1
QUESTIONS: Mapping[str, Question] = {**COUNTING, **{f"pairs {name}": asked for name, asked in PAIRS.items()}}
DATA = entries(7, CHARACTERS, users=900)
PARSED = parse_schema(SCHEMA)
ANY = QUESTIONS["count"]


def asked(messages: tuple[Message, ...], wrong: float) -> str:
    said = tuple((message.role, message.content) for message in messages)
    reply = TableModel(ANY, wrong)(ChatCall(1, 1, "model", said, {}, {}, ""))
    assert reply is not None
    return reply


@lru_cache(maxsize=4)
def rows(wrong: float, *, lines: bool = False) -> tuple[Row, ...]:
    text = text_of(DATA)
    documents = Documents([None], [*accumulate([len(text)], initial=0)])
    found: list[Row] = []
    for chunk in row_chunks([Piece(0, None, 0, text)], 20_000):
        seen = Seen.of(chunk.pieces)
        if lines:
            records = records_of(seen.text)
            reading = read_lines(asked(line_messages("every line", PARSED.tables[0], records), wrong), PARSED, records)
        else:
            reading = read_json(asked(reading_messages("every line", PARSED, chunk), wrong), PARSED)
        found += verify(reading, seen, PARSED, documents, chunk=chunk.index).rows
    return distinct(found).rows


def answered(question: Question, wrong: float, *, lines: bool = False) -> QueryResult:
    with TableDatabase(PARSED, rows(wrong, lines=lines)) as tables:
        return tables.run(Query(question.pick, question.compute))


@pytest.mark.parametrize("lines", [False, True], ids=["quotes", "lines"])
def test_every_line_is_a_row(*, lines: bool) -> None:
    text = text_of(DATA)
    found = rows(0.0, lines=lines)
    assert [text[row.start : row.end] for row in found] == text.splitlines()


@pytest.mark.parametrize("name", QUESTIONS)
def test_right_labels_are_exact(name: str) -> None:
    question = QUESTIONS[name]
    expected = question.truth(DATA)
    assert expected
    assert [[*row] for row in answered(question, 0.0).rows] == expected


@pytest.mark.parametrize("name", QUESTIONS)
def test_no_error_beyond_labels(name: str) -> None:
    question = QUESTIONS[name]
    assert [[*row] for row in answered(question, SHARE).rows] == question.truth(as_read(DATA, SHARE))


def test_wrong_labels_cost_a_little() -> None:
    wrong = as_read(DATA, SHARE)
    share = sum(one.label != other.label for one, other in zip(DATA, wrong, strict=True)) / len(DATA)
    assert 0.08 < share < 0.12
    (count,), (right,) = answered(ANY, SHARE).rows[0], ANY.truth(DATA)[0]
    assert isinstance(count, int)
    assert isinstance(right, int)
    assert abs(count - right) <= share * len(DATA)
    # Of the third task's few pairs, one label that is wrong takes a user's all.
    for question in (PAIRS["4"], PAIRS["12"]):
        assert 0.5 < f1(answered(question, SHARE).rows, question.truth(DATA)) < 1

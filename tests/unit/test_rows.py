"""Rows of a table as they are kept and taken away: few rows of SQLite, any order of asking, CSV that runs nothing."""

from __future__ import annotations

import csv
import io
import json

import pytest

from rlm_worker.errors import InvalidRequest, NotFound
from rlm_worker.journal.session import SessionJournal
from rlm_worker.journal.tables import RowTable
from rlm_worker.report.rows import RowsForm, wanted_table, written_rows
from rlm_worker.testing import SqliteDatabase
from rlm_worker.wire.results import RunResult
from rlm_worker.wire.tables import TableReport, TableSchema
from tests.unit.test_journal import Counting
from tests.unit.test_session import RowLimit

SCHEMA = TableSchema.model_validate(
    {
        "tables": [
            {"name": "order", "columns": [{"name": "é", "type": "string"}, {"name": "start", "type": "integer"}]},
            {"name": "other", "columns": [{"name": "x", "type": "string"}]},
        ]
    }
)
RESULT = RunResult(success=True, table=TableReport(schema=SCHEMA, row_count=3, complete=True))


def a_row(number: int, value: object = "v", table: str = "order", count: object = 1) -> str:
    cited = {"citedText": "v", "documentIndex": 0, "startCharIndex": number, "endCharIndex": number + 1}
    row = {"id": f"r{number}", "table": table, "values": {"é": value, "start": count}, "citation": cited}
    return json.dumps(row, ensure_ascii=False)


def exported(rows: list[str], table: str = "order", form: RowsForm = "csv") -> str:
    return "".join(written_rows(rows, wanted_table(RESULT, table, form), form))


def test_rows_share_rows() -> None:
    """50,000 rows of a table are a handful of SQLite's, each of which is billed."""
    database = Counting()
    rows = SessionJournal(database).rows()
    assert rows.replace(a_row(number) for number in range(50_000)) == 50_000
    assert database.rows <= 30


def test_rows_come_back() -> None:
    rows = SessionJournal(RowLimit()).rows()
    lines = [a_row(number, "long " * 300) for number in range(1_000)]
    rows.replace(lines)
    assert list(rows.lines()) == lines
    assert list(rows.lines([0, 1, 500, 999])) == [lines[0], lines[1], lines[500], lines[999]]


def test_long_row_is_kept() -> None:
    rows = SessionJournal(RowLimit()).rows()
    lines = [a_row(0), a_row(1, "\U0001f600" * 900_000), a_row(2)]
    rows.replace(lines)
    assert list(rows.lines()) == lines
    rows.replace(lines[:1])
    assert list(rows.lines()) == lines[:1]


def test_earlier_session_gains_rows() -> None:
    """A session of a version that knew no tables goes on."""
    database = SqliteDatabase()
    journal = SessionJournal(database)
    journal.set_fact("status", "running")
    for table in ("row_blocks", "queries"):
        database.execute(f"DROP TABLE IF EXISTS {table}")
    rows = SessionJournal(database).rows()
    rows.replace([a_row(1)])
    assert list(rows.lines()) == [a_row(1)]


def test_begun_query_is_counted() -> None:
    rows: RowTable = SessionJournal(SqliteDatabase()).rows()
    rows.start_query(1, "SELECT 1")
    rows.start_query(1, "SELECT 1")
    known = rows.query(1)
    assert known is not None
    assert (known.starts, known.outcome) == (2, None)
    rows.finish_query(1, "{}")
    rows.start_query(1, "SELECT 2")
    known = rows.query(1)
    assert known is not None
    assert (known.statements, known.starts, known.outcome) == ("SELECT 2", 1, None)


@pytest.mark.parametrize("value", ['=HYPERLINK("http://x")', "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_formula_is_text(value: str) -> None:
    (_, (_, cell, *_)) = csv.reader(io.StringIO(exported([a_row(1, value)]), newline=""))
    assert cell == f"'{value}"


def test_negative_number_stays_number() -> None:
    (_, (_, _, number, *_)) = csv.reader(io.StringIO(exported([a_row(1, count=-5)]), newline=""))
    assert number == "-5"


@pytest.mark.parametrize("value", ['"a", b', "two\nlines", "'; DROP TABLE calls;--", "é, ü"])
def test_csv_gives_back_values(value: str) -> None:
    text = exported([a_row(1, value)])
    heading, row = csv.reader(io.StringIO(text, newline=""))
    assert heading == ["id", "é", "start", "document", "_start", "end"]
    assert row == ["r1", value, "1", "0", "1", "2"]
    assert text.endswith("\r\n")


def test_lines_hold_all_tables() -> None:
    rows = [a_row(1), a_row(2, table="other")]
    assert exported(rows, "", "ndjson") == "".join(f"{row}\n" for row in rows)
    assert exported(rows, "other", "ndjson") == rows[1] + "\n"


def test_csv_needs_one_table() -> None:
    with pytest.raises(InvalidRequest, match="order, other"):
        wanted_table(RESULT, "", "csv")
    with pytest.raises(InvalidRequest, match="is none of"):
        wanted_table(RESULT, "calls", "ndjson")


def test_no_table_no_rows() -> None:
    with pytest.raises(NotFound):
        wanted_table(RunResult(success=True), "", "ndjson")

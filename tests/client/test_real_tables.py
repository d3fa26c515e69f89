"""Rows by the command line and by the client, from the real Worker in the real runtime."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from rlm_client import RLMClient
from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.model import ScriptedModel
from tests.client.test_real_cli import _command
from tests.worker.table_world import SCHEMA, Script, counted, counting, records, text_of

pytestmark = pytest.mark.worker
LINES = records(60, seed=60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "asked.log").write_text(text_of(LINES), encoding="utf-8")
    (tmp_path / "SCHEMA.json").write_text(json.dumps(SCHEMA), encoding="utf-8")
    return tmp_path


def test_extract_prints_csv(deployment: DevProcess, scripted: ScriptedModel, folder: Path) -> None:
    scripted.rules = [Script()]
    process = _command(deployment, folder, "extract", "SCHEMA.json", "asked.log")
    written, notes = process.communicate()
    assert process.returncode == 0, notes
    heading, *rows = csv.reader(io.StringIO(written, newline=""))
    assert heading == ["id", "day", "user", "kind", "document", "start", "end"]
    assert [(row[1], row[3]) for row in rows] == [(line.day, line.kind) for line in LINES]
    assert "Rows: 60 in questions." in notes


def test_asked_rows_are_written(deployment: DevProcess, scripted: ScriptedModel, folder: Path) -> None:
    scripted.rules = [Script(counting("place"))]
    options = ("--table", "SCHEMA.json", "--rows", "rows.ndjson", "-q")
    process = _command(deployment, folder, "ask", "How many about places?", "asked.log", *options)
    answer, notes = process.communicate()
    assert (process.returncode, answer) == (0, f"{counted(LINES, 'place')}\n"), notes
    rows = [json.loads(line) for line in (folder / "rows.ndjson").read_text(encoding="utf-8").splitlines()]
    assert [row["values"]["user"] for row in rows] == [line.user for line in LINES]


def test_client_reads_rows(deployment: DevProcess, scripted: ScriptedModel) -> None:
    scripted.rules = [Script(counting("number"))]
    with RLMClient(deployment.url) as client:
        result = client.run(text_of(LINES), "How many numbers?", {"strategy": "table"})
        assert result.table is not None
        assert result.table.query is not None
        assert result.table.query.dicts() == [{"questions": counted(LINES, "number")}]
        assert [row.values["kind"] for row in client.rows(result)] == [line.kind for line in LINES]

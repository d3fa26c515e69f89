"""A model's SQL in the real workerd: Pyodide's own SQLite computes, and refuses, what the tests in CPython say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx
import pytest

from rlm_worker.tables.rows import Row
from rlm_worker.tables.schema import Schema, parse_schema
from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.model import ScriptedModel
from tests.unit.tables_world import REFUSED_COMPUTES, REFUSED_PICKS, ROWS, SCHEMA, row

pytestmark = pytest.mark.worker

FRONT = Path(__file__).with_name("querying_entry.py")
ALL, COUNT = "SELECT row_id FROM calls", "SELECT count(*) FROM picked"

Answers = Sequence[Mapping[str, object]]


@pytest.fixture(scope="module")
def url(scripted_server: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with DevProcess(tmp_path_factory.mktemp("querying"), ai=scripted_server.url, front=FRONT) as process:
        yield process.url


def answers(url: str, *queries: tuple[str, str], schema: Schema = SCHEMA, rows: Sequence[Row] = ROWS) -> Answers:
    body = {
        "schema": schema.to_wire(),
        "rows": [found.to_wire() for found in rows],
        "queries": [{"pick": pick, "compute": compute} for pick, compute in queries],
    }
    told: Answers = httpx.post(f"{url}/query", json=body, timeout=300).raise_for_status().json()
    return told


def test_models_sql_is_refused(url: str) -> None:
    # What is deep or long is refused by other limits of the older SQLite there: refused all the same.
    picks = answers(url, *((pick, COUNT) for pick, _ in REFUSED_PICKS if pick.isprintable()))
    assert [told.get("cause") for told in picks] == [cause for pick, cause in REFUSED_PICKS if pick.isprintable()]
    computes = answers(url, *((ALL, compute) for compute, _ in REFUSED_COMPUTES))
    assert [told.get("cause") for told in computes] == [cause for _, cause in REFUSED_COMPUTES]


def test_results_are_the_same(url: str) -> None:
    pairs = "SELECT a.row_id, b.row_id FROM calls a JOIN calls b ON a.row_id < b.row_id"
    sums = "SELECT sum(price), avg(price), price + price + price, strftime('%Y', day) FROM picked"
    counted, summed, paired = answers(url, (ALL, COUNT), (ALL, sums), (pairs, COUNT))
    assert counted == {"rows": [[300]], "picked": 300}
    assert summed["rows"] == [[30, 0.1, 0.3, "2023"]]
    assert paired == {"rows": [[44_850]], "picked": 44_850}


def test_memory_of_a_query_ends(url: str) -> None:
    schema = parse_schema({"tables": [{"name": "calls", "columns": [{"name": "text", "type": "string"}]}]})
    rows = [row(at, text="x" * 1_000) for at in range(2_000)]
    bomb = "SELECT a.text || b.text || a.row_id AS x FROM picked a, picked b ORDER BY x"
    bombed, counted = answers(url, (ALL, bomb), (ALL, COUNT), schema=schema, rows=rows)
    assert bombed["cause"] in {"too_large", "too_heavy"}
    assert counted["rows"] == [[2_000]]


def test_many_rows_in_memory(url: str) -> None:
    schema = parse_schema({"tables": [{"name": "calls", "columns": [{"name": "text", "type": "string"}]}]})
    rows = [row(at, text=f"text {at % 7}") for at in range(50_000)]
    (told,) = answers(url, (ALL, "SELECT text, count(*) FROM picked GROUP BY text"), schema=schema, rows=rows)
    assert told["picked"] == 50_000
    assert told["rows"] == [[f"text {at}", 7_143 if at < 6 else 7_142] for at in range(7)]

"""The usage query: the columns that ops rely on, weighed by the sampling."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from scripts.cloud.usage import usage_sql, usage_table


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("iterations", "double1"),
        ("sub_calls", "double2"),
        ("cost_usd", "double3"),
        ("neurons", "double5"),
        ("input_tokens", "double6"),
        ("output_tokens", "double7"),
    ],
)
def test_sums_are_weighed(name: str, column: str) -> None:
    assert f"SUM(_sample_interval * {column}) AS {name}" in usage_sql("key", 7)


@pytest.mark.parametrize(
    ("group", "column"),
    [("key", "index1"), ("status", "blob2"), ("strategy", "blob3"), ("root", "blob4"), ("sub", "blob5")],
)
def test_groups_name_columns(group: str, column: str) -> None:
    sql = usage_sql(group, 30)
    assert f"{column} AS label" in sql
    assert "INTERVAL '30' DAY" in sql


def test_table_adds_up() -> None:
    rows = [{"label": "a", "runs": "2", "cost_usd": 0.25}, {"label": "b", "runs": 3, "cost_usd": 0.5}]
    shown = io.StringIO()
    Console(file=shown, width=200).print(usage_table([dict(row) for row in rows], "key", 7))
    assert "5 runs, $0.7500" in shown.getvalue()

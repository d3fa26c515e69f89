"""Schemas of tables: what is taken, what is refused and where, and what a model is held to."""

from __future__ import annotations

import pytest

from rlm_worker.errors import InvalidRequest
from rlm_worker.json_schema.schema import read_schema
from rlm_worker.tables.schema import Schema, parse_schema
from tests.unit.tables_world import schema_of


def refused(*columns: object, **table: object) -> list[str]:
    with pytest.raises(InvalidRequest) as caught:
        parse_schema({"tables": [{"name": "calls", "columns": list(columns), **table}]})
    return [problem.path for problem in caught.value.problems]


def column(**changed: object) -> dict[str, object]:
    return {"name": "day", "type": "date", **changed}


def test_any_name() -> None:
    schema = schema_of(column(name="order"), column(name="é"), column(name="日付 (utc)"), column(name='a"b'))
    assert [one.name for one in schema.tables[0].columns] == ["order", "é", "日付 (utc)", 'a"b']


def test_wire_round_trip() -> None:
    schema = schema_of(column(required=True, description="when"), column(name="k", type="enum", enum=["a", "b"]))
    assert parse_schema(schema.to_wire()) == schema


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        (column(type="list"), "table.schema.tables.0.columns.0.type"),
        (column(type={}), "table.schema.tables.0.columns.0.type"),
        (column(name=" "), "table.schema.tables.0.columns.0.name"),
        (column(name="a\nb"), "table.schema.tables.0.columns.0.name"),
        (column(name="ROW_ID"), "table.schema.tables.0.columns.0.name"),
        (column(required=1), "table.schema.tables.0.columns.0.required"),
        (column(columns=[]), "table.schema.tables.0.columns.0.columns"),
        (column(enum=["a"]), "table.schema.tables.0.columns.0.enum"),
        (column(type="enum"), "table.schema.tables.0.columns.0.enum"),
        (column(type="enum", enum=["a", "A"]), "table.schema.tables.0.columns.0.enum"),
        (column(type="enum", enum=[str(at) for at in range(51)]), "table.schema.tables.0.columns.0.enum"),
        ("day", "table.schema.tables.0.columns.0"),
    ],
)
def test_refused_at_its_path(wrong: object, path: str) -> None:
    assert refused(wrong) == [path]


def test_all_problems_told() -> None:
    assert len(refused(column(type="x"), column(name="b", type="y"), name="sqlite_x")) == 3


def test_few_tables_and_columns() -> None:
    assert refused(*[column(name=f"c{at}") for at in range(13)]) == ["table.schema.tables.0.columns"]
    with pytest.raises(InvalidRequest):
        parse_schema({"tables": [{"name": f"t{at}", "columns": [column()]} for at in range(4)]})


def test_no_name_twice() -> None:
    assert refused(column(), column(name="DAY")) == ["table.schema.tables.0.columns"]
    assert refused(column(name="é"), column(name="e\u0301")) == ["table.schema.tables.0.columns"]


def test_digest_names_the_schema() -> None:
    assert schema_of(column()).digest() == schema_of(column()).digest()
    assert schema_of(column()).digest() != schema_of(column(description="when it was")).digest()


def test_reply_schema_is_one() -> None:
    schema = schema_of(column(), column(name="kind", type="enum", enum=["a", "b"], required=True))
    held = read_schema(schema.reply_schema(), "schema")
    assert not held.problem({"rows": [{"quote": "on Monday", "day": None, "kind": "a"}]})
    assert held.problem({"rows": [{"quote": "on Monday", "day": None, "kind": "c"}]})


def test_quote_as_a_column() -> None:
    schema = schema_of(column(name="Quote"), column(name="table"))
    assert (schema.quote_key, schema.table_key) == ("quote_", "table_")


def test_several_tables_are_told_apart() -> None:
    tables = [{"name": name, "columns": [column()]} for name in ("calls", "visits")]
    schema: Schema = parse_schema({"tables": tables})
    held = read_schema(schema.reply_schema(), "schema")
    assert not held.problem({"rows": [{"table": "visits", "quote": "q", "day": None}]})
    assert held.problem({"rows": [{"table": "others", "quote": "q", "day": None}]})

"""A model's SQL on a copy of the rows: what it computes, and what it may not do."""

from __future__ import annotations

import pytest

from rlm_worker.errors import InvalidRequest
from rlm_worker.strategies.table.options import check_table
from rlm_worker.tables.schema import parse_schema
from rlm_worker.tables.sql import (
    MAX_RESULT_ROWS,
    Query,
    QueryError,
    QueryResult,
    TableDatabase,
    parse_query,
    table_definitions,
)
from rlm_worker.wire.tables import TableOptions
from tests.unit.tables_world import COLUMNS, REFUSED_COMPUTES, REFUSED_PICKS, ROWS, SCHEMA, queried, row

ALL = "SELECT row_id FROM calls"


def run(pick: str = ALL, compute: str = "SELECT count(*) AS n FROM picked") -> QueryResult:
    return queried(SCHEMA, ROWS, pick, compute)


def refused(pick: str = ALL, compute: str = "SELECT count(*) AS n FROM picked") -> QueryError:
    with pytest.raises(QueryError) as caught:
        run(pick, compute)
    return caught.value


def test_picked_rows_are_the_lineage() -> None:
    result = run("SELECT row_id FROM calls WHERE kind = 'Entity' AND sent")
    assert result.rows == ((50,),)
    assert [ids for (ids,) in result.picked] == [found.id for found in ROWS[::6]]


def test_second_longest() -> None:
    result = run(ALL, 'SELECT "order" FROM picked ORDER BY "order" DESC LIMIT 1 OFFSET 1')
    assert (result.columns, result.rows) == (("order",), ((298,),))


def test_sums_are_exact() -> None:
    assert run(ALL, "SELECT sum(price), avg(price), total(price), price + price + price FROM picked").rows == (
        (30, 0.1, 30, 0.3),
    )
    assert run(ALL, "SELECT sum(price) = 30, sum(price) > 29.9 FROM picked").rows == ((1, 1),)
    running = "SELECT x FROM (SELECT row_id, sum(price) OVER (ORDER BY row_id) AS x FROM picked) LIMIT 3"
    assert run(ALL, running).rows == ((0.1,), (0.2,), (0.3,))


def test_nothing_is_no_sum() -> None:
    result = run('SELECT row_id FROM calls WHERE "order" > 1000', "SELECT sum(price), count(*) FROM picked")
    assert result.rows == ((None, 0),)


def test_all_pairs_of_many() -> None:
    pick = "SELECT a.row_id, b.row_id FROM calls a JOIN calls b ON a.row_id < b.row_id"
    result = run(pick, 'SELECT a_order, "b_é" FROM picked')
    assert (len(result.picked), len(result.rows), result.truncated) == (44_850, MAX_RESULT_ROWS, True)
    assert run(pick).rows == ((44_850,),)
    assert result.picked[0] == (ROWS[0].id, ROWS[1].id)


def test_pairs_of_groups() -> None:
    compute = (
        "WITH u AS (SELECT \"order\" % 10 AS user, sum(kind = 'entity') AS n FROM picked GROUP BY 1) "
        "SELECT a.user, b.user FROM u AS a JOIN u AS b ON a.user < b.user WHERE a.n >= 10 AND b.n >= 10"
    )
    assert len(run(ALL, compute).rows) == 45


def test_pick_of_two_tables() -> None:
    tables = [{"name": name, "columns": [{"name": "who", "type": "string"}]} for name in ("calls", "visits")]
    schema = parse_schema({"tables": tables})
    rows = [row(1, who="a"), row(2, "visits", who="a"), row(3, "visits", who="b")]
    pairs = "SELECT c.row_id, v.row_id FROM calls c JOIN visits v ON c.who = v.who"
    assert queried(schema, rows, pairs, "SELECT a_who, b_who FROM picked").rows == (("a", "a"),)
    with pytest.raises(QueryError, match="one table"):
        queried(schema, rows, "SELECT row_id FROM calls UNION SELECT row_id FROM visits")


PAIRS = "SELECT a.row_id, b.row_id FROM calls a JOIN calls b ON a.row_id < b.row_id"
ONE = {"tables": [{"name": "calls", "columns": COLUMNS}]}
PEOPLE = {"name": "people", "columns": [{"name": "age", "type": "integer"}, {"name": "name", "type": "string"}]}
TWO = {"tables": [*ONE["tables"], PEOPLE]}


def asked(schema: object, pick: str | None, compute: str) -> TableOptions:
    return TableOptions.model_validate({"schema": schema, "pick": pick, "compute": compute})


@pytest.mark.parametrize(
    ("schema", "pick", "compute"),
    [
        (ONE, None, "SELECT count(*) FROM picked"),
        (ONE, PAIRS, 'SELECT count(*), min(a_kind), max("b_order") FROM picked'),
        (ONE, f"SELECT * FROM ({PAIRS})", "SELECT min(a_kind) FROM picked"),
        (TWO, "SELECT row_id FROM people", "SELECT max(age) FROM picked"),
        (TWO, "SELECT p.row_id, c.row_id FROM calls c, people p", "SELECT a_age, b_kind FROM picked"),
        (TWO, "SELECT c.row_id, p.row_id FROM people p, calls c", "SELECT a_kind, b_age FROM picked"),
        (TWO, "SELECT p.row_id FROM people p, calls c WHERE c.kind = p.name", "SELECT max(age) FROM picked"),
        (
            TWO,
            "WITH x AS (SELECT row_id FROM people), y AS (SELECT row_id FROM calls) SELECT * FROM y, x",
            "SELECT a_kind, b_age FROM picked",
        ),
        (ONE, None, "SELECT \"é\" || 'x', sum(length(replace(\"é\", 'a', 'b'))) FROM picked"),
    ],
)
def test_statements_fit_the_schema(schema: object, pick: str | None, compute: str) -> None:
    check_table(asked(schema, pick, compute))


@pytest.mark.parametrize(
    ("schema", "pick", "compute", "where"),
    [
        (ONE, PAIRS, "SELECT min(kind) FROM picked", "table.compute"),
        (ONE, None, "SELECT a_kind FROM picked", "table.compute"),
        (ONE, "SELECT row_id, row_id, row_id FROM calls", "SELECT 1", "table.pick"),
        (ONE, "SELECT 1", "SELECT 1", "table.pick"),
        (TWO, "SELECT row_id FROM people", "SELECT kind FROM picked", "table.compute"),
        (ONE, "SELECT random()", "SELECT 1", "table.pick"),
        (ONE, "SELECT ? FROM calls", "SELECT 1", "table.pick"),
    ],
)
def test_statements_miss_the_schema(schema: object, pick: str | None, compute: str, where: str) -> None:
    with pytest.raises(InvalidRequest, match=where):
        check_table(asked(schema, pick, compute))


def test_empty_pick_has_columns() -> None:
    pick = "SELECT a.row_id, b.row_id FROM calls a JOIN calls b ON a.row_id < b.row_id WHERE 0"
    assert run(pick, "SELECT count(*), min(a_kind) FROM picked").rows == ((0, None),)
    assert "a_kind" in str(refused(pick, "SELECT kind FROM picked"))
    people = "SELECT row_id FROM people"
    assert queried(parse_schema(TWO), ROWS, people, "SELECT count(*), max(age) FROM picked").rows == ((0, None),)


def test_values_are_no_sql() -> None:
    result = run("SELECT row_id FROM calls WHERE \"é\" = '''; DROP TABLE calls;--'", 'SELECT "é" FROM picked')
    assert result.rows == (("'; DROP TABLE calls;--",),)
    assert run().rows == ((300,),)


@pytest.mark.parametrize(("pick", "cause"), REFUSED_PICKS)
def test_no_such_pick(pick: str, cause: str) -> None:
    error = refused(pick)
    assert (error.cause, error.statement) == (cause, "pick")


@pytest.mark.parametrize(("compute", "cause"), REFUSED_COMPUTES)
def test_no_such_compute(compute: str, cause: str) -> None:
    error = refused(ALL, compute)
    assert (error.cause, error.statement) == (cause, "compute")


def test_memory_has_an_end() -> None:
    wide = [row(at, order=at, é="x" * 1_000, kind=None, price=None, day=None, sent=None) for at in range(2_000)]
    with TableDatabase(SCHEMA, wide) as tables:
        with pytest.raises(QueryError) as caught:
            tables.run(Query(ALL, 'SELECT a."é" || b."é" || a.row_id AS x FROM picked a, picked b ORDER BY x'))
        assert caught.value.cause in {"too_large", "too_heavy"}
        assert tables.run(Query(ALL, "SELECT count(*) FROM picked")).rows == ((2_000,),)


def test_long_texts_are_steps() -> None:
    digits = ", ".join(f"({digit})" for digit in range(10))
    grown = "replace(replace('xxxxxxxxxx', 'x', 'yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy'), 'y', {})"
    tens = "'" + "z" * 100 + "' || d.x"
    compute = (
        f"WITH d(x) AS (VALUES {digits}) SELECT sum(length({grown.format(tens)})) FROM d, d AS b, d AS c, "
        "d AS e, d AS f, d AS g"
    )
    assert refused(ALL, compute).cause == "too_heavy"
    check_table(asked(ONE, None, compute))
    longer = compute.replace("z" * 100, "z" * 1_000)
    assert refused(ALL, longer).cause == "too_large"


def test_charged_functions_are_sqlites() -> None:
    told = "SELECT replace('aXa', 'X', 2.5), instr('abc', 'c'), 'A' LIKE 'a%', 'a%' LIKE 'a!%' ESCAPE '!', 'A' GLOB 'a'"
    assert run(ALL, f"{told} FROM picked LIMIT 1").rows == (("a2.5a", 3, 1, 1, 0),)
    texts = "SELECT trim(' a '), trim('xax', 'x'), ltrim(' a'), rtrim('ax', 'x'), length('é'), length(NULL), length(12)"
    assert run(ALL, f"{texts} FROM picked LIMIT 1").rows == (("a", "a", "a", "a", 1, None, 2),)


def test_errors_can_be_mended() -> None:
    assert "order, é, kind" in str(refused("SELECT duration FROM calls"))
    assert "picked has row_id" in str(refused(ALL, "SELECT duration FROM picked"))
    assert "single quotes" in str(refused('SELECT row_id FROM calls WHERE kind = "location"'))
    assert "double quotes" in str(refused(ALL, "SELECT order FROM picked"))
    assert "group before you join" in str(refused("SELECT count(*) FROM calls a, calls b, calls c, calls d, calls e"))


def test_empty_pick_is_looked_into() -> None:
    result = run("SELECT row_id FROM calls WHERE kind = 'locaton'")
    assert (result.rows, result.hints) == (
        ((0,),),
        ("no row has calls.kind = 'locaton'; the nearest are 'location' (200)",),
    )
    assert "'n299'" not in run("SELECT row_id FROM calls WHERE \"é\" LIKE '%n999%'").hints[0]
    assert run("SELECT row_id FROM calls WHERE kind = 'entity' AND price > 3").hints == ()


def test_partial_dates_have_no_day() -> None:
    result = run(ALL, "SELECT strftime('%Y', day) AS y, strftime('%m', day) AS m, count(*) FROM picked GROUP BY 1, 2")
    assert set(result.rows) == {("2023", None, 150), ("2023", "05", 150)}
    assert run("SELECT row_id FROM calls WHERE date(day) IS NULL").rows == ((150,),)
    assert run("SELECT row_id FROM calls WHERE date(day, '+1 month') >= '2023-06-27'").rows == ((10,),)


def test_database_is_used_again() -> None:
    with TableDatabase(SCHEMA, ROWS) as tables:
        for _ in range(3):
            with pytest.raises(QueryError):
                tables.run(Query(ALL, "SELECT x FROM picked"))
            assert tables.run(Query(ALL, "SELECT count(*) FROM picked")).rows == ((300,),)


def test_window_and_common_tables() -> None:
    compute = "WITH u AS (SELECT kind, count(*) AS n FROM picked GROUP BY kind) SELECT count(*) FROM u"
    assert run(ALL, compute).rows == ((2,),)
    ranked = "SELECT kind, rank() OVER (ORDER BY count(*) DESC) AS r FROM picked GROUP BY kind ORDER BY r"
    assert run(ALL, ranked).rows == (("location", 1), ("entity", 2))


def test_documents_have_names() -> None:
    with TableDatabase(SCHEMA, ROWS[:3], document_names=["a.txt"]) as tables:
        query = Query("SELECT row_id FROM calls WHERE source_document = 'a.txt'", "SELECT count(*) FROM picked")
        assert tables.run(query).rows == ((3,),)


@pytest.mark.parametrize(
    "reply",
    [
        '{"pick": "SELECT 1", "compute": "SELECT 2"}',
        'Sure!\n```json\n{"pick": "SELECT 1", "compute": "SELECT 2"}\n```',
        "```sql\nSELECT 1\n```\nand\n```sql\nSELECT 2\n```",
        "pick: SELECT 1\ncompute: SELECT 2",
    ],
)
def test_queries_in_any_dress(reply: str) -> None:
    assert parse_query(reply) == Query("SELECT 1", "SELECT 2")


@pytest.mark.parametrize(
    "reply", ["", "\n" * 100_000, "I cannot.", '{"pick": "SELECT 1"}', '{"pick": 1, "compute": 2}']
)
def test_no_query(reply: str) -> None:
    with pytest.raises(QueryError):
        parse_query(reply)


def test_definitions_tell_the_columns() -> None:
    told = table_definitions(SCHEMA)
    assert '"é" TEXT' in told
    assert "'location', 'entity'" in told
    assert '"price" REAL -- in USD' in told

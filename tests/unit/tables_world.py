"""What the tests of tables share: a schema, a context, and a reader's reply held against it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from rlm_worker.citations.passages import Documents, Seen
from rlm_worker.tables.reading import read_json
from rlm_worker.tables.rows import Row
from rlm_worker.tables.schema import Schema, parse_schema
from rlm_worker.tables.sql import Query, QueryResult, TableDatabase
from rlm_worker.tables.verify import Verified, verify
from rlm_worker.text.chunks import Piece


def schema_of(*columns: Mapping[str, object], name: str = "calls") -> Schema:
    return parse_schema({"tables": [{"name": name, "columns": list(columns)}]})


def told(*rows: Mapping[str, object]) -> str:
    return json.dumps({"rows": list(rows)}, ensure_ascii=False)


def verified(
    text: str, reply: str, schema: Schema, *, question: str = "", start: int = 0, chunk: int = 0, cut: bool = False
) -> Verified:
    """What stands of a reply about a text, which begins at `start` of its document."""
    seen = Seen.of([Piece(0, None, start, text)])
    reading = read_json(reply, schema, cut=cut)
    return verify(reading, seen, schema, Documents([None], [0, start + len(text)]), question=question, chunk=chunk)


def row(number: int, table: str = "calls", **values: object) -> Row:
    """A row whose evidence stands apart from that of all others."""
    basis = dict.fromkeys(values, "verbatim")
    return Row(table, 0, number * 100, number * 100 + 50, values, values, basis)  # type: ignore[arg-type] # as written


def queried(
    schema: Schema, rows: Sequence[Row], pick: str, compute: str = "SELECT count(*) AS n FROM picked"
) -> QueryResult:
    with TableDatabase(schema, rows) as tables:
        return tables.run(Query(pick, compute))


# What models may not write, and the causes that they are told; for the tests in CPython and in workerd.
COLUMNS: list[Mapping[str, object]] = [
    {"name": "order", "type": "integer"},
    {"name": "é", "type": "string"},
    {"name": "kind", "type": "enum", "enum": ["location", "entity"]},
    {"name": "price", "type": "decimal", "unit": "USD"},
    {"name": "day", "type": "date"},
    {"name": "sent", "type": "boolean"},
]
SCHEMA = parse_schema({"tables": [{"name": "calls", "columns": COLUMNS}]})
ROWS = [
    row(
        at,
        order=at,
        é=f"n{at}" if at else "'; DROP TABLE calls;--",
        kind="location" if at % 3 else "entity",
        price=0.1,
        day="2023" if at % 2 else f"2023-05-{at % 28 + 1:02}",
        sent=at % 2 == 0,
    )
    for at in range(300)
]
REFUSED_PICKS: list[tuple[str, str]] = [
    ("SELECT row_id FROM calls; DROP TABLE calls", "denied"),
    ("DELETE FROM calls", "denied"),
    ("WITH x AS (SELECT 1) DELETE FROM calls", "syntax"),
    ("WITH x AS (SELECT 1) INSERT INTO calls SELECT * FROM calls", "denied"),
    ("PRAGMA table_info(calls)", "denied"),
    ("ATTACH 'x' AS y", "denied"),
    ("EXPLAIN SELECT row_id FROM calls", "denied"),
    ("SELECT name FROM sqlite_master", "denied"),
    ("SELECT count(*) FROM sqlite_master", "denied"),
    ("SELECT count(*) FROM sqlite_schema", "denied"),
    ("SELECT * FROM pragma_table_info('calls')", "denied"),
    ("SELECT value FROM json_each('[1]')", "denied"),
    ("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c", "denied"),
    ("SELECT row_id FROM calls WHERE day > date('now')", "denied"),
    ("SELECT row_id FROM calls WHERE day > date(' NOW ', '+1 day')", "denied"),
    ("SELECT row_id FROM calls WHERE day > date('n' || 'ow')", "denied"),
    ("SELECT row_id FROM calls WHERE day > datetime()", "denied"),
    ("SELECT row_id FROM calls WHERE day > strftime('%Y')", "denied"),
    ("SELECT row_id FROM calls WHERE julianday('now') > 0", "denied"),
    ("SELECT row_id FROM calls WHERE day > date(day, 'localtime')", "denied"),
    ("SELECT row_id FROM calls WHERE day > current_date", "denied"),
    ("SELECT row_id FROM calls ORDER BY random()", "denied"),
    ("SELECT randomblob(10)", "denied"),
    ("SELECT load_extension('x')", "denied"),
    ("SELECT zeroblob(1000000000)", "denied"),
    ("SELECT printf('%1000000000d', 1)", "denied"),
    ("SELECT readfile('/etc/passwd')", "unknown_name"),
    ("SELECT _rlm_rows_0.row_id FROM _rlm_rows_0", "denied"),
    ("SELECT row_id FROM '_rlm_rows_0'", "denied"),
    ("SELECT count(*) FROM calls a, calls b, calls c, calls d, calls e, calls f", "too_heavy"),
    ("SELECT " + "(" * 60 + "1" + ")" * 60, "too_large"),
    ("SELECT " + "-" * 15_000 + "1", "syntax"),
    ("SELECT " + "1+" * 5_000 + "1", "syntax"),
    (" UNION ALL ".join(["SELECT 1"] * 200), "syntax"),
    ("SELECT row_id FROM calls WHERE 1 IN (" + "1," * 12_000 + "1)", "too_large"),
    ('SELECT row_id FROM calls WHERE "é" LIKE \'' + "%a" * 500 + "'", "syntax"),
    ("SELECT hex(hex(hex(row_id))) FROM calls", "denied"),
    ('SELECT row_id FROM calls WHERE kind = "location"', "unknown_name"),
    ("SELECT duration FROM calls", "unknown_name"),
    ("SELECT row_id FROM visits", "unknown_name"),
    ("SELECT kind FROM calls", "not_ids"),
    ("SELECT 301", "not_ids"),
    ("SELECT row_id, row_id, row_id FROM calls", "not_ids"),
    ("SELECT row_id FROM calls WHERE 'a\0b'", "syntax"),
    ("SELECT '\ud800'", "syntax"),
    ("SELECT 'open FROM calls", "syntax"),
    ("", "denied"),
]
REFUSED_COMPUTES: list[tuple[str, str]] = [
    ("SELECT count(*) FROM calls", "unknown_name"),
    ("SELECT count(*) FROM _rlm_picked", "denied"),
    ("SELECT count(*) FROM '_rlm_rows_0'", "denied"),
    ("SELECT count(*) FROM '_rlm_picked'", "denied"),
    ("SELECT count(*) FROM picked, '_RLM_rows_0'", "denied"),
    ('SELECT count(*) FROM "_rlm_rows_0"', "unknown_name"),
    ("SELECT count(*) FROM [_rlm_rows_0]", "denied"),
    ("SELECT count(*) FROM `_rlm_rows_0`", "denied"),
    ("WITH picked AS (SELECT * FROM '_rlm_rows_0') SELECT count(*) FROM picked", "denied"),
    ("WITH x(row_id) AS (SELECT row_id FROM '_rlm_rows_0') SELECT count(row_id) FROM x", "denied"),
    ("WITH picked AS (SELECT name FROM sqlite_master) SELECT * FROM picked", "denied"),
    ('SELECT group_concat(a."é") FROM picked a, picked b, picked c', "too_large"),
    ('SELECT sum("order" * 9223372036854775807) FROM picked a, picked b', "unknown_name"),
]

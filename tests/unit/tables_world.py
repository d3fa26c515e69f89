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

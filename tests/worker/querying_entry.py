"""The Worker, which also computes on a table that it is given: `POST /query`, as `test_table_sql.py` sends it.

What computes is no part of a route: this shows that it does in workerd what it does elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from workers import Response

import entry
from rlm_worker.tables.rows import Row
from rlm_worker.tables.schema import parse_schema
from rlm_worker.tables.sql import Query, QueryError, TableDatabase

RLMSession = entry.RLMSession
RLMAccount = entry.RLMAccount
RLMBatch = entry.RLMBatch
RLMPace = entry.RLMPace
RLMKeys = entry.RLMKeys
SandboxHost = entry.SandboxHost


class Default(entry.Default):
    """Answers HTTP, and queries."""

    async def fetch(self, request: Any) -> Any:
        if not str(request.url).endswith("/query"):
            return await super().fetch(request)
        asked = json.loads(await request.text())
        rows = [Row.from_wire(row) for row in asked["rows"]]
        with TableDatabase(parse_schema(asked["schema"]), rows) as tables:
            return Response(json.dumps([_told(tables, query) for query in asked["queries"]]))


def _told(tables: TableDatabase, query: Mapping[str, str]) -> Mapping[str, object]:
    try:
        result = tables.run(Query(query["pick"], query["compute"]))
    except QueryError as error:
        return {"cause": error.cause}
    return {"rows": result.rows, "picked": len(result.picked)}

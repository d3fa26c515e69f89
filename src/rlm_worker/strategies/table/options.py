"""What a caller asks of a table, judged before anything is paid for."""

from __future__ import annotations

from rlm_worker.errors import InvalidRequest
from rlm_worker.tables.schema import parse_schema
from rlm_worker.tables.sql import QueryError, TableDatabase
from rlm_worker.wire.tables import TableOptions

from .query import callers_query


def check_table(options: TableOptions | None) -> None:
    """Raises `InvalidRequest` for a schema that does not hold, and for statements that cannot be run on its tables."""
    if options is None:
        return
    if options.pick is not None and options.compute is None:
        raise InvalidRequest.at("table.pick", "needs table.compute beside it")
    if options.definition is None:
        if options.compute is not None:
            raise InvalidRequest.at("table.compute", "needs table.schema beside it")
        return
    schema = parse_schema(options.definition.to_wire())
    if options.compute is None:
        return
    if options.pick is None and len(schema.tables) > 1:
        raise InvalidRequest.at("table.pick", "is needed where there are several tables")
    try:
        with TableDatabase(schema, ()) as database:
            database.check(callers_query(schema, options.pick, options.compute))
    except QueryError as error:
        raise InvalidRequest.at(f"table.{error.statement}", str(error)) from None

"""The table that an answer was computed from, and the query that computed it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element

from rlm_worker.wire.tables import TableDefinition, TableQuery, TableReport, TableRow, Value

from .markup import Child, element, plain

# What is shown of a query's result and of the rows; the rest is a download.
_MAX_ROWS = 200


def table_section(table: TableReport | None, numbers: dict[str, int]) -> Element | None:
    """What was read into a table and computed on it; `numbers` are those of the rows' citations, by the rows' ids."""
    if table is None:
        return None
    parts: list[Child] = [element("h2", "Computed from a table"), element("p", _counts(table))]
    if table.query is not None:
        parts += _query(table.query)
    for definition in table.definition.tables:
        parts += _rows(definition, [row for row in table.rows if row.table == definition.name], numbers)
    return element("section", *parts, id="table")


def _counts(table: TableReport) -> str:
    rows = "1 row" if table.row_count == 1 else f"{table.row_count:,} rows"
    whole = "all chunks were read to their end" if table.complete else "not everything was read: there may be more"
    left_out = {
        "without a verified quotation": table.rejected.unverified,
        "with values that do not follow from it": table.rejected.invalid,
        "read twice": table.rejected.duplicate,
    }
    told = [f"{count:,} {why}" for why, count in left_out.items() if count]
    return f"{rows}; {whole}. " + (f"Left out: {', '.join(told)}." if told else "")


def _query(query: TableQuery) -> Iterator[Element]:
    for name, statement in (("pick", query.pick), ("compute", query.compute)):
        if statement:
            yield element("p", element("code", f"{name}: {plain(statement)}"), class_="text")
    rows = [[_cell(value) for value in row] for row in query.rows[:_MAX_ROWS]]
    yield _table(query.columns, rows)
    if query.truncated or len(query.rows) > _MAX_ROWS:
        yield element("p", "There are more rows than are shown.", class_="soft")


def _rows(definition: TableDefinition, rows: Sequence[TableRow], numbers: dict[str, int]) -> Iterator[Element]:
    if not rows:
        return
    yield element("h3", f"Rows of {plain(definition.name)}")
    names = [column.name for column in definition.columns]
    units = {column.name: column.unit for column in definition.columns}
    heads = [f"{name} ({units[name]})" if units[name] else name for name in names]
    shown = [[*(_cell(row.values.get(name)) for name in names), _source(row, numbers)] for row in rows[:_MAX_ROWS]]
    yield _table([*heads, "source"], shown)
    if len(rows) > _MAX_ROWS:
        yield element("p", f"{len(rows) - _MAX_ROWS:,} more are in the result.", class_="soft")


def _source(row: TableRow, numbers: dict[str, int]) -> Child:
    """Where the row stands: the number of its citation, or else the words themselves."""
    if row.id in numbers:
        return element("a", f"[{numbers[row.id]}]", href=f"#c{numbers[row.id]}")
    return plain(row.citation.cited_text[:200]) if row.citation is not None else None


def _cell(value: Value) -> str:
    if value is None:
        return "\u2013"
    return plain(value) if isinstance(value, str) else json.dumps(value)


def _table(heads: Sequence[str], rows: Sequence[Sequence[Child]]) -> Element:
    head = element("tr", *[element("th", plain(name), scope="col") for name in heads])
    body = [element("tr", *[element("td", cell) for cell in row]) for row in rows]
    return element("div", element("table", element("thead", head), element("tbody", *body)), class_="wide")

"""The rows of a session's tables as its owner may take them away: a line of JSON each, or CSV as RFC 4180 has it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from rlm_worker.errors import InvalidRequest, NotFound
from rlm_worker.wire.results import RunResult
from rlm_worker.wire.tables import RowLine, TableDefinition, Value

RowsForm = Literal["ndjson", "csv"]
FORMS: tuple[RowsForm, ...] = ("ndjson", "csv")
# What a spreadsheet takes for a formula where a text begins so; OWASP's list.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_PIECE_CHARACTERS = 64 * 1024
# Beside the columns of the table: the row's id, and its place.
_PLACE = ("document", "start", "end")


def wanted_table(result: RunResult, table: str, form: RowsForm) -> TableDefinition | None:
    """The table that is asked for, None for all of them; CSV has one.

    Raises `NotFound` for a run that has no table, and `InvalidRequest` for a table that it does not have.
    """
    if result.table is None:
        raise NotFound("this run has no table")
    tables = result.table.definition.tables
    known = {definition.name: definition for definition in tables}
    if table:
        if table not in known:
            raise InvalidRequest.at("table", f"is none of {', '.join(known)}")
        return known[table]
    if form == "csv" and len(tables) > 1:
        raise InvalidRequest.at("table", f"name one of {', '.join(known)}: CSV has one table")
    return tables[0] if form == "csv" else None


def written_rows(lines: Iterable[str], table: TableDefinition | None, form: RowsForm) -> Iterator[str]:
    """The rows of a table, or of all, in pieces of text."""
    rows = _csv(lines, table) if form == "csv" and table is not None else _ndjson(lines, table)
    held: list[str] = []
    size = 0
    for row in rows:
        held.append(row)
        size += len(row)
        if size > _PIECE_CHARACTERS:
            yield "".join(held)
            held, size = [], 0
    if held:
        yield "".join(held)


def _ndjson(lines: Iterable[str], table: TableDefinition | None) -> Iterator[str]:
    for line in lines:
        if table is None or json.loads(line)["table"] == table.name:
            yield line + "\n"


def _csv(lines: Iterable[str], table: TableDefinition) -> Iterator[str]:
    columns = [column.name for column in table.columns]
    yield _record(["id", *columns, *(_free(name, columns) for name in _PLACE)])
    for line in lines:
        row = RowLine.model_validate_json(line)
        if row.table != table.name:
            continue
        cited = row.citation
        place: list[Value] = [""] * len(_PLACE)
        if cited is not None:
            place = [cited.document_title or cited.document_index, cited.start_char_index, cited.end_char_index]
        yield _record([row.id, *(row.values.get(name) for name in columns), *place])


def _free(name: str, columns: Sequence[str]) -> str:
    """A heading that no column has."""
    while name in columns:
        name = f"_{name}"
    return name


def _record(cells: Iterable[Value]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerow([_cell(cell) for cell in cells])
    return buffer.getvalue()


def _cell(value: Value) -> str | int | float:
    """A cell: true and false in JSON's words, and no text that a spreadsheet would run."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value

"""Tables on the wire: what a caller asks of one, and what a result says about it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import Answer, Wire

ColumnType = Literal["string", "integer", "number", "decimal", "boolean", "date", "enum"]
# What a value rests on: it follows from what stands there, a reader has judged it so, or there is none.
Basis = Literal["verbatim", "derived", "null"]
Value = str | int | float | bool | None

MAX_TABLES, MAX_COLUMNS, MAX_ENUM = 3, 12, 50
MAX_ROWS = 50_000
_MAX_NAME, _MAX_LABEL, _MAX_UNIT, _MAX_DESCRIPTION, _MAX_SQL, _MAX_INSTRUCTIONS = 64, 120, 40, 1_000, 8_000, 4_000
_Name = Annotated[str, Field(min_length=1, max_length=_MAX_NAME)]
_Label = Annotated[str, Field(min_length=1, max_length=_MAX_LABEL)]
_Sql = Annotated[str, Field(min_length=1, max_length=_MAX_SQL)]


class Column(Wire):
    """One column; `enum` are the values that one of type enum may have, `unit` what its numbers count."""

    name: _Name
    type: ColumnType
    description: Annotated[str, Field(max_length=_MAX_DESCRIPTION)] = ""
    unit: Annotated[str, Field(max_length=_MAX_UNIT)] | None = None
    enum: Annotated[list[_Label], Field(min_length=1, max_length=MAX_ENUM)] | None = None
    required: bool = False


class TableDefinition(Wire):
    """One table: what a row of it is, and its columns."""

    name: _Name
    description: Annotated[str, Field(max_length=_MAX_DESCRIPTION)] = ""
    columns: Annotated[list[Column], Field(min_length=1, max_length=MAX_COLUMNS)]


class TableSchema(Wire):
    """The tables that are to be read from a context."""

    tables: Annotated[list[TableDefinition], Field(min_length=1, max_length=MAX_TABLES)]


class TableOptions(Wire):
    """What a caller asks of strategy `table`: what is not given, the root model decides.

    With `schema` and `compute` no root model is asked; with `schema` and no question the table itself is the answer.
    `pick` gives the ids of the rows that count, `compute` works on them as `picked`. `passes` is how often at most a
    chunk is read in which code counts more records than the reader gave. Where `fallback` is off, a table that comes to
    nothing is an error instead of a map_reduce.
    """

    definition: TableSchema | None = Field(default=None, alias="schema")
    instructions: Annotated[str, Field(min_length=1, max_length=_MAX_INSTRUCTIONS)] | None = None
    pick: _Sql | None = None
    compute: _Sql | None = None
    max_rows: Annotated[int, Field(ge=1, le=MAX_ROWS)] = MAX_ROWS
    passes: Annotated[int, Field(ge=1, le=3)] = 1
    rows_in_result: Annotated[int, Field(ge=0, le=1_000)] = 100
    fallback: bool = True


class RowCitation(Wire):
    """Where a row stands: characters `startCharIndex` to `endCharIndex` (exclusive) of a document."""

    cited_text: str
    document_index: int
    document_title: str | None = None
    start_char_index: int
    end_char_index: int
    verified: bool = True


class TableRow(Wire):
    """One row: its normalised `values`, what the reader wrote where that differs (`raw`), and each value's basis."""

    id: str
    table: str
    values: dict[str, Value]
    raw: dict[str, Value] = Field(default_factory=dict)
    basis: dict[str, Basis] = Field(default_factory=dict)
    citation: RowCitation | None = None


class RejectedRows(Wire):
    """Rows that were read and are in no table: `unverified` quotes, `invalid` values, `duplicate` evidence."""

    unverified: int = 0
    invalid: int = 0
    duplicate: int = 0


class ReadChunks(Wire):
    """Chunks that were `read` to their end, of these the `empty` ones; those `cut` short, and those that `failed`."""

    read: int = 0
    empty: int = 0
    cut: int = 0
    failed: int = 0


class TableQuery(Wire):
    """What was computed: the statements, and the rows that they gave; `truncated` where there were more."""

    pick: str | None = None
    compute: str
    columns: list[str] = Field(default_factory=list)
    rows: list[list[Value]] = Field(default_factory=list)
    truncated: bool = False
    attempts: int = 1


class TableReport(Wire):
    """The table that an answer was computed from; `rows` are the picked ones, or the first, as many as were asked for.

    `complete`: every chunk was read to its end, and no row had to be left out.
    """

    definition: TableSchema = Field(alias="schema")
    row_count: int
    complete: bool
    rejected: RejectedRows = Field(default_factory=RejectedRows)
    chunks: ReadChunks = Field(default_factory=ReadChunks)
    query: TableQuery | None = None
    rows: list[TableRow] = Field(default_factory=list)


class RowLine(Answer):
    """One line of `GET /session/{id}/rows`: a row."""

    id: str
    table: str
    values: dict[str, Value]
    raw: dict[str, Value] = Field(default_factory=dict)
    basis: dict[str, Basis] = Field(default_factory=dict)
    citation: RowCitation | None = None

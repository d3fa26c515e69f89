"""What is extracted: at most three flat tables of typed columns, from a caller or from the root model."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from rlm_worker.errors import FieldProblem, InvalidRequest

ColumnType = Literal["string", "integer", "number", "decimal", "boolean", "date", "enum"]
COLUMN_TYPES: tuple[ColumnType, ...] = get_args(ColumnType)
NUMERIC: frozenset[ColumnType] = frozenset(("integer", "number", "decimal"))
# What a reader judges and no word of the source need say.
LABELS: frozenset[ColumnType] = frozenset(("boolean", "enum"))

MAX_TABLES, MAX_COLUMNS, MAX_ENUM = 3, 12, 50
# Models of 3 B and less hold no more columns than this in mind.
MAX_LINE_COLUMNS = 4
MAX_NAME, MAX_UNIT, MAX_LABEL, MAX_DESCRIPTION = 64, 40, 120, 1_000
# Characters of a statement over the tables.
MAX_SQL = 20_000
# The names that code gives: each row's number in SQL, its document, the table of the rows that were picked.
ROW_ID, SOURCE_DOCUMENT, PICKED = "row_id", "source_document", "picked"
_RESERVED = frozenset((ROW_ID, SOURCE_DOCUMENT))


@dataclass(frozen=True, slots=True)
class Column:
    """One column; `unit` is that of its numbers ("USD", "million EUR", "%", "minutes"), `enum` are its labels."""

    name: str
    type: ColumnType
    description: str = ""
    unit: str = ""
    enum: tuple[str, ...] = ()
    required: bool = False

    def to_wire(self) -> dict[str, object]:
        told: dict[str, object] = {"name": self.name, "type": self.type}
        optional = {"description": self.description, "unit": self.unit, "enum": list(self.enum)}
        told |= {name: value for name, value in optional.items() if value}
        return told | ({"required": True} if self.required else {})


@dataclass(frozen=True, slots=True)
class Table:
    """One kind of record."""

    name: str
    columns: tuple[Column, ...]
    description: str = ""

    def column(self, name: str) -> Column | None:
        """The column of that name, in whatever case it is written; None where there is none."""
        key = name_key(name)
        return next((column for column in self.columns if name_key(column.name) == key), None)

    def to_wire(self) -> dict[str, object]:
        told = {"name": self.name} | ({"description": self.description} if self.description else {})
        return {**told, "columns": [column.to_wire() for column in self.columns]}


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables that a context is read into."""

    tables: tuple[Table, ...]

    def table(self, name: str) -> Table | None:
        """The table of that name, in whatever case it is written; None where there is none."""
        key = name_key(name)
        return next((table for table in self.tables if name_key(table.name) == key), None)

    @property
    def quote_key(self) -> str:
        """What a reader's quotation is called in its JSON: "quote", unless a column is."""
        return self._free("quote")

    @property
    def table_key(self) -> str:
        """What names a row's table in a reader's JSON, where there are several: "table", unless a column is."""
        return self._free("table")

    @property
    def fits_lines(self) -> bool:
        """Whether a weak model can write its rows as lines."""
        return len(self.tables) == 1 and len(self.tables[0].columns) <= MAX_LINE_COLUMNS

    def _free(self, name: str) -> str:
        taken = {name_key(column.name) for table in self.tables for column in table.columns}
        while name in taken:
            name += "_"
        return name

    def to_wire(self) -> dict[str, object]:
        """The JSON that `parse_schema` reads."""
        return {"tables": [table.to_wire() for table in self.tables]}

    def digest(self) -> str:
        """32 hexadecimal digits that stay the same as long as a reader is asked for the same."""
        text = json.dumps(self.to_wire(), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def reply_schema(self) -> dict[str, object]:
        """The JSON Schema that a model's reply is held to: rows in the order of the text, each with its quotation."""
        shapes = [self._row_shape(table) for table in self.tables]
        items = shapes[0] if len(shapes) == 1 else {"anyOf": shapes}
        return _closed({"rows": {"type": "array", "items": items}})

    def _row_shape(self, table: Table) -> dict[str, object]:
        named: dict[str, object] = {}
        if len(self.tables) > 1:
            named[self.table_key] = {"type": "string", "enum": [table.name]}
        named[self.quote_key] = {"type": "string"}
        return _closed(named | {column.name: _column_shape(column) for column in table.columns})


def name_key(name: str) -> str:
    """A name as it counts: SQL tells no upper case from lower, and a letter may be written in several ways."""
    return unicodedata.normalize("NFC", name).casefold()


@dataclass(frozen=True, slots=True)
class Plan:
    """What readers are to extract, in words that hold nothing of what is computed, and into which tables."""

    extract: str
    schema: Schema


def parse_schema(value: object, path: str = "table.schema") -> Schema:
    """Reads `{"tables": [{"name", "description", "columns": [{"name", "type", …}]}]}`.

    Raises `InvalidRequest` with the path of each field that is refused; paths begin with `path`.
    """
    reader = _SchemaReader()
    tables = reader.tables(value, path)
    if reader.problems:
        raise InvalidRequest(reader.problems[:20])
    return Schema(tables)


class _SchemaReader:
    """Reads on behind what is wrong, so that everything that is wrong is told at once."""

    def __init__(self) -> None:
        self.problems: list[FieldProblem] = []

    def tables(self, value: object, path: str) -> tuple[Table, ...]:
        fields = self._object(value, path, ("tables",))
        found = self._list(fields.get("tables"), f"{path}.tables", MAX_TABLES) if fields else ()
        tables = tuple(self._table(item, f"{path}.tables.{at}") for at, item in enumerate(found))
        self._distinct([table.name for table in tables], f"{path}.tables")
        return tables

    def _table(self, value: object, path: str) -> Table:
        fields = self._object(value, path, ("name", "description", "columns"))
        if not fields:
            return Table("", ())
        name = self._name(fields.get("name"), f"{path}.name")
        if name_key(name) == PICKED or name_key(name).startswith("sqlite_"):
            self._refuse(f"{path}.name", f"{name} is a name that queries need themselves")
        found = self._list(fields.get("columns"), f"{path}.columns", MAX_COLUMNS)
        columns = tuple(self._column(item, f"{path}.columns.{at}") for at, item in enumerate(found))
        self._distinct([column.name for column in columns], f"{path}.columns")
        return Table(name, columns, self._text(fields, "description", path, MAX_DESCRIPTION))

    def _column(self, value: object, path: str) -> Column:
        known = ("name", "type", "description", "unit", "enum", "required")
        fields = self._object(value, path, known)
        if not fields:
            return Column("", "string")
        name = self._name(fields.get("name"), f"{path}.name")
        if name_key(name) in _RESERVED:
            self._refuse(f"{path}.name", f"{name} is a name that every table has already")
        kind = self._type(fields.get("type"), f"{path}.type")
        required = fields.get("required") or False
        if not isinstance(required, bool):
            self._refuse(f"{path}.required", "must be true or false")
        description = self._text(fields, "description", path, MAX_DESCRIPTION)
        unit = self._text(fields, "unit", path, MAX_UNIT)
        return Column(name, kind, description, unit, self._enum(fields.get("enum"), kind, path), required is True)

    def _type(self, value: object, path: str) -> ColumnType:
        found = next((kind for kind in COLUMN_TYPES if kind == value), None)
        if found is None:
            self._refuse(path, f"must be one of {', '.join(COLUMN_TYPES)}")
        return found or "string"

    def _enum(self, value: object, kind: ColumnType, path: str) -> tuple[str, ...]:
        path = f"{path}.enum"
        if kind != "enum":
            if value:
                self._refuse(path, 'is for columns of the type "enum" only')
            return ()
        labels = self._list(value, path, MAX_ENUM)
        texts = [label for label in labels if isinstance(label, str) and label.strip() and len(label) <= MAX_LABEL]
        if len(texts) < len(labels):
            self._refuse(path, f"must hold strings of 1 to {MAX_LABEL} characters")
        self._distinct(texts, path)
        return tuple(texts)

    def _name(self, value: object, path: str) -> str:
        if not isinstance(value, str) or not value.strip() or len(value) > MAX_NAME:
            self._refuse(path, f"must be a string of 1 to {MAX_NAME} characters")
            return ""
        if value != value.strip() or not value.isprintable():
            self._refuse(path, "must hold no blanks at its ends and nothing that is not to be seen")
        return value

    def _text(self, fields: Mapping[str, object], name: str, path: str, most: int) -> str:
        value = fields.get(name)
        if value is None:
            return ""
        if not isinstance(value, str) or len(value) > most:
            self._refuse(f"{path}.{name}", f"must be a string of at most {most} characters")
            return ""
        return value

    def _object(self, value: object, path: str, known: Sequence[str]) -> Mapping[str, object]:
        if not isinstance(value, Mapping) or not value:
            self._refuse(path, f"must be an object with {', '.join(known)}")
            return {}
        for name in value:
            if name not in known:
                self._refuse(f"{path}.{str(name)[:80]}", f"is not known; there are {', '.join(known)}")
        return value

    def _list(self, value: object, path: str, most: int) -> Sequence[object]:
        if not isinstance(value, list | tuple) or not 1 <= len(value) <= most:
            self._refuse(path, f"must be a list of 1 to {most}")
            return ()
        return value

    def _distinct(self, names: Sequence[str], path: str) -> None:
        keys = [name_key(name) for name in names if name]
        if len(set(keys)) < len(keys):
            self._refuse(path, "must not hold the same name twice, upper and lower case being the same")

    def _refuse(self, path: str, message: str) -> None:
        self.problems.append(FieldProblem(path, message))


def _closed(properties: Mapping[str, object]) -> dict[str, object]:
    """Every property stands in every object: what does not apply is null, as strict structured outputs ask for."""
    named = dict(properties)
    return {"type": "object", "properties": named, "required": list(named), "additionalProperties": False}


def _column_shape(column: Column) -> dict[str, object]:
    """Numbers and dates are copied as they are written; what they mean is found out by code."""
    kind = "boolean" if column.type == "boolean" else "string"
    shape: dict[str, object] = {"type": kind if column.required else [kind, "null"]}
    if column.type == "enum":
        shape["enum"] = [*column.enum] if column.required else [*column.enum, None]
    return shape

"""From a reader's reply to candidates: rows as they were told, none of them believed yet.

`[]`, prose, and rows that do not stand up to the source are three different outcomes: a chunk with nothing in it has
been read, one whose reply says nothing has not, and one whose rows are all refused has been misread.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic_core import from_json

from rlm_worker.errors import InvalidRequest, MalformedBody
from rlm_worker.json_scan import check_depth, item_ranges

from .records import Record
from .schema import Column, Plan, Schema, Table, name_key, parse_schema

Outcome = Literal["rows", "empty", "unreadable"]

# More rows than a reply has room for.
MAX_ROWS = 5_000
_MAX_EXTRACT = 4_000
_THOUGHT = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
_THOUGHT_END = re.compile(r"\A.*</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_ARRAY = re.compile(r'(?:"((?:[^"\\]|\\.){0,200})"\s*:\s*)?\[\s*(?=[\]{]|\Z)')
_NEXT_ARRAY = re.compile(r'\s*\]\s*,\s*"((?:[^"\\]|\\.){0,200})"\s*:\s*(?=\[)')
_NO_ROWS = re.compile(r"\W*(?:none|null|no rows|no records|nothing|(?:\[\s*\])|(?:\{\s*\}))\W*", re.IGNORECASE)
# A longer reply says more than that there is nothing; what `_NO_ROWS` costs grows with the square of it.
_MAX_NOTHING = 500
# Runs are bounded: two that meet on the same blanks would cost the square of a line.
_LINE = re.compile(
    r"^[ \t>*#\-\[(]{0,40}(?:record|line|row)?[ \t#]{0,8}(\d{1,6})[ \t]{0,40}[\])]?[ \t]{0,8}[|:;,\t.][ \t]*(.*)$",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row as a reader told it; `place` is where its record stands in the chunk, None where a quotation says it."""

    table: str
    values: Mapping[str, object]
    quote: str
    place: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reply says. `cut`: it ends too early, and all its complete rows are here; `invalid` items were no rows."""

    outcome: Outcome
    candidates: tuple[Candidate, ...] = ()
    cut: bool = False
    invalid: int = 0


@dataclass(slots=True)
class _Items:
    """The objects of a reply as they were written, each with the name of the array that it stands in."""

    found: list[tuple[str, bytes]]
    arrays: int = 0
    whole: bool = True


def without_thoughts(reply: str) -> str:
    """A reply without what its model has thought aloud; nothing of a thought that has no end."""
    return _THOUGHT_END.sub("", _THOUGHT.sub("", reply)).strip()


def read_json(reply: str, schema: Schema, *, cut: bool = False) -> Reading:
    """Reads a reply that holds rows as JSON, whatever stands around it; `cut` says that the model was stopped."""
    said = without_thoughts(reply)
    if _says_nothing(said):
        return Reading("empty")
    items = _items(said)
    if not items.arrays and not items.found:
        return Reading("unreadable", cut=cut)
    candidates = [_candidate(item, name, schema) for name, item in items.found[:MAX_ROWS]]
    good = tuple(candidate for candidate in candidates if candidate is not None)
    broken = cut or not items.whole
    if not good:
        nothing = not items.found and items.whole and not cut
        return Reading("empty" if nothing else "unreadable", cut=broken, invalid=len(candidates))
    return Reading("rows", good, broken, len(candidates) - len(good))


def _says_nothing(said: str) -> bool:
    """Whether a reply says that there are no rows."""
    return len(said) <= _MAX_NOTHING and _NO_ROWS.fullmatch(said) is not None


def _items(said: str) -> _Items:
    """The items of the first array of objects and of those beside it; of lines of objects where there is no array."""
    start = _ARRAY.search(said)
    if start is None:
        lines = [line.strip().rstrip(",") for line in said.splitlines() if line.lstrip().startswith("{")]
        return _Items([("", _bytes(line)) for line in lines], whole=all(line.endswith("}") for line in lines))
    items = _Items([])
    name, position = start[1] or "", said.index("[", start.end(1) if start[1] else start.start())
    while True:
        body = _bytes(said[position:])
        end, ended = _array(body, name, items)
        items.arrays += 1
        items.whole = ended
        position += len(body[:end].decode("utf-8", "replace"))
        further = _NEXT_ARRAY.match(said, position) if ended else None
        if further is None:
            return items
        name, position = further[1], further.end()


def _array(body: bytes, name: str, items: _Items) -> tuple[int, bool]:
    """Adds the array's items; where the last of them ends, and whether the array does."""
    end = 1
    for closing in (b"", b"]"):
        try:
            for first, last in item_ranges(body + closing, 0, len(body) + len(closing)):
                if first >= end:
                    items.found.append((name, body[first:last]))
                    end = last
                if len(items.found) > MAX_ROWS:
                    return end, False
        except MalformedBody:
            pass
        if body[end:].lstrip().startswith(b"]"):
            return end, True
    return end, False


def _candidate(item: bytes, name: str, schema: Schema) -> Candidate | None:
    told = _object(item)
    if told is None:
        return None
    fields = {name_key(key): value for key, value in told.items()}
    table = _table(fields, name, schema)
    quote = fields.get(schema.quote_key)
    if table is None or not isinstance(quote, str) or not quote.strip():
        return None
    return Candidate(table.name, {column.name: fields.get(name_key(column.name)) for column in table.columns}, quote)


def _table(fields: Mapping[str, object], name: str, schema: Schema) -> Table | None:
    if len(schema.tables) == 1:
        return schema.tables[0]
    return schema.table(str(fields.get(schema.table_key, ""))) or schema.table(name)


def read_lines(reply: str, schema: Schema, records: Sequence[Record], *, cut: bool = False) -> Reading:
    """Reads lines of `number | value | value`, about records that were numbered for the reader.

    The records are the source's own, so what such a reader says can be wrong in its values only.
    """
    said = without_thoughts(reply)
    if _says_nothing(said):
        return Reading("empty")
    table, numbered = schema.tables[0], {record.number: record for record in records}
    lines = list(_LINE.finditer(said))
    if cut and lines and lines[-1].end() == len(said):
        lines.pop()
    candidates: list[Candidate] = []
    for line in lines[:MAX_ROWS]:
        record = numbered.get(int(line[1]))
        if record is not None and (values := _line_values(line[2], table.columns)) is not None:
            candidates.append(Candidate(table.name, values, record.text, (record.start, record.end)))
    if not candidates:
        return Reading("unreadable", cut=cut, invalid=len(lines))
    return Reading("rows", tuple(candidates), cut, len(lines) - len(candidates))


def _line_values(said: str, columns: Sequence[Column]) -> Mapping[str, object] | None:
    parts = [part.strip() for part in said.strip().strip("|").split("|")]
    if len(columns) == 1:
        parts = [said.strip().strip("|").strip()]
    if len(parts) != len(columns) or not any(parts):
        return None
    return {column.name: part for column, part in zip(columns, parts, strict=True)}


def read_plan(reply: str) -> Plan:
    """The plan in the root's reply; raises `InvalidRequest`, whose message the root can mend."""
    try:
        told = json_object(reply)
    except MalformedBody as error:
        raise InvalidRequest.at("", str(error)) from None
    extract = told.get("extract")
    if not isinstance(extract, str) or not 1 <= len(extract.strip()) <= _MAX_EXTRACT:
        raise InvalidRequest.at("extract", f"must be a string of 1 to {_MAX_EXTRACT:,} characters")
    return Plan(extract.strip(), parse_schema({"tables": told.get("tables")}, "schema"))


def json_object(reply: str) -> dict[str, object]:
    """The first JSON object of a reply, whatever stands around it; raises `MalformedBody` where there is none."""
    said = without_thoughts(reply)
    for found in _objects(said):
        told = _object(_bytes(found))
        if told is not None:
            return told
    raise MalformedBody("the reply holds no JSON object")


def _objects(said: str) -> Iterator[str]:
    """What may be the object: from the first bracket to the last, then to where the brackets are even again."""
    start = said.find("{")
    if start < 0:
        return
    yield said[start : said.rfind("}") + 1]
    depth, quoted, escaped = 0, False, False
    for at, sign in enumerate(said[start:], start):
        if quoted:
            quoted, escaped = sign != '"' or escaped, sign == "\\" and not escaped
        elif sign == '"':
            quoted = True
        else:
            depth += (sign == "{") - (sign == "}")
        if not depth:
            yield said[start : at + 1]
            return


def _object(body: bytes) -> dict[str, object] | None:
    try:
        check_depth(body)
        value = from_json(body, allow_inf_nan=False)
        # A number as large as 1e999 is read as infinite all the same, and no row of it could be written down.
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError, MalformedBody):
        return None
    return value if isinstance(value, dict) else None


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")

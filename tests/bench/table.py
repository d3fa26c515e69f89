"""Tables beside their peers in the same run: rows a second through verification, merging and SQL.

Verification's peer looks for the quotation with `str.find` and for the values in it; it knows no folding, no borders,
no dates and no units. SQL's peers are plain `sqlite3` without guard or exact sums, and pandas where it is installed.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec

from rlm_worker.citations.passages import Documents, Seen
from rlm_worker.tables.reading import read_json
from rlm_worker.tables.records import row_chunks
from rlm_worker.tables.rows import Row, Value, distinct
from rlm_worker.tables.schema import parse_schema
from rlm_worker.tables.sql import Query, TableDatabase
from rlm_worker.tables.verify import verify
from rlm_worker.text.chunks import Piece
from tests.bench.tables import Table

ROWS, CHUNK, _ROUNDS = 50_000, 40_000, 3
SCHEMA = parse_schema(
    {
        "tables": [
            {
                "name": "calls",
                "columns": [
                    {"name": "user", "type": "integer"},
                    {"name": "day", "type": "date"},
                    {"name": "price", "type": "decimal", "unit": "USD"},
                    {"name": "topic", "type": "string"},
                    {"name": "kind", "type": "enum", "enum": ["long", "short"]},
                ],
            }
        ]
    }
)
QUERY = Query(
    "SELECT row_id FROM calls WHERE kind = 'long' AND day >= '2023-02-01'",
    "SELECT topic, count(*) AS n, sum(price) AS total FROM picked GROUP BY topic ORDER BY n DESC",
)
_PLAIN = (
    "SELECT topic, count(*) AS n, sum(price) AS total FROM calls WHERE kind = 'long' AND day >= '2023-02-01' "
    "GROUP BY topic ORDER BY n DESC"
)
_TOPICS = ("bills", "delivery", "repairs", "contracts", "moving house", "complaints", "refunds")

Told = Mapping[str, str]


def tables() -> list[Table]:
    told = [_told(number) for number in range(ROWS)]
    text = "".join(f"{row['quote']}\n" for row in told)
    return [_verification(told, text), _queries(told, text)]


def _told(number: int) -> Told:
    day, price, topic = (
        f"2023-0{number % 6 + 1}-{number % 28 + 1:02}",
        f"${number % 997}.{number % 90 + 10}",
        number % 7,
    )
    kind = "long" if number % 3 else "short"
    quote = f"{day} user {10_000 + number} paid {price} and spoke about {_TOPICS[topic]} for a {kind} while"
    return {
        "quote": quote,
        "user": str(10_000 + number),
        "day": day,
        "price": price,
        "topic": _TOPICS[topic],
        "kind": kind,
    }


def _verification(told: Sequence[Told], text: str) -> Table:
    table = Table(f"{ROWS:,} rows out of {len(text) / 1e6:.1f} MB, read and verified", ("", "rows/s", "x ours", "kept"))
    chunks = [(Seen.of(chunk.pieces), chunk.index) for chunk in row_chunks([Piece(0, None, 0, text)], CHUNK)]
    replies = _replies(told, [seen.text for seen, _ in chunks])
    rows: list[Row] = []

    def ours() -> int:
        documents = Documents([None], [0, len(text)])
        rows[:] = [
            row
            for (seen, number), reply in zip(chunks, replies, strict=True)
            for row in verify(read_json(reply, SCHEMA), seen, SCHEMA, documents, chunk=number).rows
        ]
        return len(rows)

    def by_find() -> int:
        return sum(
            _is_found(row, seen.text)
            for (seen, _), reply in zip(chunks, replies, strict=True)
            for row in _parsed(reply)
        )

    seconds, kept = _best(ours)
    table.add("ours", f"{ROWS / seconds:,.0f}", "1.0", f"{kept:,}")
    for name, work in (("str.find", by_find), ("merging of rows, ours", lambda: len(distinct(rows).rows))):
        other, found = _best(work)
        table.add(name, f"{ROWS / other:,.0f}", f"{seconds / other:.1f}", f"{found:,}")
    return table


def _replies(told: Sequence[Told], texts: Sequence[str]) -> list[str]:
    """For each chunk, the rows that stand in it."""
    replies, at = [], 0
    for text in texts:
        count = text.count("\n")
        replies.append(json.dumps({"rows": told[at : at + count]}))
        at += count
    return replies


def _parsed(reply: str) -> Sequence[Told]:
    rows: Sequence[Told] = json.loads(reply)["rows"]
    return rows


def _is_found(row: Told, text: str) -> bool:
    at = text.find(row["quote"])
    return at >= 0 and all(row[name] in row["quote"] for name in ("user", "day", "price", "topic"))


def _queries(told: Sequence[Told], text: str) -> Table:
    table = Table(f"A table of {ROWS:,} rows filled and computed on", ("", "rows/s", "x ours", "result"))
    chunk = Seen.of([Piece(0, None, 0, text)])
    reading = read_json(json.dumps({"rows": told[:1]}), SCHEMA)
    (first,) = verify(reading, chunk, SCHEMA, Documents([None], [0, len(text)])).rows
    rows = [_row(first, number, row) for number, row in enumerate(told)]
    plain = [tuple(row.values[column.name] for column in SCHEMA.tables[0].columns) for row in rows]
    seconds, result = _best_of(lambda: _guarded(rows))
    table.add("ours", f"{ROWS / seconds:,.0f}", "1.0", result)
    peers: dict[str, Callable[[], str]] = {"sqlite3, executemany": lambda: _unguarded(plain)}
    if find_spec("pandas"):
        peers["pandas"] = lambda: _pandas(plain)
    else:
        table.notes.append("pandas is not installed here")
    for name, work in peers.items():
        other, found = _best_of(work)
        table.add(name, f"{ROWS / other:,.0f}", f"{seconds / other:.1f}", found)
    return table


def _row(first: Row, number: int, told: Told) -> Row:
    values: dict[str, Value] = {**told, "user": int(told["user"]), "price": float(told["price"][1:])}
    del values["quote"]
    return Row("calls", 0, number * 100, number * 100 + 50, values, told, first.basis)


def _guarded(rows: Sequence[Row]) -> str:
    with TableDatabase(SCHEMA, rows) as database:
        return str(database.run(QUERY).rows[0])


def _unguarded(rows: Sequence[tuple[object, ...]]) -> str:
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE calls (user INTEGER, day TEXT, price REAL, topic TEXT, kind TEXT)")
    database.executemany("INSERT INTO calls VALUES (?, ?, ?, ?, ?)", rows)
    result = database.execute(_PLAIN).fetchall()
    database.close()
    return str(result[0])


def _pandas(rows: Sequence[tuple[object, ...]]) -> str:
    pandas = import_module("pandas")
    frame = pandas.DataFrame(rows, columns=["user", "day", "price", "topic", "kind"])
    picked = frame[(frame.kind == "long") & (frame.day >= "2023-02-01")]
    result = picked.groupby("topic").price.agg(["count", "sum"]).sort_values("count", ascending=False)
    return str(tuple(result.reset_index().iloc[0]))


def _best(work: Callable[[], int]) -> tuple[float, int]:
    seconds, given = _best_of(lambda: str(work()))
    return seconds, int(given)


def _best_of(work: Callable[[], str]) -> tuple[float, str]:
    """The least CPU time of several rounds, in seconds, and what the work gives."""
    times: list[float] = []
    given = ""
    for _ in range(_ROUNDS):
        began = time.process_time()
        given = work()
        times.append(time.process_time() - began)
    return min(times), given

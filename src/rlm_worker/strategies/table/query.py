"""The query: written by the root model or the caller, written down before it runs, mended where it fails."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from rlm_worker.errors import NoTable
from rlm_worker.journal.tables import RowTable
from rlm_worker.runs.run import Run
from rlm_worker.tables.entities import grouped_columns, names_in, resolve
from rlm_worker.tables.prompts import Failed, QueryTask, query_messages
from rlm_worker.tables.schema import ROW_ID, Schema
from rlm_worker.tables.sql import Query, QueryError, QueryResult, TableDatabase, parse_query
from rlm_worker.wire.events import QueryEvent

from .lines import Names, StoredRows

MAX_ATTEMPTS, MAX_REPAIRS = 6, 3
# A query that has ended its host, or was cut off with it, so often is not begun again.
_MAX_STARTS = 2
# The one word of this strategy that is not in `tables.prompts`: the tables are an earlier question's.
_MAY_LACK = (
    "If the tables do not hold what the question asks about, reply with "
    '{"lacking": "what is missing"} and nothing else.'
)
_LACKS = re.compile(r'^\W*(?:json)?\W*"?lacking"?\s*:', re.IGNORECASE)
# What is written down reaches the disk when the platform gets a turn, which a query does not give it.
_WRITTEN_SECONDS = 0.01
# Ids that are kept of a query: more rows than these are not shown.
_MAX_KEPT_IDS = 1_000
# Rows of a result that its event tells.
_TOLD_ROWS = 20


@dataclass(frozen=True, slots=True)
class Computed:
    """What a query gave, and in which attempt; `picked` are the first ids of its rows, `picks` how many there are."""

    result: QueryResult
    attempt: int
    picks: int


@dataclass(slots=True)
class Queries:
    """Runs queries on the rows of a session; each attempt has a number, and what came of it is never computed twice."""

    run: Run
    schema: Schema
    rows: int
    attempts: int = 0
    failed: list[Failed] = field(default_factory=list)
    doubts: dict[str, None] = field(default_factory=dict)

    async def attempt(self, query: Query) -> Computed:
        """What a query gives; raises `QueryError`, also where it was begun twice without a result."""
        assert self.run.ports.rows is not None
        self.attempts += 1
        number, journal = self.attempts, self.run.ports.rows
        statements = json.dumps([query.pick, query.compute], ensure_ascii=False)
        known = journal.query(number)
        if known is None or known.statements != statements or known.outcome is None:
            begun = known.starts if known is not None and known.statements == statements else 0
            if begun < _MAX_STARTS:
                journal.start_query(number, statements)
                await self.run.ports.clock.sleep(_WRITTEN_SECONDS)
                outcome = self._outcome(query)
            else:
                outcome = {"cause": "too_heavy", "message": "query_too_heavy: it has ended its host twice"}
            journal.finish_query(number, json.dumps(outcome, ensure_ascii=False))
        else:
            outcome = json.loads(known.outcome)
        self._tell(query, outcome)
        return _computed(query, outcome, number)

    def _outcome(self, query: Query) -> dict[str, object]:
        try:
            names = self._names(query)
            stored = StoredRows(self._stored(), self.rows, names)
            with TableDatabase(
                self.schema, stored, document_names=self.run.reader.manifest.documents.names
            ) as database:
                result = database.run(query)
        except QueryError as error:
            return {"cause": error.cause, "message": str(error), "statement": error.statement}
        return {
            "columns": result.columns,
            "rows": result.rows,
            "picked": result.picked[:_MAX_KEPT_IDS],
            "picks": len(result.picked),
            "truncated": result.truncated,
            "hints": result.hints,
        }

    def _names(self, query: Query) -> Names:
        """Names of the same thing, in the columns that the query groups or joins by."""
        columns = grouped_columns(self.schema, query.pick, query.compute)
        if not columns:
            return {}
        resolved = resolve(names_in(StoredRows(self._stored(), self.rows, {}), columns))
        self.doubts.update(dict.fromkeys((*resolved.merged, *resolved.doubts)))
        return dict.fromkeys(columns, resolved.names) if resolved.names else {}

    def _stored(self) -> RowTable:
        assert self.run.ports.rows is not None
        return self.run.ports.rows

    def _tell(self, query: Query, outcome: Mapping[str, object]) -> None:
        told = QueryEvent(attempt=self.attempts, pick=query.pick, compute=query.compute)
        if "cause" in outcome:
            self.run.emit(told.model_copy(update={"error": outcome["message"]}))
            return
        rows = [list(row) for row in outcome["rows"]][:_TOLD_ROWS]  # type: ignore[attr-defined] # as written above
        self.run.emit(told.model_copy(update={"columns": list(outcome["columns"]), "rows": rows}))  # type: ignore[call-overload]


def _computed(query: Query, outcome: Mapping[str, object], attempt: int) -> Computed:
    if "cause" in outcome:
        raise QueryError(outcome["cause"], str(outcome["message"]), outcome.get("statement", "pick"))  # type: ignore[arg-type]
    told: Mapping[str, Sequence[Sequence[object]]] = outcome  # type: ignore[assignment] # as written above
    result = QueryResult(
        query,
        tuple(str(name) for name in told["columns"]),
        tuple(tuple(row) for row in told["rows"]),  # type: ignore[arg-type] # values
        tuple(tuple(str(one) for one in ids) for ids in told["picked"]),
        bool(outcome["truncated"]),
        tuple(str(hint) for hint in told["hints"]),
    )
    return Computed(result, attempt, int(str(outcome["picks"])))


def callers_query(schema: Schema, pick: str | None, compute: str) -> Query:
    """The query of a caller; one who picks nothing means all rows of the first table."""
    table = schema.tables[0].name.replace('"', '""')
    return Query(pick or f'SELECT {ROW_ID} FROM "{table}"', compute)  # noqa: S608 - guarded like any other


async def ask_root(run: Run, task: QueryTask, failed: Sequence[Failed], *, may_lack: bool = False) -> str:
    """What the root model writes about a table; with `may_lack` it may say that the table does not hold the answer."""
    told = replace(task, question=f"{task.question}\n\n{_MAY_LACK}") if may_lack else task
    request = run.request("root", "query", query_messages(told, failed, owner=run.job.owner))
    reply = await run.model.complete(replace(request, call=request.key()))
    return reply.text


def lacks(reply: str) -> bool:
    """Whether the root model says that the tables of an earlier question do not hold the answer to this one."""
    return _LACKS.match(reply.strip()) is not None


async def compute(queries: Queries, task: QueryTask, first: str | None = None) -> Computed:
    """Asks the root for a query until one works; `first` is what it has written already.

    An empty result is looked into once. Raises `NoTable` where no query works.
    """
    repairs, empty = 0, None
    while queries.attempts < MAX_ATTEMPTS:
        reply = first if first is not None else await ask_root(queries.run, task, queries.failed)
        first = None
        try:
            found = await queries.attempt(parse_query(reply))
        except QueryError as error:
            repairs += 1
            queries.failed.append(Failed(reply, f"{error.statement}: {error}"))
            if repairs > MAX_REPAIRS:
                break
            continue
        if found.picks or not queries.rows or empty is not None or not found.result.hints:
            return found
        empty = found
        queries.failed.append(Failed(reply, f"pick gave no row: {'; '.join(found.result.hints)}"))
    if empty is not None:
        return empty
    last = queries.failed[-1].problem if queries.failed else "none was written"
    raise NoTable(f"no query works: {last}")

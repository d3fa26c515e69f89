"""Every call of a session as its owner may read it: prompt, response, tokens, cost and time; one row at a time."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rlm_worker.citations.cited import cited_in_note
from rlm_worker.citations.passages import Documents, Seen
from rlm_worker.errors import NotFound
from rlm_worker.journal.cells import CellTable
from rlm_worker.journal.tables import QueryRecord
from rlm_worker.messages import Message
from rlm_worker.ports import CallRecord, FailedAttempt, SandboxPayment
from rlm_worker.repl.cite import cited_place
from rlm_worker.repl.passages import ContextText
from rlm_worker.strategies.prompts import is_no_evidence, map_messages
from rlm_worker.text.chunks import Chunk
from rlm_worker.text.context import ContextReader, read_chunk
from rlm_worker.wire.base import timestamp
from rlm_worker.wire.results import (
    Citation,
    PromptMessage,
    TrajectoryAttempt,
    TrajectoryCall,
    TrajectoryQuery,
    TrajectorySandbox,
)
from rlm_worker.wire.routing import Routing

if TYPE_CHECKING:
    from rlm_worker.strategies.table.extraction import Extraction

# One object with everything in it, or a line for each row.
TrajectoryForm = Literal["json", "lines"]
_Row = TrajectoryCall | TrajectoryAttempt | TrajectorySandbox | TrajectoryQuery


async def written(
    form: TrajectoryForm,
    session_id: str,
    calls: AsyncIterator[TrajectoryCall],
    attempts: Iterable[TrajectoryAttempt],
    sandboxes: Iterable[TrajectorySandbox],
    *,
    queries: Iterable[TrajectoryQuery] = (),
    routing: Routing | None,
) -> AsyncIterator[str]:
    """A trajectory as text, in pieces of a row each: a `Trajectory`, or lines that say of which `type` they are."""
    whole = form == "json"
    pieces = (
        _object(session_id, calls, attempts, sandboxes, queries)
        if whole
        else _lines(calls, attempts, sandboxes, queries)
    )
    async for text in pieces:
        yield text
    if whole:
        yield f', "routing": {routing.to_json()}}}' if routing is not None else "}"


async def _object(
    session_id: str,
    calls: AsyncIterator[TrajectoryCall],
    attempts: Iterable[TrajectoryAttempt],
    sandboxes: Iterable[TrajectorySandbox],
    queries: Iterable[TrajectoryQuery],
) -> AsyncIterator[str]:
    yield f'{{"sessionId": {json.dumps(session_id)}, "calls": ['
    comma = ""
    async for call in calls:
        yield comma + call.model_dump_json(by_alias=True)
        comma = ", "
    yield f'], "failedAttempts": [{_joined(attempts)}], "sandboxes": [{_joined(sandboxes)}]'
    yield f', "queries": [{_joined(queries)}]'


def _joined(rows: Iterable[_Row]) -> str:
    return ", ".join(row.model_dump_json(by_alias=True) for row in rows)


async def _lines(
    calls: AsyncIterator[TrajectoryCall],
    attempts: Iterable[TrajectoryAttempt],
    sandboxes: Iterable[TrajectorySandbox],
    queries: Iterable[TrajectoryQuery],
) -> AsyncIterator[str]:
    async for call in calls:
        yield _line("call", call)
    for attempt in attempts:
        yield _line("failedAttempt", attempt)
    for sandbox in sandboxes:
        yield _line("sandbox", sandbox)
    for query in queries:
        yield _line("query", query)


def _line(kind: str, row: _Row) -> str:
    return f'{{"type":"{kind}",{row.model_dump_json(by_alias=True)[1:]}\n'


@dataclass(frozen=True, slots=True)
class Asked:
    """What prompts and citations are built from again: question and owner, a REPL's cells, what readers are asked."""

    question: str
    owner: str
    cells: CellTable
    extraction: str | None = None


async def call_rows(calls: Iterable[CallRecord], asked: Asked, reader: ContextReader) -> AsyncIterator[TrajectoryCall]:
    """The calls in the order in which they were finished; a turn of a REPL has what its cell has cited."""
    rows = _extraction(asked)
    documents = Documents.of(reader.manifest)
    context = ContextText(reader)
    for number, call in enumerate(calls, start=1):
        chunk = await _chunk(call, reader)
        messages = call.messages or (_asked(call, chunk, asked, rows) if chunk else ())
        yield TrajectoryCall(
            id=number,
            parent=call.parent or None,
            kind=call.kind,
            role=call.role,
            model=call.model,
            chunk=call.span.index if call.span else None,
            prompt=[PromptMessage(role=message.role, content=message.content) for message in messages],
            response=call.text,
            citations=_cited(call.text, chunk, documents)
            if chunk and call.kind == "map"
            else await _marked(call, asked.cells, context, documents),
            input_tokens=call.usage.input_tokens,
            output_tokens=call.usage.output_tokens,
            estimated=call.usage.estimated,
            cost_usd=round(call.cost_usd, 10),
            duration_ms=call.duration_ms,
            started_at=timestamp(call.started_at),
            cached_input_tokens=call.usage.cached_tokens,
            reasoning_tokens=call.usage.reasoning_tokens,
        )


def _extraction(asked: Asked) -> Extraction | None:
    """What readers of rows were asked; None where there were none."""
    if not asked.extraction:
        return None
    from rlm_worker.strategies.table.extraction import Extraction  # noqa: PLC0415 -- late: an isolate that needs none of it has 128 MB for all else

    return Extraction.from_json(asked.extraction, asked.owner)


def _asked(call: CallRecord, chunk: Chunk, asked: Asked, rows: Extraction | None) -> tuple[Message, ...]:
    """The prompt about a chunk, built again."""
    if call.kind == "rows":
        return rows.messages(chunk) if rows is not None else ()
    return map_messages(asked.question, chunk, owner=asked.owner)


def query_rows(queries: Iterable[QueryRecord]) -> Iterator[TrajectoryQuery]:
    """The queries that were run on the rows, with what came of them."""
    for query in queries:
        pick, compute = json.loads(query.statements)
        outcome = json.loads(query.outcome) if query.outcome else {}
        yield TrajectoryQuery(
            pick=pick,
            compute=compute,
            starts=query.starts,
            columns=outcome.get("columns", []),
            rows=outcome.get("rows", []),
            picked=outcome.get("picks", 0),
            error=outcome.get("message"),
        )


def attempt_row(attempt: FailedAttempt) -> TrajectoryAttempt:
    """An attempt that was paid and brought no answer."""
    return TrajectoryAttempt(
        role=attempt.role,
        model=attempt.model,
        reason=attempt.reason,
        input_tokens=attempt.usage.input_tokens,
        output_tokens=attempt.usage.output_tokens,
        estimated=attempt.usage.estimated,
        cost_usd=round(attempt.cost_usd, 10),
    )


def sandbox_row(sandbox: SandboxPayment) -> TrajectorySandbox:
    """A day of a REPL's sandbox."""
    return TrajectorySandbox(
        parent=sandbox.path or None, opened_at=timestamp(sandbox.opened_at), cost_usd=round(sandbox.cost_usd, 10)
    )


async def _chunk(call: CallRecord, reader: ContextReader) -> Chunk | None:
    """The chunk that a call has read, from which its prompt is built again; None where the context is gone."""
    if call.span is None:
        return None
    try:
        return await read_chunk(reader, call.span)
    except NotFound:  # a context that was put may go before its sessions: the rest of the row is still worth telling
        return None


async def _marked(call: CallRecord, cells: CellTable, context: ContextText, documents: Documents) -> list[Citation]:
    """The places that the cell of a turn has cited."""
    if call.kind != "turn" or not call.parent.isdecimal():
        return []  # child runs cite nothing
    cell = cells.cell("", int(call.parent))
    if cell is None or cell.outcome is None:
        return []
    try:
        return [await cited_place(context, documents, place) for place in cell.outcome.cited]
    except NotFound:
        return []


def _cited(note: str, chunk: Chunk, documents: Documents) -> list[Citation]:
    return [] if is_no_evidence(note) else cited_in_note(note, Seen.of(chunk.pieces, chunk.overlap), documents)

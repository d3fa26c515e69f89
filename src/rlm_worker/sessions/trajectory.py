"""Every call of a session as its owner may read it: prompt, response, tokens, cost and time."""

from __future__ import annotations

from collections.abc import AsyncIterator

from rlm_worker.citations.cited import cited_in_note
from rlm_worker.citations.passages import Documents, Seen
from rlm_worker.errors import NotFound
from rlm_worker.ports import CallRecord, FailedAttempt
from rlm_worker.strategies.prompts import is_no_evidence, map_messages
from rlm_worker.text.chunks import Chunk
from rlm_worker.text.context import ContextReader, read_chunk
from rlm_worker.wire.base import timestamp
from rlm_worker.wire.results import Citation, PromptMessage, TrajectoryAttempt, TrajectoryCall


async def call_rows(calls: list[CallRecord], query: str, reader: ContextReader) -> AsyncIterator[TrajectoryCall]:
    """The calls in the order in which they were finished."""
    documents = Documents.of(reader.manifest)
    for number, call in enumerate(calls, start=1):
        chunk = await _chunk(call, reader)
        messages = call.messages or (map_messages(query, chunk) if chunk else ())
        yield TrajectoryCall(
            id=number,
            parent=call.parent or None,
            kind=call.kind,
            role=call.role,
            model=call.model,
            chunk=call.span.index if call.span else None,
            prompt=[PromptMessage(role=message.role, content=message.content) for message in messages],
            response=call.text,
            citations=_cited(call.text, chunk, documents) if chunk else [],
            input_tokens=call.usage.input_tokens,
            output_tokens=call.usage.output_tokens,
            estimated=call.usage.estimated,
            cost_usd=round(call.cost_usd, 10),
            duration_ms=call.duration_ms,
            started_at=timestamp(call.started_at),
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


async def _chunk(call: CallRecord, reader: ContextReader) -> Chunk | None:
    """The chunk that a call has read, from which its prompt is built again; None where the context is gone."""
    if call.span is None:
        return None
    try:
        return await read_chunk(reader, call.span)
    except NotFound:  # a context that was put may go before its sessions: the rest of the row is still worth telling
        return None


def _cited(note: str, chunk: Chunk, documents: Documents) -> list[Citation]:
    return [] if is_no_evidence(note) else cited_in_note(note, Seen.of(chunk.pieces, chunk.overlap), documents)

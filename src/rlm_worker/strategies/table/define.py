"""Which tables a context is read into: those of the caller, or what the root model makes of the question."""

from __future__ import annotations

from dataclasses import replace

from rlm_worker.errors import InvalidRequest, NoTable
from rlm_worker.runs.run import Run
from rlm_worker.tables.prompts import Failed, plan_messages
from rlm_worker.tables.reading import read_plan
from rlm_worker.tables.schema import Plan, Schema, parse_schema
from rlm_worker.wire.events import SchemaEvent
from rlm_worker.wire.tables import TableSchema

MAX_TRIES = 3
# Characters of each of the three samples that the root model is shown, and the share of its window that they may take.
_SAMPLE_CHARACTERS, _SAMPLES_SHARE = 2_000, 0.3


def callers_plan(run: Run) -> Plan | None:
    """The caller's own tables; None where the root model is to write them."""
    table = run.job.table
    if table is None or table.definition is None:
        return None
    return Plan(table.instructions or "", parse_schema(table.definition.to_wire()))


async def roots_plan(run: Run) -> Plan:
    """The root model's tables; raises `NoTable` where none holds after three tries."""
    instructions = (run.job.table.instructions if run.job.table is not None else None) or ""
    shown, failed = await samples(run), None
    for _ in range(MAX_TRIES):
        messages = plan_messages(run.question, shown, instructions=instructions, failed=failed, owner=run.job.owner)
        request = run.request("root", "schema", messages)
        reply = await run.model.complete(replace(request, call=request.key()))
        try:
            return read_plan(reply.text)
        except InvalidRequest as refused:
            failed = Failed(reply.text, str(refused))
    raise NoTable(f"no schema holds after {MAX_TRIES} tries: {failed.problem if failed else ''}")


def tell(run: Run, schema: Schema) -> TableSchema:
    """The tables as the wire has them, told to whoever watches."""
    told = TableSchema.model_validate(schema.to_wire())
    run.emit(SchemaEvent(tables=told.tables))
    return told


async def samples(run: Run) -> list[str]:
    """Parts of the context from its head, middle and tail, all of it where that is little."""
    room = int(run.root.window * _SAMPLES_SHARE)
    size = max(200, min(_SAMPLE_CHARACTERS, room * 2 // 3))
    whole = run.reader.manifest.bytes
    if whole <= 3 * size:
        return [await _text(run, 0, whole)]
    return [await _text(run, start, start + size) for start in (0, whole // 2, whole - size)]


async def _text(run: Run, start: int, end: int) -> str:
    """Whole lines of a range of bytes, as far as there are any."""
    text = (await run.reader.read(start, min(end, run.reader.manifest.bytes))).decode(errors="ignore")
    if start and 0 <= (first := text.find("\n")) < len(text) // 2:
        text = text[first + 1 :]
    if end < run.reader.manifest.bytes and (last := text.rfind("\n")) > len(text) // 2:
        text = text[: last + 1]
    return text

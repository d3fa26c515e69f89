"""Strategy `table`, from the question to the answer: what is read, what is kept, what is computed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rlm_worker.citations.passages import Documents
from rlm_worker.errors import ModelError, NoTable, NothingRead, RateLimited, RLMError, UsageLimitExceeded
from rlm_worker.journal.tables import CACHE_KEY, EXTRACTION, GIVEN_UP, RowTable
from rlm_worker.messages import Message
from rlm_worker.runs.answer import answer
from rlm_worker.runs.run import Outcome, Run
from rlm_worker.strategies.reading_time import read_within_time
from rlm_worker.strategies.standalone import standalone_question
from rlm_worker.tables.answer import Answered, answer_text, foreign_numbers, result_text
from rlm_worker.tables.prompts import QueryTask, prose_messages
from rlm_worker.tables.sql import QueryError, table_definitions
from rlm_worker.wire.events import RowsEvent
from rlm_worker.wire.tables import MAX_ROWS, TableOptions, TableSchema

from .chunking import RowPlan, first_plan, planned, probed, row_chunks
from .collect import Collected, collect, known_table
from .define import callers_plan, roots_plan, tell
from .extraction import Extraction
from .lines import values_of
from .memory import ExtractionMemory, Known, keep_tables, known_tables
from .query import Computed, Queries, ask_root, callers_query, compute, lacks
from .read import RowReader, Tally
from .report import cited_rows, counted, report, shown_rows

# Rows of the table that the root model is shown, and characters of each.
_SAMPLE_ROWS, _SAMPLE_CHARACTERS = 8, 600
# Of the rows that readers tell, at least so many must stand in the text.
_LEAST_VERIFIED = 0.5
# What the root model's queries may take of a run's dollars, and the tokens of their prompts.
_LAST_WORD_SHARE, _QUERY_TOKENS = 0.5, 3_000
_MEMORY, _SIZE, _NOTHING = "memory", "size", "none"


async def run_table(run: Run) -> Outcome:
    """Reads the context into tables and answers by a query; raises `NoTable` where that comes to nothing."""
    assert run.ports.rows is not None
    run.ledger.set_aside(_last_word_usd(run))
    run.ports.rows.begin(f"{run.job.run_id} {run.job.started_at}")
    if (reason := run.ports.rows.state(GIVEN_UP)) is not None:
        raise NoTable(reason)
    try:
        return await _answered(run)
    except NoTable as nothing:
        run.ports.rows.set_state(GIVEN_UP, str(nothing))
        run.ports.journal.forget_spans()
        raise


async def _answered(run: Run) -> Outcome:
    if run.job.query:
        run.question = await standalone_question(run)
    opening = await _opening(run)
    extraction, options = opening.extraction, run.job.table or TableOptions()
    schema = tell(run, extraction.plan.schema)
    collected = known_table(run) or await _read(run, extraction)
    _tell(run, collected)
    _check(collected)
    computed, limited = await _within_limits(run, opening, collected)
    answered, cut = await _words(run, collected, computed, schema)
    assert run.ports.rows is not None
    rows = shown_rows(run.ports.rows, computed, max(options.rows_in_result, 0))
    chunks = sum(collected.chunks[fate] for fate in ("read", "cut", "failed"))
    cited = cited_rows(rows) if computed is not None else cited_rows([])
    told = report(schema, collected, computed, rows)
    return Outcome(answered.text, chunks, collected.read, collected.stopped or limited or cut, cited=cited, table=told)


@dataclass(frozen=True, slots=True)
class _Opening:
    """How a run begins: what is read, and what the root model has written already where it knew the tables."""

    extraction: Extraction
    task: QueryTask | None = None
    reply: str | None = None


async def _opening(run: Run) -> _Opening:
    """The caller's tables, those that this text was read into before if they hold the answer, or new ones."""
    assert run.ports.rows is not None
    plan, asks = callers_plan(run), run.job.table is None or run.job.table.compute is None
    opening = await _known_opening(run) if plan is None and asks else None
    opening = opening or _Opening(Extraction.of(run, plan or await roots_plan(run)))
    run.ports.rows.set_state(EXTRACTION, opening.extraction.to_json())
    return opening


async def _known_opening(run: Run) -> _Opening | None:
    """The tables that were read before, with the root's query on them; None where they do not hold the answer."""
    assert run.ports.rows is not None
    known = await _known(run, run.ports.rows)
    if known is None:
        return None
    definitions = table_definitions(known.extraction.plan.schema)
    task = QueryTask(run.question, definitions, known.samples, known.counts)
    reply = await ask_root(run, task, [], may_lack=True)
    return None if lacks(reply) else _Opening(known.extraction, task, reply)


async def _known(run: Run, rows: RowTable) -> Known | None:
    """What was known of the text when the run began: a resumed one asks what it has asked before."""
    kept = rows.state(_MEMORY)
    if kept is not None:
        return None if kept == _NOTHING else Known.from_json(kept, run.job.owner)
    known = await known_tables(run)
    rows.set_state(_MEMORY, _NOTHING if known is None else known.to_json())
    return known


async def _read(run: Run, extraction: Extraction) -> Collected:
    """Reads what limits allow, and writes the table down."""
    assert run.ports.rows is not None
    memory = await ExtractionMemory.of(run, extraction)
    if memory is not None:
        run.ports.rows.set_state(CACHE_KEY, memory.key)
    options = run.job.table or TableOptions()
    tally = Tally(max_rows=min(options.max_rows, MAX_ROWS))
    documents = Documents.of(run.reader.manifest)
    reader = RowReader(run, extraction, memory, tally, documents)
    plan = await _plan(run, extraction, memory, reader)
    tally.expected = plan.expected(run)
    run.announce_plan("table", chunks=tally.expected, chunk_size=plan.characters)
    await read_within_time(run, row_chunks(run, plan), reader.read, tally)
    if memory is not None:
        await memory.save(plan.characters)
    _report(run, tally)
    return collect(run, tally, documents)


async def _plan(run: Run, extraction: Extraction, memory: ExtractionMemory | None, reader: RowReader) -> RowPlan:
    assert run.ports.rows is not None
    plan, kept = first_plan(run, extraction), run.ports.rows.state(_SIZE)
    known = int(kept) if kept else await memory.characters() if memory is not None else 0
    plan = planned(plan, known) if known else await probed(run, reader, plan)
    run.ports.rows.set_state(_SIZE, str(plan.characters))
    return plan


def _report(run: Run, tally: Tally) -> None:
    """Says what was not read, and why; raises what went wrong where nothing was."""
    if tally.stopped is not None:
        run.limit_reached(tally.stopped)
    failed = {index: found for index, found in sorted(tally.chunks.items()) if found.fate != "read"}
    for found in failed.values():
        if found.error is not None:
            run.lost(found.error)
    for index, found in [*failed.items()][:10]:
        run.warn(f"chunk {index}: {found.error or _fate(found.fate)}")
    if len(failed) > 10:
        run.warn(f"{len(failed) - 10} more chunks could not be read to their end")
    if not any(found.read for found in tally.chunks.values()):
        errors = [found.error for found in failed.values() if found.error is not None]
        raise _nothing_read(errors, tally)
    read, total = sum(found.read for found in tally.chunks.values()), run.reader.manifest.characters
    if read < total:
        run.warn(f"only {read:,} of {total:,} characters were read ({100 * read / total:.1f} %)")


def _fate(fate: str) -> str:
    return (
        "the reply was cut, and could not be gone on with" if fate == "cut" else "the reply says nothing that is a row"
    )


def _nothing_read(errors: Sequence[ModelError], tally: Tally) -> RLMError:
    if errors:
        return errors[-1]
    return tally.stopped or (NoTable("no reply held rows") if tally.chunks else NothingRead("nothing could be read"))


def _tell(run: Run, collected: Collected) -> None:
    run.emit(
        RowsEvent(
            reading=1,
            row_count=collected.rows,
            complete=collected.is_complete,
            rejected=collected.rejected_rows(),
            chunks=collected.read_chunks(),
        )
    )
    if collected.shortened:
        run.warn(f"there are more rows than maxRows ({collected.rows:,}) allows")


def _check(collected: Collected) -> None:
    if collected.rows < collected.told * _LEAST_VERIFIED:
        raise NoTable(f"of {collected.told:,} rows that were read, only {collected.rows:,} stand in the text")


async def _within_limits(run: Run, opening: _Opening, collected: Collected) -> tuple[Computed | None, bool]:
    """What the query gives; where a limit leaves none, the table itself is what there is."""
    try:
        return await _computed(run, opening, collected), False
    except UsageLimitExceeded as limit:
        run.limit_reached(limit)
        run.warn("the answer is the table as it was read: no call was left to compute on it")
        return None, True


async def _computed(run: Run, opening: _Opening, collected: Collected) -> Computed | None:
    """What the query gives; None where nothing was asked."""
    schema, options = opening.extraction.plan.schema, run.job.table or TableOptions()
    queries = Queries(run, schema, collected.rows)
    try:
        if options.compute is not None:
            return await queries.attempt(callers_query(schema, options.pick, options.compute))
        if not run.job.query:
            return None
        task = _task(run, opening.extraction, collected)
        await keep_tables(run, Known(opening.extraction, tuple(task.samples), task.counts))
        return await compute(queries, opening.task or task, opening.reply)
    except QueryError as error:
        raise NoTable(f"the query failed: {error}") from None
    finally:
        for doubt in queries.doubts:
            run.warn(doubt)


def _task(run: Run, extraction: Extraction, collected: Collected) -> QueryTask:
    """What the root model is shown of the table."""
    assert run.ports.rows is not None
    step = max(1, collected.rows // _SAMPLE_ROWS)
    lines = run.ports.rows.lines(range(0, collected.rows, step))
    samples = [json.dumps(values_of(line), ensure_ascii=False)[:_SAMPLE_CHARACTERS] for line in lines][:_SAMPLE_ROWS]
    tables = extraction.plan.schema.tables
    counts = ", ".join(f"{table.name}: {collected.counts.get(table.name, 0):,} rows" for table in tables)
    return QueryTask(run.question, table_definitions(extraction.plan.schema), samples, counts)


async def _words(
    run: Run, collected: Collected, computed: Computed | None, schema: TableSchema
) -> tuple[Answered, bool]:
    """The answer, and whether a limit cut its words short.

    It is in a model's words only where the caller has said how to answer, or which form it is to have.
    """
    if run.form is not None and (computed is None or not run.job.query):
        run.is_unfit("it is the table as it was read")
    if computed is None:
        return counted(collected, schema), False
    said, limited = await _said(run, computed)
    if said and run.form is not None:
        return Answered(said), limited
    coverage = min(1.0, collected.read / run.reader.manifest.characters)
    lost = collected.lost_chunks + collected.shortened + (collected.stopped and coverage >= 1)
    answered = answer_text(computed.result, said, question=run.question, coverage=coverage, failed_chunks=lost)
    if answered.replaced:
        run.warn("the model's words held a number that was not computed: the result stands in their place")
    return answered, limited


async def _said(run: Run, computed: Computed) -> tuple[str, bool]:
    """The result in a model's words, and whether a limit cut them short; empty where there are none."""
    if not run.job.query:
        return "", False
    if run.form is not None:
        return await _formed(run, computed)
    return await _prose(run, computed) if run.job.instructions else "", False


async def _formed(run: Run, computed: Computed) -> tuple[str, bool]:
    """The answer in the form that the request asks for; one with a number that was not computed does not fit."""
    known = f"{run.question}\n{run.form.words if run.form is not None else ''}"

    def check(text: str) -> str:
        foreign = foreign_numbers(_unescaped(text), computed.result, known)
        return f"it holds {', '.join(foreign[:3])}, which was not computed" if foreign else ""

    try:
        return await answer(run, "prose", _prose_messages(run, computed), check)
    except UsageLimitExceeded as limit:
        run.limit_reached(limit)
        run.is_unfit("it is the result as it was computed")
        return "", True
    except (ModelError, RateLimited) as error:
        if isinstance(error, ModelError):
            run.lost(error)
        run.warn(f"the result could not be put into its form: {error}")
        run.is_unfit("it is the result as it was computed")
        return "", False


def _unescaped(text: str) -> str:
    """JSON with its letters as they are read and its numbers as they are written: an escape is no number."""
    return json.dumps(json.loads(text, parse_int=str, parse_float=str, strict=False), ensure_ascii=False)


async def _prose(run: Run, computed: Computed) -> str:
    request = run.request("root", "prose", _prose_messages(run, computed))
    try:
        return (await run.model.complete(replace(request, call=request.key()))).text.strip()
    except (ModelError, RateLimited, UsageLimitExceeded) as error:
        run.warn(f"the result could not be put into words: {error}")
        return ""


def _prose_messages(run: Run, computed: Computed) -> tuple[Message, ...]:
    return prose_messages(run.question, result_text(computed.result), run.instructions, owner=run.job.owner)


def _last_word_usd(run: Run) -> float:
    limit = run.ledger.limits.max_cost_usd
    return 0.0 if limit is None else min(run.root.cost(_QUERY_TOKENS, run.root_output) * 2, limit * _LAST_WORD_SHARE)

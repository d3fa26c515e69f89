"""Strategy table, from the question to the answer: what is read once, kept, computed, and what becomes of failures."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from rlm_worker.errors import (
    InvalidRequest,
    InvocationSpent,
    RateLimited,
    RetryableError,
    RLMError,
    TerminalError,
    UsageLimitExceeded,
)
from rlm_worker.messages import ModelReply, ModelRequest
from rlm_worker.ports import Deployment
from rlm_worker.runs.job import Job
from rlm_worker.runs.run import RunPorts
from rlm_worker.sessions.prepare import prepare_job
from rlm_worker.strategies.execute import execute
from rlm_worker.testing import FunctionModel, MemoryCache, MemoryEvents, MemoryStore, memory_ports, reply_of
from rlm_worker.text.context import InlineReader, gather_documents
from rlm_worker.wire.requests import parse_request
from rlm_worker.wire.results import RunResult
from tests.unit.conftest import settings

SCHEMA = {
    "tables": [
        {
            "name": "visits",
            "description": "each line is a visit",
            "columns": [
                {"name": "user", "type": "integer", "required": True},
                {"name": "day", "type": "date"},
                {"name": "mood", "type": "enum", "enum": ["glad", "cross"], "required": True},
            ],
        }
    ]
}
COUNT = {"pick": "SELECT row_id FROM visits WHERE mood = 'glad'", "compute": "SELECT count(*) AS visits FROM picked"}
_LINE = re.compile(r"^(\d{4}-\d\d-\d\d) \| user (\d+) \| (.+)$", re.MULTILINE)
QUESTION = "How many glad visits are there?"
WORDS = {"glad": "What a lovely place. I will be back!", "cross": "Nothing worked! Never again."}


def visits(count: int, *, first: int = 0) -> str:
    """Lines of visits, every third of them glad."""
    lines = [
        f"2024-{number % 12 + 1:02}-{number % 27 + 1:02} | user {number} | {WORDS['cross' if number % 3 else 'glad']}"
        for number in range(first, first + count)
    ]
    return "\n".join(lines) + "\n"


@dataclass(slots=True)
class Reader:
    """A model that reads visits as it should, writes the schema and the query; counts what it is asked by kind."""

    query: object = field(default_factory=lambda: dict(COUNT))
    plan: object = field(default_factory=lambda: {"extract": "every visit", **SCHEMA})
    spoil: Callable[[ModelRequest, str], str] = lambda _, reply: reply
    asked: list[ModelRequest] = field(default_factory=list)

    def __call__(self, request: ModelRequest) -> ModelReply:
        self.asked.append(request)
        if request.kind == "rows":
            return reply_of(request, self.spoil(request, json.dumps({"rows": list(map(as_row, told(request)))})))
        said = {"schema": self.plan, "query": self.query}.get(request.kind, "a note")
        if isinstance(said, list):
            said = said.pop(0) if len(said) > 1 else said[0]
        return reply_of(request, said if isinstance(said, str) else json.dumps(said))

    def kinds(self) -> Counter[str]:
        return Counter(request.kind for request in self.asked)


def told(request: ModelRequest) -> list[re.Match[str]]:
    return list(_LINE.finditer(request.messages[-1].content))


def as_row(line: re.Match[str]) -> dict[str, object]:
    mood = next(mood for mood, words in WORDS.items() if words in line[3])
    return {"quote": line[0], "user": line[2], "day": line[1], "mood": mood}


async def job_of(text: object, query: str | None = QUESTION, **body: object) -> Job:
    config = {"strategy": "table", "maxSubCalls": 1_000, **dict(body.pop("config", {}))}  # type: ignore[call-overload]
    known = {"context": text, "config": config, **({"query": query} if query is not None else {}), **body}
    job, _ = await prepare_job(parse_request(json.dumps(known)), "tester", settings(), MemoryStore(), None, now=0)
    return job.model_copy(update={"started_at": 1.0, "run_id": "run"})


Texts = str | list[dict[str, str]]


async def run(ports: RunPorts, text: Texts, query: str | None = QUESTION, **body: object) -> RunResult:
    texts = [(None, text)] if isinstance(text, str) else [(one["name"], one["text"]) for one in text]
    manifest, parts = gather_documents(texts)
    return await execute(await job_of(text, query, **body), InlineReader(manifest, b"".join(parts)), ports)


def ports_of(reader: Callable[[ModelRequest], ModelReply], **deployment: object) -> RunPorts:
    held = replace(Deployment(), call_timeout_seconds=5.0, **deployment)  # type: ignore[arg-type]
    return memory_ports(FunctionModel(reader), deployment=held)


async def test_rows_are_counted() -> None:
    reader = Reader()
    ports = ports_of(reader)
    result = await run(ports, visits(900))
    assert (result.success, result.strategy, result.answer) == (True, "table", "300")
    assert result.coverage == 1
    assert result.table is not None
    assert (result.table.row_count, result.table.complete) == (900, True)
    assert result.table.query is not None
    assert result.table.query.rows == [[300]]
    assert len(result.table.rows) == 100
    assert {row.values["mood"] for row in result.table.rows} == {"glad"}
    assert reader.kinds()["schema"] == reader.kinds()["query"] == 1


async def test_picked_rows_are_cited() -> None:
    text = visits(60)
    result = await run(ports_of(Reader()), text, table={"schema": SCHEMA})
    assert len(result.citations) == 20
    for citation in result.citations:
        assert citation.row_id is not None
        assert text[citation.start_char_index : citation.end_char_index] == citation.cited_text


async def test_no_root_is_asked() -> None:
    reader = Reader()
    result = await run(ports_of(reader), visits(90), table={"schema": SCHEMA, **COUNT})
    assert result.answer == "30"
    assert set(reader.kinds()) == {"rows"}
    assert result.iterations == 0


async def test_extraction_asks_nothing() -> None:
    reader = Reader()
    result = await run(ports_of(reader), visits(90), None, table={"schema": SCHEMA})
    assert result.answer == "Rows: 90 in visits."
    assert set(reader.kinds()) == {"rows"}
    assert result.table is not None
    assert result.table.query is None
    assert len(result.table.rows) == 90


async def test_second_question_reads_nothing() -> None:
    reader = Reader()
    ports = ports_of(reader)
    text = visits(600)
    await run(ports, text)
    again = replace(ports_of(reader), cache=ports.cache)
    reader.asked.clear()
    reader.query = {"pick": "SELECT row_id FROM visits", "compute": "SELECT max(user) AS last FROM picked"}
    result = await run(again, text, "Which is the highest user?")
    assert result.answer == "599"
    assert reader.kinds() == {"query": 1}
    assert result.sub_calls == 0
    assert result.cached_sub_calls > 0


async def test_texts_share_no_keys() -> None:
    """Runs that read other texts into the same tables, as a batch does: KV takes one write a second of a key."""
    reader, kept = Reader(), list[set[str]]()
    for first in (0, 5_000):
        ports = ports_of(reader)
        await run(ports, visits(300, first=first), table={"schema": SCHEMA, **COUNT})
        assert isinstance(ports.cache, MemoryCache)
        kept.append({key for key in ports.cache.values if key.startswith("rows:")})
    assert all(kept)
    assert not kept[0] & kept[1]


async def test_lacking_table_is_read_anew() -> None:
    reader = Reader()
    ports = ports_of(reader)
    await run(ports, visits(300))
    reader.asked.clear()
    reader.query = ['{"lacking": "colours"}', dict(COUNT)]
    reader.plan = {"extract": "all visits", **SCHEMA}
    result = await run(replace(ports_of(reader), cache=ports.cache), visits(300), "How many are glad again?")
    assert result.answer == "100"
    assert reader.kinds()["schema"] == 1
    assert reader.kinds()["query"] == 2
    assert reader.kinds()["rows"] > 0


async def test_new_documents_are_read() -> None:
    """Of a context that has grown, only what is new."""
    reader = Reader()
    ports = ports_of(reader)
    old = [{"name": f"{number}.log", "text": visits(200, first=200 * number)} for number in range(4)]
    new = {"name": "9.log", "text": visits(150, first=5_000)}
    table = {"schema": SCHEMA, **COUNT}
    await run(ports, old, table=table)
    before = reader.kinds()["rows"]
    result = await run(replace(ports_of(reader), cache=ports.cache), [*old, new], table=table)
    assert result.answer == "317"
    assert reader.kinds()["rows"] - before <= before / 2
    assert not [request for request in reader.asked[before:] if "user 1 |" in request.messages[-1].content]


@pytest.mark.parametrize("overlap", [0, 500])
async def test_overlap_adds_no_row(overlap: int) -> None:
    result = await run(
        ports_of(Reader()), visits(400), table={"schema": SCHEMA, **COUNT}, config={"chunkOverlap": overlap}
    )
    assert result.table is not None
    assert result.table.row_count == 400
    assert result.answer == "134"


async def test_equal_records_are_rows() -> None:
    line = "2024-05-01 | user 7 | " + WORDS["glad"] + "\n"
    result = await run(ports_of(Reader()), line * 3 + visits(50), table={"schema": SCHEMA, **COUNT})
    assert result.table is not None
    assert result.table.row_count == 53
    assert result.answer == "20"


@pytest.mark.parametrize("reply", ["[]", '{"rows": []}', '<think>hm</think>{"rows": []}'])
async def test_absent_thing_is_none(reply: str) -> None:
    result = await run(ports_of(Reader(spoil=lambda *_: reply)), visits(90), table={"schema": SCHEMA, **COUNT})
    assert result.answer == "0"
    assert result.table is not None
    assert result.table.chunks.empty == result.table.chunks.read > 0


async def test_prose_falls_back() -> None:
    """Where no reply holds rows, notes are read instead; with a warning."""
    ports = ports_of(Reader(spoil=lambda *_: "I have found many visits."))
    result = await run(ports, visits(90), table={"schema": SCHEMA})
    assert (result.success, result.strategy) == (True, "map_reduce")
    assert any("no table" in warning for warning in result.warnings)


async def test_fallback_may_be_refused() -> None:
    ports = ports_of(Reader(spoil=lambda *_: "I have found many visits."))
    result = await run(ports, visits(90), table={"schema": SCHEMA, "fallback": False})
    assert result.error is not None
    assert result.error.type == "no_table"


async def test_invented_rows_fall_back() -> None:
    invented = json.dumps({"rows": [{"quote": "2031-01-01 | user 1 | hm", "user": "1", "mood": "glad"}]})
    result = await run(ports_of(Reader(spoil=lambda *_: invented)), visits(90), table={"schema": SCHEMA})
    assert result.strategy == "map_reduce"


async def test_cut_reply_goes_on() -> None:
    """A reply that ends in the middle of a row keeps its whole rows; what is behind them is asked for again."""

    def cut(request: ModelRequest, reply: str) -> str:
        return reply[:600] if len(reply) > 600 else reply

    reader = Reader(spoil=cut)

    def answered(request: ModelRequest) -> ModelReply:
        reply = reader(request)
        return replace(reply, finish_reason="length") if request.kind == "rows" and len(reply.text) == 600 else reply

    result = await run(ports_of(answered), visits(60), table={"schema": SCHEMA, **COUNT})
    assert result.table is not None
    assert result.table.row_count == 60
    assert result.table.complete
    assert result.answer == "20"


async def test_failed_chunk_is_told() -> None:
    def fails(request: ModelRequest) -> ModelReply:
        if request.kind == "rows" and "user 120 |" in request.messages[-1].content:
            raise RetryableError("no")
        return Reader()(request)

    result = await run(ports_of(fails, attempts=2), visits(300), table={"schema": SCHEMA, **COUNT})
    assert result.table is not None
    assert result.table.chunks.failed == 1
    assert not result.table.complete
    assert result.incomplete
    assert result.answer is not None
    assert "at least" in result.answer.lower()


async def test_sub_calls_are_capped() -> None:
    result = await run(ports_of(Reader()), visits(2_000), table={"schema": SCHEMA, **COUNT}, config={"maxSubCalls": 5})
    assert result.success
    assert result.sub_calls <= 5
    assert result.truncated
    assert result.coverage < 1
    assert result.answer is not None
    assert "at least" in result.answer.lower()


async def test_rows_are_capped() -> None:
    result = await run(ports_of(Reader()), visits(600), table={"schema": SCHEMA, "maxRows": 50, **COUNT})
    assert result.table is not None
    assert result.table.row_count == 50
    assert not result.table.complete
    assert "at least" in str(result.answer).lower()


async def test_bad_query_is_repaired() -> None:
    reader = Reader(query=["no idea", {"pick": "SELECT row_id FROM nothing", "compute": "SELECT 1"}, dict(COUNT)])
    result = await run(ports_of(reader), visits(30))
    assert result.answer == "10"
    assert reader.kinds()["query"] == 3


async def test_no_query_falls_back() -> None:
    reader = Reader(query="I cannot write SQL")
    result = await run(ports_of(reader), visits(30))
    assert result.strategy == "map_reduce"
    assert reader.kinds()["query"] == 4


async def test_empty_pick_is_looked_into() -> None:
    empty = {"pick": "SELECT row_id FROM visits WHERE mood = 'gladly'", "compute": "SELECT count(*) FROM picked"}
    reader = Reader(query=[empty, dict(COUNT)])
    result = await run(ports_of(reader), visits(30))
    assert result.answer == "10"
    assert "glad" in reader.asked[-1].messages[-1].content


@pytest.mark.parametrize(
    ("part", "statement"),
    [
        ("compute", "SELECT 1; DROP TABLE visits"),
        ("compute", "SELECT date('now')"),
        ("pick", "SELECT name FROM sqlite_master"),
        ("pick", "SELECT row_id FROM calls"),
    ],
)
async def test_refused_before_paid(part: str, statement: str) -> None:
    with pytest.raises(InvalidRequest, match=f"table.{part}"):
        await job_of("x", table={"schema": SCHEMA, **COUNT, part: statement})


async def test_resumed_run_pays_once() -> None:
    """A life that was cut off in the middle: the next one asks for the rest only, and says the same."""
    reader = Reader()
    ports = ports_of(reader)
    whole = await run(ports_of(reader), visits(900))
    reader.asked.clear()

    def dies(request: ModelRequest) -> ModelReply:
        if request.kind == "rows" and reader.kinds()["rows"] == 5:
            raise SystemError("the host has ended")
        return reader(request)

    with pytest.raises(SystemError):
        await run(replace(ports, model=FunctionModel(dies)), visits(900))
    paid = [request.call for request in reader.asked]
    result = await run(replace(ports, model=FunctionModel(reader)), visits(900))
    asked = Counter(request.call for request in reader.asked)
    assert max(asked[call] for call in paid) == 1
    assert (result.answer, result.sub_calls, result.table) == (whole.answer, whole.sub_calls, whole.table)


async def test_read_table_is_kept() -> None:
    """A life that ends in the query: the next one reads the table from where it lies, no chunk and no reply."""
    reader = Reader()
    ports = ports_of(reader)

    def dies(request: ModelRequest) -> ModelReply:
        if request.kind == "query":
            raise SystemError("the host has ended")
        return reader(request)

    with pytest.raises(SystemError):
        await run(replace(ports, model=FunctionModel(dies)), visits(300))
    asked = reader.kinds()["rows"]
    result = await run(replace(ports, model=FunctionModel(reader)), visits(300))
    assert result.answer == "100"
    assert reader.kinds()["rows"] == asked


async def test_resumed_run_warns_again() -> None:
    """A life that goes on with the table says what could not be read into it, and that it may be another time."""
    reader, ends = Reader(), True

    def fails(request: ModelRequest) -> ModelReply:
        if request.kind == "rows" and "user 120 |" in request.messages[-1].content:
            raise RetryableError("no")
        if request.kind == "query" and ends:
            raise SystemError("the host has ended")
        return reader(request)

    ports = ports_of(fails, attempts=2)
    with pytest.raises(SystemError):
        await run(ports, visits(300))
    ends = False
    result, whole = await run(ports, visits(300)), await run(ports_of(fails, attempts=2), visits(300))
    assert result.incomplete
    assert len(result.warnings) > 1
    assert (result.warnings, result.incomplete, result.answer) == (whole.warnings, whole.incomplete, whole.answer)


async def test_own_table_is_not_met() -> None:
    """What a run has kept for the next question is not an earlier one's to its own next life."""
    reader = Reader()
    ports = ports_of(reader)

    def dies(request: ModelRequest) -> ModelReply:
        if request.kind == "prose":
            raise SystemError("the host has ended")
        return reader(request)

    with pytest.raises(SystemError):
        await run(replace(ports, model=FunctionModel(dies)), visits(300), instructions="In a sentence.")
    asked = reader.kinds()
    result = await run(replace(ports, model=FunctionModel(reader)), visits(300), instructions="In a sentence.")
    assert result.success
    assert reader.kinds() - asked == {"prose": 1}


async def test_siblings_table_is_not_met() -> None:
    """Another run over a text that begins alike, between two lives of one, does not make it read by other tables."""
    reader, other = Reader(), Reader(plan={"extract": "all visits", **SCHEMA})
    ports = ports_of(reader)

    def dies(request: ModelRequest) -> ModelReply:
        if request.kind == "rows" and reader.kinds()["rows"] == 5:
            raise SystemError("the host has ended")
        return reader(request)

    with pytest.raises(SystemError):
        await run(replace(ports, model=FunctionModel(dies)), visits(900))
    await run(replace(ports_of(other), cache=ports.cache), visits(200))
    result = await run(replace(ports, model=FunctionModel(reader)), visits(900))
    assert result.answer == "300"
    assert reader.kinds()["schema"] == reader.kinds()["query"] == 1
    spans = [request.span.start for request in reader.asked if request.span is not None and request.span.index >= 0]
    assert len(spans) == len(set(spans))


@pytest.mark.parametrize("lives", [1, 2])
async def test_stand_ins_rows_are_not_kept(lives: int) -> None:
    """What a rule's fallback has read is not the reading of the model that it stood in for."""
    text, ends = visits(90), lives > 1
    job = await job_of(text, table={"schema": SCHEMA})
    job = job.model_copy(update={"chains": {job.config.sub_model: [job.config.root_model]}})
    reader = Reader()

    def stands_in(request: ModelRequest) -> ModelReply:
        if request.model.id == job.config.sub_model:
            raise TerminalError("no credits", unavailable=True)
        if request.kind == "query" and ends:
            raise SystemError("the host has ended")
        return reader(request)

    ports = ports_of(stands_in)
    manifest, parts = gather_documents([(None, text)])
    context = InlineReader(manifest, b"".join(parts))
    if ends:
        with pytest.raises(SystemError):
            await execute(job, context, ports)
        ends = False
    result = await execute(job, context, ports)
    assert result.answer == "30", result.warnings
    assert isinstance(ports.cache, MemoryCache)
    assert not [key for key in ports.cache.values if key.startswith("rows:") and not key.endswith(":size")]


async def test_query_begun_twice_is_too_heavy() -> None:
    reader = Reader(query=[dict(COUNT), {**COUNT, "compute": "SELECT count(user) FROM picked"}])
    ports = ports_of(reader)
    assert ports.rows is not None
    ports.rows.begin("run 1.0")
    statements = json.dumps([COUNT["pick"], COUNT["compute"]])
    ports.rows.start_query(1, statements)
    ports.rows.start_query(1, statements)
    result = await run(ports, visits(30))
    assert result.answer == "10"
    assert result.table is not None
    assert result.table.query is not None
    assert result.table.query.attempts == 2
    assert "query_too_heavy" in reader.asked[-1].messages[-1].content


async def test_events_tell_the_table() -> None:
    ports = ports_of(Reader())
    await run(ports, visits(300))
    assert isinstance(ports.events, MemoryEvents)
    kinds = [kind for kind, _ in ports.events.events]
    assert [kind for kind in kinds if kind in ("schema", "rows", "query")] == ["schema", "rows", "query"]
    (rows,) = [data for kind, data in ports.events.events if kind == "rows"]
    assert rows["rowCount"] == 300


FORM = {"type": "object", "properties": {"glad": {"type": "integer"}}, "required": ["glad"]}


@pytest.mark.parametrize(("said", "fits"), [('{"glad": 10}', True), ('{"glad": 11}', False)])
async def test_form_holds_computed_numbers(said: str, fits: bool) -> None:
    reader = Reader()

    def answered(request: ModelRequest) -> ModelReply:
        return reply_of(request, said) if request.kind in ("prose", "mend") else reader(request)

    result = await run(ports_of(answered), visits(30), responseSchema=FORM)
    assert result.success is fits
    assert result.answer == said


VERSIONED = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "version": {"const": 2},
        "m3": {"enum": [7, "7b"]},
        "glad": {"type": "integer", "minimum": 0, "maximum": 55, "description": "of the 90 visits"},
        "place": {"type": "string"},
    },
    "required": ["version", "glad"],
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("said", "fits"),
    [
        ('{"version": 2, "glad": 10}', True),
        ('{"version": 2, "m3": "7b", "glad": 10, "place": "Caf\\u00e9 of 90"}', True),
        ('{"version": 2, "glad": 55}', False),
        ('{"version": 2, "glad": 12}', False),
    ],
)
async def test_forms_own_numbers_fit(said: str, fits: bool, stream: bool) -> None:
    """A number that the schema demands is no invention; the bounds of others are none that may be said."""
    reader = Reader()

    def answered(request: ModelRequest) -> ModelReply:
        return reply_of(request, said) if request.kind in ("prose", "mend") else reader(request)

    ports = ports_of(answered)
    result = await run(ports, visits(30), responseSchema=VERSIONED, stream=stream)
    assert (result.success, result.answer) == (fits, said)
    assert isinstance(ports.events, MemoryEvents)
    assert bool(ports.events.of_kind("answer")) is (fits and stream)


async def test_foreign_number_is_mended() -> None:
    """One that was not computed goes back to the model, with the result, and is said only when it is mended."""
    reader, said = Reader(), ['{"glad": 11}', '{"glad": 12}', '{"glad": 10}']
    asked: list[ModelRequest] = []

    def answered(request: ModelRequest) -> ModelReply:
        if request.kind not in ("prose", "mend"):
            return reader(request)
        asked.append(request)
        return reply_of(request, said[len(asked) - 1])

    ports = ports_of(answered)
    result = await run(ports, visits(30), responseSchema=FORM, stream=True)
    assert (result.success, result.answer) == (True, said[-1])
    assert [request.kind for request in asked] == ["prose", "mend", "mend"]
    assert asked[1].messages[:-2] == asked[0].messages
    assert "11" in asked[1].messages[-1].content
    assert isinstance(ports.events, MemoryEvents)
    assert [event["delta"] for event in ports.events.of_kind("answer")] == [said[-1]]


@pytest.mark.parametrize(("said", "answer"), [("There were 10 glad visits.", None), ("There were 12 of them.", "10")])
async def test_foreign_number_is_replaced(said: str, answer: str | None) -> None:
    reader = Reader()

    def answered(request: ModelRequest) -> ModelReply:
        return reply_of(request, said) if request.kind == "prose" else reader(request)

    result = await run(ports_of(answered), visits(30), instructions="In a sentence.")
    assert result.answer == (answer or said)


@pytest.mark.parametrize(
    ("query", "config", "chosen"),
    [
        ("How many glad visits are there?", {}, "table"),
        ("List all users who were cross.", {}, "table"),
        ("Who was the first visitor?", {}, "map_reduce"),
        ("How many glad visits are there?", {"maxSubCalls": 10}, "map_reduce"),
        ("How many glad visits are there?", {"maxCostUsd": 0.001}, "map_reduce"),
        ("How many glad visits are there?", {"rootModel": "@cf/meta/llama-3.2-3b-instruct"}, "map_reduce"),
        ("How many glad visits are there?", {"chunkSize": 1_000_000}, "table"),
    ],
)
async def test_auto_counts_by_table(query: str, config: dict[str, object], chosen: str) -> None:
    result = await run(ports_of(Reader()), visits(1_500), query, config={"strategy": "auto", **config})
    assert result.strategy == chosen, result.warnings
    assert result.routing is not None
    assert (result.routing.strategy, bool(result.routing.reason)) == (chosen, True)


async def test_auto_answers_at_once() -> None:
    """What fits the window is asked in one call, whatever is asked."""
    result = await run(ports_of(Reader()), visits(30), config={"strategy": "auto"})
    assert result.strategy == "direct"


async def test_fallback_is_routed() -> None:
    ports = ports_of(Reader(plan="I would rather not"))
    result = await run(ports, visits(90))
    assert result.strategy == "map_reduce"
    assert result.routing is not None
    assert "no schema holds" in result.routing.reason


async def test_limit_leaves_the_table() -> None:
    """Where no turn is left for the query, what was read is the answer."""
    result = await run(ports_of(Reader()), visits(90), config={"maxIterations": 1})
    assert result.success
    assert result.truncated
    assert result.answer == "Rows: 90 in visits."
    assert result.table is not None
    assert len(result.table.rows) == 90


async def test_table_is_no_form() -> None:
    """Where no turn is left for the query, the table is kept, and is not what was asked for."""
    result = await run(ports_of(Reader()), visits(90), config={"maxIterations": 1}, responseSchema=FORM)
    assert result.error is not None
    assert (result.success, result.error.type) == (False, "answer_invalid")
    assert (result.answer, result.truncated) == ("Rows: 90 in visits.", True)
    assert result.table is not None
    assert len(result.table.rows) == 90


@pytest.mark.parametrize("table", [{"schema": SCHEMA}, {"schema": SCHEMA, **COUNT}])
async def test_form_needs_query(table: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest, match="responseSchema: needs query"):
        await job_of("x", None, table=table, responseSchema=FORM)


@pytest.mark.parametrize("body", [{"responseSchema": FORM}, {"instructions": "In a sentence."}])
@pytest.mark.parametrize(
    "error",
    [TerminalError("no", 5004), RetryableError("no"), RateLimited("no dollars", 60), UsageLimitExceeded("x", 1, 1)],
    ids=lambda error: type(error).__name__,
)
async def test_failed_words_leave_result(body: dict[str, object], error: RLMError) -> None:
    """What was computed is not lost with the model's last word on it."""
    reader = Reader()

    def fails(request: ModelRequest) -> ModelReply:
        if request.kind == "prose":
            raise error
        return reader(request)

    result = await run(ports_of(fails, attempts=2), visits(90), **body)  # type: ignore[arg-type]
    assert result.answer == "30"
    assert result.table is not None
    assert result.table.query is not None
    assert result.table.query.rows == [[30]]
    assert any("could not be put into" in warning or "limit reached" in warning for warning in result.warnings)
    assert (None if result.error is None else result.error.type) == (
        "answer_invalid" if "responseSchema" in body else None
    )


async def test_limit_leaves_result() -> None:
    result = await run(ports_of(Reader()), visits(90), config={"maxIterations": 2}, responseSchema=FORM)
    assert result.error is not None
    assert (result.error.type, result.answer, result.truncated) == ("answer_invalid", "30", True)
    assert result.table is not None
    assert any("maxIterations" in warning for warning in result.warnings)


@pytest.mark.parametrize("kind", ["query", "prose"])
async def test_spent_invocation_passes(kind: str) -> None:
    """The next invocation goes on with the table."""
    reader = Reader()
    ports = ports_of(reader)

    def spent(request: ModelRequest) -> ModelReply:
        if request.kind == kind:
            raise InvocationSpent("no more")
        return reader(request)

    with pytest.raises(InvocationSpent):
        await run(replace(ports, model=FunctionModel(spent)), visits(90), responseSchema=FORM)

"""A session that follows another one: what it takes over, what that costs, and what stays when the other goes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest

from rlm_worker.errors import (
    Conflict,
    InvalidRequest,
    ModelError,
    NotFound,
    RetryableError,
    StorageUnavailable,
    TerminalError,
)
from rlm_worker.journal.session import SessionJournal
from rlm_worker.log import RequestRecord
from rlm_worker.messages import ModelReply, ModelRequest
from rlm_worker.ports import MAX_TEXT_CHARACTERS
from rlm_worker.repl import inherited
from rlm_worker.runs.conversation import MAX_FOLLOW_UPS
from rlm_worker.runs.job import Job
from rlm_worker.runs.run import RunPorts
from rlm_worker.sessions import prepare
from rlm_worker.sessions.prepare import prepare_job
from rlm_worker.sessions.runner import Runner
from rlm_worker.sessions.session import Session
from rlm_worker.testing import (
    FunctionModel,
    ManualClock,
    MemoryCache,
    MemoryMetrics,
    MemoryStore,
    SqliteDatabase,
    ThreadSandbox,
    memory_ports,
    reply_of,
)
from rlm_worker.wire.requests import RunConfig, RunRequest, parse_request
from rlm_worker.wire.results import RunResult
from rlm_worker.wire.strategies import StrategyName
from tests.unit.conftest import settings
from tests.unit.test_repl import cell
from tests.unit.test_session import Storage, trajectory_calls

SHORT = "The tower in Bergen cost 300 crowns. The bridge in Oslo cost 400 crowns."
LONG = "".join(f"{number}. The grass is green and the sky is blue. " for number in range(3_000)) + SHORT
OWNER = "ada"
# What such requests were named before there were follow-ups.
NAMES: dict[str, dict[str, object]] = {
    "71f424fffd5f574f5c61fa9b3f0ad69feeb7987f6e8d2c0dedd3e41bfb05d7e9": {"context": "The sky is blue."},
    "9cbec069fa6bdcc8a6e4841f278cf85005d6011096a7070d37fd4310a3949abe": {
        "context": ["a", "b"],
        "config": {"strategy": "repl"},
        "instructions": "briefly",
    },
}


@dataclass
class Town:
    """A deployment in memory: sessions by name, called as over RPC."""

    model: FunctionModel
    store: MemoryStore = field(default_factory=MemoryStore)
    cache: MemoryCache = field(default_factory=MemoryCache)
    sandbox: ThreadSandbox = field(default_factory=ThreadSandbox)
    sessions: dict[str, Session] = field(default_factory=dict)
    journals: dict[str, SessionJournal] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    before_page: Callable[[int], Awaitable[None]] | None = None

    async def call(self, name: str, method: str, *arguments: object) -> object:
        self.calls.append((name, method))
        if name not in self.sessions:
            self.sessions[name] = self._open(name)
        session = self.sessions[name]
        if method == "start":
            started = await session.start(Job.model_validate_json(str(arguments[0])), context_stored=bool(arguments[1]))
            return started.to_wire() if isinstance(started, RunResult) else started
        if method == "run":
            started = await session.start(Job.model_validate_json(str(arguments[0])), context_stored=True)
            return (started if isinstance(started, RunResult) else await session.wait()).to_wire()
        if method == "wait":
            return (await session.wait()).to_wire()
        session.check_owner(str(arguments[0]))
        if method == "followed":
            return json.loads(session.followed().to_json())
        assert method == "repl_page"
        if self.before_page is not None:
            await self.before_page(int(str(arguments[1])))
            session.check_owner(str(arguments[0]))
        return json.loads(session.repl_page(int(str(arguments[1]))).to_json())

    async def stream(self, name: str, method: str, *arguments: object) -> object:
        raise AssertionError(method)

    def _open(self, name: str) -> Session:
        storage = Storage(SqliteDatabase())
        journal = self.journals[name] = SessionJournal(storage.database)

        def ports(journal: SessionJournal) -> RunPorts:
            usual = replace(memory_ports(self.model), journal=journal, events=journal, cache=self.cache)
            usual = replace(usual, cells=journal.cells(usual.clock.now), rows=journal.rows())
            return replace(usual, sandbox=self.sandbox, sessions=self)

        return Session(
            journal, ports, self.store, MemoryMetrics(), alarm=storage, eraser=storage, retention_seconds=600
        )

    def runner(self) -> Runner:
        return Runner(settings(), self, self.store, self.cache, MemoryMetrics(), ManualClock())

    async def ask(self, *, owner: str = OWNER, **body: object) -> RunResult:
        request = parse_request(json.dumps({"query": "what did the tower cost?", **body}))
        _, result = await self.runner().ask(request, owner, None, RequestRecord("1", "POST", "/rlm", 0.0))
        assert result is not None
        return result

    async def follow(self, previous: RunResult, query: str, **body: object) -> RunResult:
        return await self.ask(owner=OWNER, previousSessionId=previous.session_id, query=query, **body)


def echoing(request: ModelRequest) -> ModelReply:
    """Rewrites a question as one about the bridge, finds what there is, and answers with its number of messages."""
    said = {"rewrite": "What did the bridge in Oslo cost?", "map": "NONE"}
    return reply_of(request, said.get(request.kind, f"answer to {request.messages[-1].content[-60:]!r}"))


@pytest.fixture
def town() -> Town:
    return Town(FunctionModel(echoing))


def asked(town: Town, kind: str) -> str:
    """The last prompt of a kind."""
    return town.model.asked(kind)[-1].messages[-1].content


async def test_short_text_goes_along(town: Town) -> None:
    first = await town.ask(context=SHORT)
    second = await town.follow(first, "and the bridge?")
    assert second.previous_session_id == first.session_id
    assert SHORT in asked(town, "direct")
    assert "what did the tower cost?" in asked(town, "direct")
    assert not town.store.objects


async def test_long_text_is_copied(town: Town) -> None:
    first = await town.ask(context=LONG)
    second = await town.follow(first, "and the bridge?")
    assert second.success
    assert {key.split("/")[1] for key in town.store.objects} == {first.session_id, second.session_id}
    assert set(town.store.objects.values()) == {LONG.encode()}
    await town.sessions[first.session_id].delete()
    third = await town.follow(second, "and now?")
    assert third.coverage == 1


async def test_copy_needs_its_source(town: Town) -> None:
    """A first session that goes while its text is copied leaves no follow-up behind, and nothing stored."""
    first = await town.ask(context=LONG)
    town.store.objects.clear()
    with pytest.raises(NotFound, match="send it again"):
        await town.follow(first, "and the bridge?")
    assert not town.store.objects


@pytest.mark.parametrize("context", [SHORT, LONG])
async def test_same_follow_up_copies_once(town: Town, context: str) -> None:
    first = await town.ask(context=context)
    second = await town.follow(first, "and the bridge?")
    before = len(town.model.requests), len(town.store.reads)
    again = await town.follow(first, "and the bridge?")
    assert (again.session_id, again.cache_hit) == (second.session_id, True)
    assert (len(town.model.requests), len(town.store.reads)) == before


async def test_readers_are_asked_alone(town: Town) -> None:
    first = await town.ask(context=LONG)
    second = await town.follow(first, "and the other one?")
    kinds = [request.kind for request in town.model.requests][-second.sub_calls - 2 :]
    assert kinds == ["rewrite", *["map"] * second.sub_calls, "synthesize"]
    assert "Question: and the other one? (in full: What did the bridge in Oslo cost?)" in asked(town, "map")
    assert "others were asked" not in asked(town, "map")
    final = asked(town, "synthesize")
    assert "Question: and the other one?" in final
    assert "what did the tower cost?" in final
    assert second.cost_usd == pytest.approx(town.journals[second.session_id].paid_usd())


Answering = Callable[[ModelRequest], ModelReply]


def broken(*kinds: str, error: ModelError) -> Answering:
    """A model that fails at these kinds of calls, at the first chunk alone where chunks are read; it echoes else."""

    def answer(request: ModelRequest) -> ModelReply:
        if request.kind in kinds and (request.span is None or request.span.index == 0):
            raise error
        return echoing(request)

    return answer


BUSY = RetryableError("busy", 3040)
AS_IT_STANDS = "without what it refers to"


def says(result: RunResult, words: str) -> bool:
    return any(words in warning for warning in result.warnings)


@pytest.mark.parametrize("error", [TerminalError("no such thing"), BUSY])
async def test_failed_rewriting_is_told(town: Town, error: ModelError) -> None:
    first = await town.ask(context=LONG)
    town.model.answer = broken("rewrite", error=error)
    second = await town.follow(first, "and the other one?")
    assert second.success
    assert not second.incomplete
    assert "Question: and the other one?" in asked(town, "map")
    assert says(second, AS_IT_STANDS)


@pytest.mark.parametrize("kind", ["map", "synthesize"])
async def test_failed_rewriting_stays(town: Town, kind: str) -> None:
    """What was read for the question as it stands stays read when more is asked; it is shown so, and goes with it."""
    first = await town.ask(context=LONG)
    cached, before = set(town.cache.values), len(town.model.asked("map"))
    town.model.answer = broken("rewrite", kind, error=BUSY)
    second = await town.follow(first, "and the other one?")
    assert second.incomplete or not second.success
    town.model.answer = echoing
    again = await town.follow(first, "and the other one?")
    assert again.success
    assert not again.incomplete
    assert says(again, AS_IT_STANDS)
    sent = {request.messages[-1].content for request in town.model.asked("map")[before:]}
    assert len(sent) == again.sub_calls == again.chunks
    assert await map_prompts(town, again) == sent
    await town.sessions[again.session_id].delete()
    assert set(town.cache.values) == cached


async def test_every_question_goes(town: Town) -> None:
    """A session that was run anew, and had its question put otherwise, takes the notes of both with it."""
    first = await town.ask(context=LONG)
    cached = set(town.cache.values)
    await town.follow(first, "and the other one?")
    said = {"rewrite": "How dear was the bridge of Oslo?", "map": "NONE"}
    town.model.answer = lambda request: reply_of(request, said.get(request.kind, "400"))
    again = await town.follow(first, "and the other one?", config={"useCache": False})
    assert "(in full: How dear was" in asked(town, "map")
    assert set(town.cache.values) > cached
    await town.sessions[again.session_id].delete()
    assert set(town.cache.values) == cached


async def test_nothing_read_asks_anew(town: Town) -> None:
    """Where nothing was paid for the question as it stands, another attempt has it written again."""
    first = await town.ask(context=LONG)
    town.model.answer = lambda request: broken(request.kind, error=BUSY)(replace(request, span=None))
    assert not (await town.follow(first, "and the other one?")).success
    town.model.answer = echoing
    again = await town.follow(first, "and the other one?")
    assert again.success
    assert not says(again, AS_IT_STANDS)
    assert "(in full: What did the bridge in Oslo cost?)" in asked(town, "map")


async def test_table_follows_repl(town: Town) -> None:
    """A follow-up that brings a table inherits no other strategy, and shows and deletes what it has read instead."""
    town.model.answer = lambda request: reply_of(request, cell("FINAL(1)"))
    first = await town.ask(context=LONG, config={"strategy": "repl"})
    cached = set(town.cache.values)
    town.model.answer = echoing
    second = await town.follow(first, "and the other one?", table={})
    assert (second.strategy, second.routing.strategy if second.routing else "") == ("map_reduce", "map_reduce")
    assert await map_prompts(town, second) == {request.messages[-1].content for request in town.model.asked("map")}
    await town.sessions[second.session_id].delete()
    assert set(town.cache.values) == cached


@pytest.mark.parametrize("strategy", ["repl", "direct", "map_reduce"])
async def test_table_is_the_strategy(town: Town, strategy: StrategyName) -> None:
    """Where a follow-up brings a table, the session before has no say in the strategy, unless that left it open."""
    for named, expected in (({"strategy": strategy}, "table"), ({}, "auto")):
        first = await town.ask(context=SHORT, config=named)
        said = {"query": "how many?", "table": {}, "previousSessionId": first.session_id}
        job, _ = await town.runner().prepare(parse_request(json.dumps(said)), OWNER, None)
        assert job.config.strategy == expected


async def map_prompts(town: Town, result: RunResult) -> set[str]:
    """The prompts of the chunks that were read, as the trajectory shows them."""
    calls = await trajectory_calls(town.sessions[result.session_id])
    return {call["prompt"][-1]["content"] for call in calls if call["kind"] == "map"}


async def test_last_turn_is_for_the_answer(town: Town) -> None:
    """Where the root model may speak only once, it answers."""
    first = await town.ask(context=LONG)
    second = await town.follow(first, "and the other one?", config={"maxIterations": 1})
    assert second.iterations == 1
    assert not second.truncated
    assert not town.model.asked("rewrite")


async def test_silence_follows_config(town: Town) -> None:
    config = {"rootModel": "@cf/openai/gpt-oss-120b", "chunkSize": 20_000, "maxCostUsd": 0.5}
    first = await town.ask(context=LONG, config=config)
    for said, size, limit in (({}, 20_000, 0.5), ({"chunkSize": 30_000, "maxCostUsd": None}, 30_000, None)):
        request = parse_request(
            json.dumps({"previousSessionId": first.session_id, "query": "so?", "config": said}), RunConfig(chunk_size=9)
        )
        job, _ = await town.runner().prepare(request, OWNER, None)
        assert job.config.root_model == "@cf/openai/gpt-oss-120b"
        assert (job.config.chunk_size, job.config.max_cost_usd) == (size, limit)


async def test_stranger_and_nobody_alike(town: Town) -> None:
    first = await town.ask(context=SHORT)
    said = []
    for session, owner in ((first.session_id, "bob"), ("0" * 32, OWNER)):
        with pytest.raises(NotFound) as refused:
            await town.ask(owner=owner, previousSessionId=session)
        said.append(str(refused.value))
    assert said[0] == said[1]


async def test_running_session_conflicts(town: Town) -> None:
    ready = asyncio.Event()

    async def slow(request: ModelRequest) -> ModelReply:
        await ready.wait()
        return echoing(request)

    town.model.answer = slow
    first = asyncio.create_task(town.ask(context=SHORT))
    while not town.model.requests:  # noqa: ASYNC110 - the model counts, it signals nothing
        await asyncio.sleep(0.001)
    (name,) = town.sessions
    with pytest.raises(Conflict, match="still runs"):
        await town.ask(previousSessionId=name)
    ready.set()
    await first


async def test_failed_turn_is_followed(town: Town) -> None:
    def failing(request: ModelRequest) -> ModelReply:
        raise TerminalError("no")

    town.model.answer = failing
    first = await town.ask(context=SHORT)
    assert not first.success
    town.model.answer = echoing
    await town.follow(first, "and the bridge?")
    assert f"(There was no answer: {first.error.type if first.error else ''}.)" in asked(town, "direct")


async def test_chain_has_an_end(town: Town) -> None:
    last = await town.ask(context=SHORT)
    for number in range(MAX_FOLLOW_UPS):
        last = await town.follow(last, f"turn {number}?")
    with pytest.raises(InvalidRequest, match="50 follow-ups"):
        await town.follow(last, "one too many?")


def plays(*codes: str) -> FunctionModel:
    """A root model whose first turns in each session are these, and a sub-model that counts what it is asked."""
    rest = list(codes)

    def answer(request: ModelRequest) -> ModelReply:
        return reply_of(request, cell(rest.pop(0)) if request.role == "root" else f"saw {request.messages[-1].content}")

    return FunctionModel(answer)


async def test_variables_are_taken_over() -> None:
    """Functions, chance, the question and answers are as they were; no call is made again."""
    town = Town(
        plays(
            "import random\ndrawn = random.random()\nseen = [llm_query(f'{query} {drawn} {n}') for n in range(3)]",
            "def shout(x): return x.upper()\nFINAL([seen, drawn])",
            "mine = llm_query('mine')\nFINAL([seen, drawn])",
            "FINAL([shout(mine), seen, drawn, query])",
        )
    )
    first = await town.ask(context=SHORT, config={"strategy": "repl", "temperature": 0.7})
    second = await town.follow(first, "second?")
    third = await town.follow(second, "third?")
    assert second.answer == first.answer
    assert json.loads(third.answer or "") == ["SAW MINE", *json.loads(first.answer or ""), "third?"]
    assert len(town.model.asked("llm_query")) == 4
    assert [one.sub_calls for one in (first, second, third)] == [3, 1, 0]
    assert [one.iterations for one in (first, second, third)] == [2, 1, 1]
    assert third.sandboxes == 1


async def test_variables_survive_deletion() -> None:
    town = Town(plays("kept = llm_query('x')\nFINAL(kept)", "FINAL(kept)", "FINAL(kept * 2)"))
    first = await town.ask(context=SHORT, config={"strategy": "repl"})
    second = await town.follow(first, "second?")
    await town.sessions[first.session_id].delete()
    third = await town.follow(second, "third?")
    assert third.answer == "saw xsaw x"


async def test_sandbox_is_held_first() -> None:
    """A follow-up that cannot pay for its REPL spends nothing on the way to it."""
    town = Town(plays("kept = 1\nFINAL(kept)", "FINAL(kept)"))
    first = await town.ask(context=SHORT, config={"strategy": "repl"})
    before = len(town.model.requests)
    second = await town.follow(first, "second?", config={"maxCostUsd": 0.0019})
    assert second.error is not None
    assert "a sandbox for the REPL costs 0.002" in second.error.message
    assert len(town.model.requests) == before


async def test_begun_anew_is_waited_for() -> None:
    """Variables of a run that has begun anew since are not half taken over."""
    town = Town(plays("kept = 1\nFINAL(kept)"))
    first = await town.ask(context=SHORT, config={"strategy": "repl"})
    town.journals[first.session_id].set_fact("status", "running")
    with pytest.raises(Conflict, match="runs again"):
        town.sessions[first.session_id].repl_page(0)


async def test_lost_variables_are_told() -> None:
    """A session that goes before its variables were taken over; the follow-up says so and begins without them."""
    town = Town(plays("kept = 1\nFINAL(kept)", "FINAL(sorted(name for name in globals() if name == 'kept'))"))
    first = await town.ask(context=SHORT, config={"strategy": "repl"})
    request = parse_request(json.dumps({"previousSessionId": first.session_id, "query": "second?"}))
    job, _ = await town.runner().prepare(request, OWNER, None)
    await town.sessions[first.session_id].delete()
    result = RunResult.model_validate(await town.call(job.session_id, "run", job.to_json(), True))
    assert json.loads(result.answer or "") == []
    assert any("it was deleted" in warning for warning in result.warnings)


KNOWN = "FINAL(sorted(name for name in globals() if name in ('v0', 'v1', 'v2')))"


async def cut_off(after: int) -> None:
    """Two cells cross, then the connection is lost."""
    if after == 2:
        raise StorageUnavailable("lost")


async def prepared(town: Town, first: RunResult) -> Job:
    request = parse_request(json.dumps({"previousSessionId": first.session_id, "query": "second?"}))
    return (await town.runner().prepare(request, OWNER, None))[0]


async def ran(town: Town, job: Job) -> RunResult:
    return RunResult.model_validate(await town.call(job.session_id, "run", job.to_json(), True))


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("padding", ["", f"  # {'x' * MAX_TEXT_CHARACTERS}"], ids=["rows", "facts"])
async def test_half_copied_is_dropped(monkeypatch: pytest.MonkeyPatch, padding: str, *, cut: bool) -> None:
    """A session that goes while its cells are copied leaves none of them: the follow-up's own first cell is run."""
    monkeypatch.setattr(inherited, "_PAGE_CHARACTERS", 1)
    town = Town(plays(*(f"v{number} = llm_query('{number}'){padding}" for number in range(3)), "FINAL(v0)", KNOWN))
    first = await town.ask(context=SHORT, config={"strategy": "repl"})
    job = await prepared(town, first)

    async def gone(after: int) -> None:
        if cut or after == 2:
            await town.sessions[first.session_id].delete()

    if cut:
        town.before_page = cut_off
        assert not (await ran(town, job)).success
    town.before_page = gone
    second = await ran(town, job)
    assert json.loads(second.answer or "") == []
    assert any("it was deleted" in warning for warning in second.warnings)
    cells = town.journals[job.session_id].cells(lambda: 0.0)
    assert [one.number for one in cells.cells("")] == [1]
    assert (cells.origin(1), cells.answers("", 1)) == (None, [])
    kept = town.journals[job.session_id]
    assert not [name for name in ("code #1", "code #2", "origin 2", "outcome #2") if kept.fact(name)]


async def test_shorter_run_is_copied_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a session that has run again since it was half copied, no cell of the run before is left."""
    monkeypatch.setattr(inherited, "_PAGE_CHARACTERS", 1)
    town = Town(plays("v0 = 0", "v1 = 1", "FINAL(v0)", "v2 = 2\nFINAL(v2)", KNOWN))
    first = await town.ask(context=SHORT, config={"strategy": "repl"})
    job = await prepared(town, first)
    town.before_page = cut_off
    assert not (await ran(town, job)).success
    again = await town.ask(context=SHORT, config={"strategy": "repl", "useCache": False})
    assert (again.session_id, again.answer) == (first.session_id, "2")
    town.before_page = None
    assert json.loads((await ran(town, job)).answer or "") == ["v2"]


async def test_cut_off_hands_on_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who follows a session that was cut off while it took variables over has them all, of the session before that."""
    monkeypatch.setattr(inherited, "_PAGE_CHARACTERS", 1)
    town = Town(plays("v0 = 0", "v1 = 1", "v2 = 2\nFINAL(v2)", KNOWN))
    first = await town.ask(context=SHORT, config={"strategy": "repl"})
    town.before_page = cut_off
    second = await town.follow(first, "second?")
    assert not second.success
    town.before_page = None
    assert json.loads((await town.follow(second, "third?")).answer or "") == ["v0", "v1", "v2"]


async def test_pages_carry_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inherited, "_PAGE_CHARACTERS", 1)
    codes = [f"v{number} = llm_query('{number}')" for number in range(5)]
    total = "FINAL([v0, v1, v2, v3, v4])"
    town = Town(plays(*codes, total, total))
    first = await town.ask(context=SHORT, config={"strategy": "repl"})
    second = await town.follow(first, "second?")
    assert second.answer == first.answer
    assert len(town.model.asked("llm_query")) == 5
    assert town.calls.count((first.session_id, "repl_page")) > 5


@pytest.mark.parametrize("name", NAMES)
async def test_other_names_stay(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the prompts are those that they were: a prompt that changes renames what it asks."""
    for version in ("PROMPT_VERSION", "REPL_PROMPT_VERSION"):
        monkeypatch.setattr(prepare, version, "1")
    request = parse_request(json.dumps({"query": "why?", **NAMES[name]}))
    job, _ = await prepare_job(request, OWNER, settings(), MemoryStore(), None, now=0.0)
    assert job.digest == name


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"context": "a", "previousSessionId": "0" * 32},
        {"contextId": f"ctx_{'0' * 32}", "previousSessionId": "0" * 32},
        {"previousSessionId": "0" * 31},
        {"previousSessionId": "X" * 32},
    ],
)
def test_one_context_exactly(body: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        parse_request(json.dumps({"query": "why?", **body}))


def test_snake_case_is_taken() -> None:
    request = parse_request(json.dumps({"query": "why?", "previous_session_id": "0" * 32}))
    assert isinstance(request, RunRequest)
    assert request.previous_session_id == "0" * 32

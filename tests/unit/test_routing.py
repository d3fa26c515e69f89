"""Rules choose strategy and models; what the caller names wins, and what is wrong is said before anything is asked."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from rlm_worker.errors import InvalidRequest, NotConfigured, TerminalError
from rlm_worker.messages import ModelReply, ModelRequest, ModelSpec
from rlm_worker.models.catalog import Catalog
from rlm_worker.models.providers import providers_of
from rlm_worker.ports import Deployment
from rlm_worker.routing.checks import Surroundings
from rlm_worker.routing.decide import Decision, Question, Router
from rlm_worker.routing.table import RoutingTable
from rlm_worker.runs.job import Job
from rlm_worker.runs.run import RunPorts
from rlm_worker.sessions import prepare
from rlm_worker.sessions.follow_ups import Followed
from rlm_worker.sessions.prepare import prepare_job
from rlm_worker.settings import Settings
from rlm_worker.strategies.execute import execute, failed_run
from rlm_worker.testing import FunctionModel, MemoryCache, MemoryStore, memory_ports, reply_of
from rlm_worker.text.context import InlineReader, gather_documents
from rlm_worker.wire.requests import parse_request
from rlm_worker.wire.results import RunResult
from tests.unit.conftest import settings

PROVIDERS = providers_of(
    '{"anthropic": {"type": "anthropic", "key": "A_KEY"}, "unpaid": {"type": "anthropic", "key": "NO_KEY"}}',
    lambda name: name == "A_KEY",
)
CATALOG = Catalog.standard().with_providers(PROVIDERS, "")
CLAUDE, LARGE, SMALL = "anthropic:claude-haiku-4-5", "llama-3.1-70b", "llama-3.1-8b"
LARGE_ID, SMALL_ID = (CATALOG.id_of(name) for name in (LARGE, SMALL))
AROUND = Surroundings(CATALOG, has_sandbox=False, keys=frozenset({"alice", "bob"}))


def table(var: object) -> RoutingTable:
    return RoutingTable.parse(json.dumps(var), AROUND)


def decide(var: object, query: str = "Who is it?", characters: int = 1_000, **config: object) -> Decision:
    wanted = parse_request(json.dumps({"context": "text", "query": query, "config": config}), settings().defaults)
    return Router(table(var), CATALOG).decide(wanted.config, Question(query, characters, "alice"))


RULES = [
    {"name": "alice counts", "when": {"key": "alice", "task": ["count", "list"]}, "use": {"strategy": "map_reduce"}},
    {"name": "long", "when": {"characters": {"min": 600_000}}, "use": {"rootModel": CLAUDE, "fallbacks": [LARGE]}},
    {"when": {"language": "de"}, "use": {"rootModel": CLAUDE, "subModel": CLAUDE, "fallbacks": [LARGE, SMALL]}},
]


@pytest.mark.parametrize(
    ("query", "characters", "rule", "root"),
    [
        ("How many are there?", 1_000, "alice counts", LARGE_ID),
        ("Who is it?", 600_000, "long", CLAUDE),
        ("Wer ist der Käufer?", 1_000, "#3", CLAUDE),
        ("Who is it?", 1_000, None, LARGE_ID),
    ],
)
def test_first_rule_that_holds(query: str, characters: int, rule: str | None, root: str) -> None:
    routing = decide(RULES, query, characters).routing
    assert (routing.policy, routing.rule, routing.root_model) == ("deployment", rule, root)


def test_caller_wins() -> None:
    rule = {"use": {"strategy": "map_reduce", "rootModel": CLAUDE, "subModel": CLAUDE, "fallbacks": [LARGE]}}
    decision = decide([rule], rootModel=SMALL, strategy="direct")
    chosen = decision.routing.chosen_by
    assert (decision.config.strategy, decision.config.root_model, decision.config.sub_model) == (
        "direct",
        SMALL,
        CLAUDE,
    )
    assert (chosen.strategy, chosen.root_model, chosen.sub_model) == ("request", "request", "rule")
    assert decision.chains == {CLAUDE: [LARGE_ID]}


def test_auto_is_no_choice() -> None:
    decision = decide([{"use": {"strategy": "map_reduce"}}], strategy="auto")
    assert (decision.config.strategy, decision.routing.chosen_by.strategy) == ("map_reduce", "rule")


def test_nobody_stands_in_for_itself() -> None:
    rule = {"use": {"rootModel": CLAUDE, "subModel": SMALL, "fallbacks": [SMALL, LARGE]}}
    assert decide([rule]).chains == {CLAUDE: [SMALL_ID, LARGE_ID], SMALL_ID: [LARGE_ID]}


def test_callers_rules_hold_for_named_models() -> None:
    decision = decide({}, rootModel=CLAUDE, routing=[{"use": {"fallbacks": [LARGE]}}])
    assert (decision.routing.policy, decision.chains) == ("request", {CLAUDE: [LARGE_ID], SMALL_ID: [LARGE_ID]})


BROAD = {"when": {"characters": {"min": 10}}, "use": {}}


@pytest.mark.parametrize(
    ("var", "sentence"),
    [
        ([BROAD, {"when": {"characters": {"min": 20, "max": 30}, "task": "count"}, "use": {}}], "1: can never hold"),
        ([{"use": {}}, BROAD], "1: can never hold: rule 0 holds wherever it would"),
        ([{"when": {"characters": {"min": 3, "max": 2}}, "use": {}}], "0.when.characters: min (3) is above max (2)"),
        ([{"when": {"task": []}, "use": {}}], "0.when.task: is empty"),
        ([{"when": {"task": "sing"}, "use": {}}], "0.when.task: Input should be 'lookup', 'count'"),
        ([{"when": {"strategy": "repl"}, "use": {"strategy": "direct"}}], "0.use.strategy: can never be used"),
        ([{"when": {"key": "carol"}, "use": {}}], "0.when.key: there is no key 'carol'; there is alice, bob"),
        ([{"use": {"rootModel": "gpt-17"}}], "0.use.rootModel: unknown model; known are"),
        ([{"use": {"subModel": "unpaid:claude-haiku-4-5"}}], "needs the secret NO_KEY: wrangler secret put NO_KEY"),
        ([{"use": {"fallbacks": ["nobody:model"]}}], "0.use.fallbacks.0: the var PROVIDERS has no provider 'nobody'"),
        ([{"use": {"rootModel": "anthropic:unheard-of"}}], "0.use.rootModel: window and price are not known"),
        ([{"use": {"fallbacks": [LARGE, SMALL, LARGE]}}], "0.use.fallbacks.2: @cf/meta/llama-3.3-70b"),
        ([{"use": {"rootModel": CLAUDE, "subModel": CLAUDE, "fallbacks": [CLAUDE]}}], "goes in a circle"),
        ([{"use": {"effort": "quick"}}], "0.use: effort is not built yet: leave it out"),
        ([{"use": {"strategy": "repl"}}], "0.use.strategy: repl needs the binding RLM_LOADER"),
        ([{"use": {"model": LARGE}}], "0.use.model: Extra inputs are not permitted"),
        ({"policies": {"house": [{"use": {"rootModel": "gpt-17"}}]}}, "policies.house.0.use.rootModel: unknown model"),
        ({"policies": {"request": [{"use": {}}]}}, "policies.request: is a name"),
        ({"callerPolicies": ["dearest"]}, "callerPolicies.0: there is no policy 'dearest'; there is best, cheapest"),
        ({"taskModel": "gpt-17"}, "taskModel: unknown model"),
        ({"rule": []}, "rule: Extra inputs"),
        ("cheapest", "ROUTING"),
    ],
)
def test_bad_rules_are_named(var: object, sentence: str) -> None:
    with pytest.raises(NotConfigured) as raised:
        table(var)
    assert str(raised.value).startswith("the var ROUTING")
    assert sentence in str(raised.value)


def test_var_is_read_at_start() -> None:
    given = {"ROUTING": '[{"when": {"key": "carol"}, "use": {}}]', "RLM_API_KEYS": f"alice:{'0' * 64}"}
    with pytest.raises(NotConfigured, match="there is no key 'carol'"):
        Settings.from_vars(given.get)
    # Where ops can add keys at any time, nobody knows all of them.
    assert Settings.from_vars({**given, "RLM_ADMIN_KEYS": "0" * 64}.get).routing.rules


@pytest.mark.parametrize(
    ("var", "routing", "path", "sentence"),
    [
        (
            {},
            "dearest",
            "config.routing",
            "there is no policy 'dearest' to be named here; known: cheapest, fastest, best",
        ),
        ({"callerPolicies": ["best"]}, "cheapest", "config.routing", "known: best"),
        ({"callerRules": False}, [{"use": {}}], "config.routing", "takes no rules of callers; name a policy"),
        ({}, [{"use": {"rootModel": "gpt-17"}}], "config.routing.0.use.rootModel", "unknown model"),
        ({}, [{"when": {"key": "bob"}, "use": {}}], "config.routing.0.when.key", "for the deployment's own rules"),
        ({}, [{"use": {}}, {"use": {}}], "config.routing.1", "can never hold"),
        ({}, [{"use": {"effort": "quick"}}], "config.routing.0.use", "not built yet"),
        ({}, [{"when": {"task": "sing"}, "use": {}}], "config.routing.0.when.task", "Input should be"),
        ({}, [], "config.routing", "at least 1"),
        ({}, 7, "config.routing", "should be a valid array"),
    ],
)
def test_callers_rules_are_judged(var: object, routing: object, path: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        decide(var, routing=routing)
    problem = raised.value.problems[0]
    assert problem.path == path
    assert sentence in problem.message


def own_policy(name: str, catalog: Catalog = CATALOG, characters: int = 1_000, **config: object) -> Decision:
    wanted = parse_request(json.dumps({"context": "text", "query": "Who?", "config": {"routing": name, **config}}))
    return Router(RoutingTable(), catalog).decide(wanted.config, Question("Who?", characters))


def test_policies_ship() -> None:
    cheapest, fastest, best = (own_policy(name).routing for name in ("cheapest", "fastest", "best"))
    assert (cheapest.policy, cheapest.rule) == ("cheapest", "cheapest")
    assert cheapest.root_model == cheapest.sub_model == "@cf/ibm-granite/granite-4.0-h-micro"
    assert "fast" in fastest.sub_model
    assert best.root_model == "anthropic:claude-opus-5-5"
    for routing in (cheapest, fastest, best):
        named = [routing.root_model, routing.sub_model, *routing.fallbacks]
        found = [CATALOG.find(name) for name in named]
        assert not [model for model in found if model is None or model.paid_only or CATALOG.obstacle(model)]
        assert not any(name.startswith(("unpaid:", "anthropic/")) for name in named)


def test_order_of_prices() -> None:
    """What is called cheapest costs no more than any other, to read with and to answer."""

    def usd(name: str) -> float:
        routing = own_policy(name).routing
        root, sub = CATALOG.find(routing.root_model), CATALOG.find(routing.sub_model)
        assert root is not None
        assert sub is not None
        return root.cost(6_000, 600) + sub.cost(12_500, 300)

    assert usd("cheapest") <= usd("fastest") <= usd("best")


def test_window_has_to_fit() -> None:
    large = own_policy("fastest", characters=900_000, chunkSize=1_000_000)
    model = CATALOG.find(large.routing.sub_model)
    assert model is not None
    assert model.window >= 300_000


def test_paid_plan_only_where_needed() -> None:
    paid = ModelSpec("@cf/paid", 100_000, 0.001, 0.001, paid_only=True)
    dear = ModelSpec("@cf/dear", 100_000, 9.0, 9.0)
    assert own_policy("cheapest", Catalog({m.id: m for m in (paid, dear)}, {})).routing.root_model == dear.id
    assert own_policy("cheapest", Catalog({paid.id: paid}, {})).routing.root_model == paid.id


def test_nothing_reachable_chooses_nothing() -> None:
    assert own_policy("cheapest", Catalog.standard().on_this_machine()).routing.rule is None


Prepare = Callable[..., Job]


async def prepared(var: object, **config: object) -> Job:
    body = json.dumps({"context": "some text", "query": "Who?", "config": config})
    own = replace(settings(), catalog=CATALOG, routing=table(var))
    job, _ = await prepare_job(parse_request(body, own.defaults), "alice", own, MemoryStore(), None, now=0.0)
    return job


async def test_no_rule_keeps_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the prompts are those that they were."""
    monkeypatch.setattr(prepare, "PROMPT_VERSION", "1")
    plain = await prepared({})
    assert plain.digest == "3a7052dccc5a4ae64dc7d6049ffa18fac9436fce2cca8b3021d38596945f2a66"
    assert (await prepared([{"when": {"key": "bob"}, "use": {"rootModel": CLAUDE}}])).digest == plain.digest
    assert plain.routing is not None
    assert plain.routing.policy == "default"


async def test_chain_decides_name() -> None:
    jobs = [
        await prepared([{"use": {"rootModel": CLAUDE, **use}}])
        for use in ({}, {"fallbacks": [LARGE]}, {"fallbacks": [SMALL]})
    ]
    assert len({job.digest for job in jobs}) == 3
    assert jobs[1].chains == {CLAUDE: [LARGE_ID], SMALL_ID: [LARGE_ID]}
    assert jobs[1].config.routing is None


def telling(word: str | Exception) -> FunctionModel:
    """A model that says that word for a task, and is asked for nothing else that matters."""

    def answer(request: ModelRequest) -> ModelReply:
        if request.kind == "task" and isinstance(word, Exception):
            raise word
        return reply_of(request, str(word) if request.kind == "task" else "blue")

    return FunctionModel(answer)


TOLD = {
    "rules": [
        {"name": "counted", "when": {"task": "count"}, "use": {"strategy": "map_reduce", "rootModel": "gpt-oss-20b"}},
        {"name": "looked up", "when": {"task": "lookup"}, "use": {"rootModel": "llama-4-scout", "fallbacks": [LARGE]}},
    ],
    "taskModel": "llama-3.2-1b",
}


async def run_told(model: FunctionModel, var: object = TOLD, **config: object) -> RunResult:
    job = await prepared(var, **config)
    manifest, parts = gather_documents([(None, "some text")])
    ports = memory_ports(model, catalog=CATALOG, deployment=Deployment(attempts=1))
    return await execute(job, InlineReader(manifest, b"".join(parts)), ports)


async def test_model_tells_task() -> None:
    result = await run_told(model := telling("Count."))
    routing = result.routing
    assert routing is not None
    assert (routing.rule, routing.task, routing.task_by) == ("counted", "count", "model")
    assert (result.strategy, result.root_model) == ("map_reduce", "@cf/openai/gpt-oss-20b")
    (asked,) = model.asked("task")
    assert asked.model.id == "@cf/meta/llama-3.2-1b-instruct"
    told = next(usage for usage in result.models if usage.model == asked.model.id)
    assert told.cost_usd > 0
    assert result.sub_calls == 2


@pytest.mark.parametrize("word", ["I cannot say", "count or list", TerminalError("no credits", unavailable=True)])
async def test_own_word_stands(word: str | Exception) -> None:
    """Where the model tells nothing, the query's words do."""
    routing = (await run_told(telling(word))).routing
    assert routing is not None
    assert (routing.rule, routing.task_by, routing.fallbacks) == ("looked up", "rule", [LARGE_ID])


@pytest.mark.parametrize(("var", "config"), [([], {}), ({**TOLD, "rules": []}, {}), (TOLD, {"routing": "cheapest"})])
async def test_task_asked_only_where_it_counts(var: object, config: dict[str, object]) -> None:
    await run_told(model := telling("count"), var, **config)
    assert not model.asked("task")


async def run_on_text(ports: RunPorts, text: str, var: object, **config: object) -> RunResult:
    body = json.dumps({"context": text, "query": "Which colour?", "config": config})
    own = replace(settings(), catalog=CATALOG, routing=table(var))
    job, _ = await prepare_job(parse_request(body, own.defaults), "alice", own, MemoryStore(), None, now=0.0)
    manifest, parts = gather_documents([(None, text)])
    return await execute(job, InlineReader(manifest, b"".join(parts)), ports)


def dying(word: str | Exception) -> FunctionModel:
    """The same, and the process ends when the first answer is asked for."""
    told = telling(word)

    def answer(request: ModelRequest) -> ModelReply | Awaitable[ModelReply]:
        if request.role == "root" and len(model.asked("synthesize")) == 1:
            raise SystemError
        return told.answer(request)

    model = FunctionModel(answer)
    return model


@pytest.mark.parametrize(
    ("first", "then", "sub_calls", "rule"),
    [
        ("count", "lookup", 4, "#1"),
        (TerminalError("no credits", unavailable=True), "count", 100, "#2"),
        ("I cannot say", "count", 100, "#2"),
    ],
)
async def test_told_task_survives(first: str | Exception, then: str, sub_calls: int, rule: str) -> None:
    """Whatever a model has told, or not: a run that goes on asks nobody again, and reads on with the same models."""
    counted = {"when": {"task": "count"}, "use": {"rootModel": "gpt-oss-20b", "subModel": "llama-4-scout"}}
    looked_up = {"when": {"task": "lookup"}, "use": {"rootModel": "llama-4-scout"}}
    var = {**TOLD, "rules": [counted, looked_up]}
    ports = memory_ports(model := dying(first), catalog=CATALOG, deployment=Deployment(attempts=1))
    config: dict[str, object] = {"maxSubCalls": sub_calls, "chunkSize": 4_000, "strategy": "map_reduce"}
    text = "The sky is blue. " * 1_000
    with pytest.raises(SystemError):
        await run_on_text(ports, text, var, **config)
    assert model.asked("map")
    root = model.requests[-1].model.id
    again = telling(then)
    result = await run_on_text(replace(ports, model=again), text, var, **config)
    assert [request.kind for request in again.requests] == ["synthesize"]
    assert result.routing is not None
    assert (result.routing.rule, result.root_model) == (rule, root)


async def test_cut_off_run_tells_rule() -> None:
    """The result of a run that is given up says what a model's task has chosen."""
    ports = memory_ports(dying("count"), catalog=CATALOG)
    text = "The sky is blue. " * 1_000
    with pytest.raises(SystemError):
        await run_on_text(ports, text, TOLD)
    manifest, parts = gather_documents([(None, text)])
    reader = InlineReader(manifest, b"".join(parts))
    result = failed_run(await prepared(TOLD), reader, ports, TerminalError("given up"))
    assert result.routing is not None
    assert (result.strategy, result.routing.rule) == ("map_reduce", "counted")
    assert result.root_model == "@cf/openai/gpt-oss-20b"


async def test_stand_ins_note_is_not_kept() -> None:
    """What a rule's fallback has noted is no note of the model that it stood in for."""
    text = "The sky is blue. " * 1_000
    rule = {"use": {"strategy": "map_reduce", "subModel": "llama-4-scout", "fallbacks": [SMALL]}}
    gone = TerminalError("no credits", unavailable=True)

    def answer(request: ModelRequest) -> ModelReply:
        if request.model.id.startswith("@cf/meta/llama-4-scout"):
            raise gone
        return reply_of(request, "blue")

    ports = memory_ports(FunctionModel(answer), catalog=CATALOG)
    result = await run_on_text(ports, text, [rule])
    assert result.success
    assert isinstance(ports.cache, MemoryCache)
    assert not ports.cache.values


async def test_resumed_stand_ins_note_is_not_kept() -> None:
    """Nor is it one where it was paid for in an earlier life of the run."""
    text, gone = "The sky is blue. " * 1_000, TerminalError("no credits", unavailable=True)
    rule = {"use": {"strategy": "map_reduce", "subModel": "llama-4-scout", "fallbacks": [SMALL]}}

    def answer(request: ModelRequest) -> ModelReply:
        if request.role == "root" and len(model.asked("synthesize")) == 1:
            raise SystemError
        if request.model.id.startswith("@cf/meta/llama-4-scout"):
            raise gone
        return reply_of(request, "blue")

    model = FunctionModel(answer)
    ports = memory_ports(model, catalog=CATALOG)
    with pytest.raises(SystemError):
        await run_on_text(ports, text, [rule])
    read = len(model.asked("map"))
    assert (await run_on_text(ports, text, [rule])).success
    assert len(model.asked("map")) == read
    assert isinstance(ports.cache, MemoryCache)
    assert not ports.cache.values


async def test_note_under_other_name_is_kept() -> None:
    """The model that was named may answer under a name of its provider's."""
    rule = {"use": {"strategy": "map_reduce", "subModel": "llama-4-scout", "fallbacks": [SMALL]}}
    model = FunctionModel(lambda request: replace(reply_of(request, "blue"), model="a stranger"))
    ports = memory_ports(model, catalog=CATALOG)
    await run_on_text(ports, "The sky is blue. " * 1_000, [rule])
    assert isinstance(ports.cache, MemoryCache)
    assert ports.cache.values


async def test_smaller_root_gets_fewer_notes() -> None:
    """The root model is gone when its word is asked for, and all notes together do not fit the one behind it."""

    def answer(request: ModelRequest) -> ModelReply:
        if request.role == "root" and request.model.id.startswith("@cf/meta/llama-4-scout"):
            raise TerminalError("no credits", unavailable=True)
        words = range(45 if request.role == "sub" else 1)
        return reply_of(request, " ".join(f"In {number} words I say that the sky is blue." for number in words))

    model = FunctionModel(answer)
    rule = {"use": {"rootModel": "llama-4-scout", "subModel": SMALL, "fallbacks": [LARGE]}}
    text = "".join(f"{number}. The sky is blue. " for number in range(20_000))
    result = await run_on_text(memory_ports(model, catalog=CATALOG), text, [rule], chunkSize=4_000, maxSubCalls=150)
    assert result.success
    assert {request.model.id for request in model.asked("reduce")} == {LARGE_ID}
    assert [request.model.id for request in model.asked("synthesize")][-1] == LARGE_ID


async def test_follow_up_keeps_what_was_named() -> None:
    """Models that a caller has named, and the policy; what a rule has chosen is chosen anew."""
    own = replace(
        settings(), catalog=CATALOG, routing=table([{"when": {"task": "lookup"}, "use": {"subModel": CLAUDE}}])
    )
    first = await prepared([{"use": {"subModel": "llama-4-scout"}}], rootModel="gpt-oss-20b")
    followed = Followed.of(first, RunResult(success=True, answer="It."), has_repl=False)
    for config, root, sub in (
        ({}, "@cf/openai/gpt-oss-20b", CLAUDE),
        ({"rootModel": LARGE}, LARGE_ID, CLAUDE),
        ({"routing": "cheapest"}, "@cf/openai/gpt-oss-20b", "@cf/ibm-granite/granite-4.0-h-micro"),
    ):
        body = json.dumps({"previousSessionId": first.session_id, "query": "Who else?", "config": config})
        request = parse_request(body, own.defaults)
        job, _ = await prepare_job(request, "alice", own, MemoryStore(), None, now=0.0, followed=followed)
        assert (job.config.root_model, job.config.sub_model) == (root, sub)
    policy = Followed.of(await prepared({}, routing="cheapest"), RunResult(success=True), has_repl=False)
    request = parse_request('{"previousSessionId": "%s", "query": "Who?"}' % ("0" * 32), own.defaults)
    job, _ = await prepare_job(request, "alice", own, MemoryStore(), None, now=0.0, followed=policy)
    assert job.routing is not None
    assert (job.routing.policy, job.routing.rule) == ("cheapest", "cheapest")

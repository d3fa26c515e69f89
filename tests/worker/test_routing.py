"""Rules choose models in the deployed Worker: chains over providers, what they cost, and what is refused."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from scripts.local.providers.anthropic_api import AnthropicServer
from scripts.local.providers.openai_api import OpenAIServer
from scripts.local.providers.served import ServedModel, Trouble
from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.faults import Fault
from scripts.local.scripted.model import ScriptedModel
from scripts.local.scripted.rules import fixed
from tests.worker.conftest import StartWorker
from tests.worker.stored_state import databases, opened
from tests.worker.test_providers import (
    ANTHROPIC_KEY,
    CLAUDE,
    OTHER,
    QUERY,
    ROUTER_KEY,
    SECRETS,
    SMALL,
    SUB,
    TEXT,
    WRONG_KEY,
    billed,
    by_model,
    variables,
)
from tests.worker.texts import unheard

pytestmark = pytest.mark.worker

FIRST, SECOND = f"anthropic:{CLAUDE}", f"openrouter:{SMALL}"
ROUTING = {
    "rules": [
        {"name": "code", "when": {"task": "code"}, "use": {"rootModel": FIRST}},
        {
            "name": "long",
            "when": {"characters": {"min": 500_000}},
            "use": {"rootModel": FIRST, "subModel": FIRST, "fallbacks": [SECOND, "llama-3.1-8b"]},
        },
    ],
    "policies": {"house": [{"use": {"rootModel": FIRST, "fallbacks": [SECOND]}}]},
    "callerPolicies": ["house", "cheapest"],
}
OVERLOADED = Trouble(529, "overloaded_error", f"busy, says {ANTHROPIC_KEY}", {"retry-after": "600"})
NO_CREDITS = Trouble(402, message=f"Insufficient credits of {ROUTER_KEY}")


@pytest.fixture(scope="module")
def anthropic_server() -> Iterator[AnthropicServer]:
    with AnthropicServer(key=ANTHROPIC_KEY, models={CLAUDE: ServedModel()}) as server:
        yield server


@pytest.fixture(scope="module")
def router_server() -> Iterator[OpenAIServer]:
    models = {SMALL: ServedModel(100_000, 0.07, 0.21, 0.07, 0.07), OTHER: ServedModel(100_000, 0.9, 0.9, 0.9, 0.9)}
    with OpenAIServer(key=ROUTER_KEY, models=models, flavour="openrouter") as server:
        yield server


@pytest.fixture
def anthropic(anthropic_server: AnthropicServer) -> AnthropicServer:
    anthropic_server.reset()
    return anthropic_server


@pytest.fixture
def router(router_server: OpenAIServer) -> OpenAIServer:
    router_server.reset()
    return router_server


@pytest.fixture(scope="module")
def served(
    scripted_server: ScriptedModel,
    anthropic_server: AnthropicServer,
    router_server: OpenAIServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DevProcess]:
    own = variables(anthropic_server, router_server, ROUTING=json.dumps(ROUTING))
    with DevProcess(tmp_path_factory.mktemp("state"), ai=scripted_server.url, variables=own) as process:
        yield process


Ask = Callable[..., httpx.Response]


@pytest.fixture
def ask(served: DevProcess, scripted: ScriptedModel, anthropic: AnthropicServer, router: OpenAIServer) -> Ask:
    def post(context: str = "The sky is blue.", query: str = "", *, stream: bool = False, **config: object) -> object:
        query = query or f"Which colour has the sky? ({unheard('q')})"
        body = {"context": context, "query": query, "config": {"useCache": False, **config}, "stream": stream}
        return httpx.post(f"{served.url}/rlm", json=body, timeout=120)

    return post  # type: ignore[return-value]


def test_chain_first_two_fail(
    ask: Ask, served: DevProcess, scripted: ScriptedModel, anthropic: AnthropicServer, router: OpenAIServer
) -> None:
    """600,000 characters: the third model of the chain reads and answers, and its bill is what the run cost."""
    anthropic.troubles, router.troubles = [OVERLOADED], [NO_CREDITS]
    streamed = ask(TEXT, QUERY, stream=True, chunkSize=20_000)
    events = [block.split("data: ", 1) for block in streamed.text.split("\n\n") if "data: " in block]
    told = [(head.split("event: ")[1].strip(), json.loads(data)) for head, data in events]
    result = dict(told)["result"]
    assert "7481932" in result["answer"]
    assert (result["success"], result["coverage"], result["rootModel"]) == (True, 1.0, FIRST)
    assert by_model(result) == {SUB: pytest.approx(billed(scripted.answered), abs=1e-9)}
    assert result["costUsd"] == pytest.approx(billed(scripted.answered), abs=1e-9)
    assert len(scripted.answered) == result["subCalls"] + result["iterations"] >= 30
    assert anthropic.charged() == router.charged() == 0
    # The one is left alone for as long as it asked, the other for good: only calls under way together met them.
    assert 1 <= len(anthropic.calls) <= 24
    assert 1 <= len(router.calls) <= 24
    routing = result["routing"]
    assert (routing["policy"], routing["rule"], routing["task"]) == ("deployment", "long", "lookup")
    assert routing["fallbacks"] == [SECOND, SUB]
    subcalls = [data for kind, data in told if kind == "subcall"]
    assert {(data["model"], *data["passedOver"]) for data in subcalls} == {(SUB, FIRST, SECOND)}
    trajectory = httpx.get(f"{served.url}/session/{result['sessionId']}/trajectory", timeout=60)
    hops = trajectory.json()["failedAttempts"]
    assert {(hop["model"], hop["costUsd"]) for hop in hops} == {(FIRST, 0), (SECOND, 0)}
    assert {"529", "402"} == {hop["reason"].split()[1] for hop in hops}
    assert trajectory.json()["routing"] == routing
    whole = streamed.text + trajectory.text + served.log()
    assert not [secret for secret in SECRETS if secret[:16] in whole]


def test_chain_error_names_each(
    ask: Ask, scripted: ScriptedModel, anthropic: AnthropicServer, router: OpenAIServer
) -> None:
    anthropic.troubles, router.troubles = [Trouble(401, "authentication_error", "no such key")], [NO_CREDITS]
    scripted.faults = [Fault(3036)]
    answer = ask(TEXT, QUERY, chunkSize=100_000)
    assert answer.status_code == 502
    message = answer.json()["error"]["message"]
    said = (
        f"{FIRST}: anthropic: 401",
        f"{SECOND}: openrouter: 402",
        f"{SUB}: 3036",
        "no model of the chain has answered",
    )
    assert not [words for words in said if words not in message]
    assert answer.json()["costUsd"] == 0


def test_named_policy_chooses(ask: Ask, anthropic: AnthropicServer, router: OpenAIServer) -> None:
    anthropic.troubles = [Trouble(500, "api_error", "broken")]
    router.rules = [fixed("Blue.")]
    result = ask(routing="house").json()
    assert (result["answer"], result["routing"]["policy"], result["routing"]["rule"]) == ("Blue.", "house", "#1")
    assert by_model(result) == {SECOND: pytest.approx(router.charged(), abs=1e-12)}


def test_caller_wins_over_rule(ask: Ask, anthropic: AnthropicServer, scripted: ScriptedModel) -> None:
    scripted.rules = [fixed("Blue.")]
    result = ask(query=f"Where is `sky()` implemented? {unheard('q')}", rootModel="llama-3.1-8b").json()
    assert (result["rootModel"], result["routing"]["task"]) == (SUB, "code")
    assert result["routing"]["chosenBy"]["rootModel"] == "request"
    assert not anthropic.calls


@pytest.mark.parametrize(
    ("routing", "path", "sentence"),
    [
        ("best", "config.routing", "there is no policy 'best' to be named here; known: house, cheapest"),
        ([{"use": {"rootModel": "gpt-17"}}], "config.routing.0.use.rootModel", "unknown model"),
        ([{"use": {"fallbacks": ["unpaid:x"]}}], "config.routing.0.use.fallbacks.0", "not known"),
        ([{"use": {}}, {"use": {}}], "config.routing.1", "can never hold"),
    ],
)
def test_bad_routing_is_refused(ask: Ask, scripted: ScriptedModel, routing: object, path: str, sentence: str) -> None:
    answer = ask(routing=routing)
    detail = answer.json()["error"]["detail"][0]
    assert (answer.status_code, detail["path"], sentence in detail["message"]) == (422, path, True)
    assert not scripted.calls


@pytest.mark.parametrize(
    ("routing", "sentence"),
    [
        ([{"use": {}}, {"use": {}}], "the var ROUTING, 1: can never hold"),
        ([{"use": {"rootModel": "anthropic:claude-haiku-4-5"}}], "ROUTING, 0.use.rootModel: the var PROVIDERS has no"),
    ],
)
def test_bad_var_is_told_by_health(start_worker: StartWorker, routing: object, sentence: str) -> None:
    answer = httpx.get(f"{start_worker(vars={'ROUTING': json.dumps(routing)}).url}/health", timeout=60)
    assert answer.status_code == 503
    assert sentence in answer.json()["error"]["message"]


def test_deep_health_tries_providers(
    served: DevProcess, scripted: ScriptedModel, anthropic: AnthropicServer, router: OpenAIServer
) -> None:
    answer = httpx.get(f"{served.url}/health?deep=1", timeout=60)
    checks = answer.json()["bindings"]
    assert answer.status_code == 503
    assert answer.json()["failing"] == ["PROVIDERS.unpaid"]
    assert checks["PROVIDERS.unpaid"] == "the secret NOBODY_HAS_SET_THIS is not set"
    assert checks["PROVIDERS.anthropic"] == checks["PROVIDERS.openrouter"] == "ok"
    assert not anthropic.calls
    assert not router.calls


def test_deep_health_shows_no_secret(start_worker: StartWorker, anthropic: AnthropicServer) -> None:
    """A server that repeats the key that it refuses, and one that nobody answers at."""
    providers = {
        "refusing": {"type": "anthropic", "url": anthropic.url, "key": "WRONG"},
        "away": {"type": "openai", "url": "http://127.0.0.1:9/v1", "key": "WRONG"},
    }
    worker = start_worker(vars={"PROVIDERS": json.dumps(providers), "WRONG": WRONG_KEY})
    answer = httpx.get(f"{worker.url}/health?deep=1", timeout=60)
    assert answer.json()["failing"] == ["PROVIDERS.away", "PROVIDERS.refusing"]
    assert "401" in answer.json()["bindings"]["PROVIDERS.refusing"]
    assert "cannot be reached" in answer.json()["bindings"]["PROVIDERS.away"]
    assert WRONG_KEY[:10] not in answer.text


def test_preview_shows_each_policy(served: DevProcess, scripted: ScriptedModel) -> None:
    question = {"query": "How many are there?", "characters": 600_000, "config": {"subModel": "llama-3.1-8b"}}
    told = httpx.post(f"{served.url}/rlm/routing", json=question, timeout=60).json()
    assert (told["routing"]["rule"], told["routing"]["rootModel"], told["routing"]["subModel"]) == ("long", FIRST, SUB)
    assert set(told["alternatives"]) == {"house", "cheapest"}
    assert told["alternatives"]["house"]["rootModel"] == FIRST
    assert {it["task"] for it in told["alternatives"].values()} == {"count"}
    assert not scripted.calls
    refused = httpx.post(f"{served.url}/rlm/routing", json={**question, "characters": -1}, timeout=60)
    assert (refused.status_code, refused.json()["error"]["detail"][0]["path"]) == (422, "characters")


def test_task_is_told_and_paid(start_worker: StartWorker, scripted: ScriptedModel) -> None:
    """A cheap model tells the task, as one of the run's calls; the rule for that task chooses the rest."""
    rules = [{"name": "counted", "when": {"task": "count"}, "use": {"rootModel": "gpt-oss-20b"}}]
    worker = start_worker(vars={"ROUTING": json.dumps({"rules": rules, "taskModel": "llama-3.2-1b"})})
    scripted.rules = [fixed("count")]
    body = {
        "context": "The sky is blue.",
        "query": f"Tell me of the sky. {unheard('q')}",
        "config": {"useCache": False},
    }
    result = httpx.post(f"{worker.url}/rlm", json=body, timeout=60).json()
    routing = result["routing"]
    assert (routing["rule"], routing["task"], routing["taskBy"]) == ("counted", "count", "model")
    assert [entry.call.model for entry in scripted.calls] == [
        "@cf/meta/llama-3.2-1b-instruct",
        "@cf/openai/gpt-oss-20b",
    ]
    assert set(by_model(result)) == {"@cf/meta/llama-3.2-1b-instruct", "@cf/openai/gpt-oss-20b"}
    trajectory = httpx.get(f"{worker.url}/session/{result['sessionId']}/trajectory", timeout=60).json()
    assert [call["kind"] for call in trajectory["calls"]] == ["task", "direct"]


def test_power_failure_in_chain(
    scripted: ScriptedModel, anthropic: AnthropicServer, router: OpenAIServer, tmp_path: Path
) -> None:
    """kill -9 in the middle of a chain: what its last model was paid for is not asked again."""
    width = 4
    paced = {"MAX_CONCURRENCY": str(width), "FIRST_CONCURRENCY": str(width), "ROUTING": json.dumps(ROUTING)}
    anthropic.troubles, router.troubles = [OVERLOADED], [NO_CREDITS]
    scripted.latency = 0.03
    with DevProcess(tmp_path / "state", ai=scripted.url, variables=variables(anthropic, router, **paced)) as worker:
        body = {"context": TEXT, "query": QUERY, "config": {"chunkSize": 10_000}, "background": True}
        session = httpx.post(f"{worker.url}/rlm", json=body, timeout=60).json()["sessionId"]
        scripted.wait_for_calls(30)
        worker.kill()
        journalled = _paid(worker.state)
        before = len(scripted.answered)
        worker.start()
        result = _result(worker, session)
    assert 30 - width <= len(journalled) <= before
    digests = [entry.call.digest for entry in scripted.answered]
    assert len(digests) - len(set(digests)) <= width  # those that were under way
    assert result["success"]
    first_answers = {entry.call.digest: entry for entry in reversed(scripted.answered)}
    assert by_model(result) == {SUB: pytest.approx(billed(list(first_answers.values())), abs=1e-9)}
    assert result["subCalls"] == result["chunks"]


def _paid(state: Path) -> list[str]:
    (database,) = (path for path in databases(state / "do" / "rlm-worker-RLMSession") if path.stem != "metadata")
    with opened(database) as journal:
        return [key for (key,) in journal.execute("SELECT key FROM calls")]


def _result(worker: DevProcess, session: str) -> dict[str, object]:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        answer = httpx.get(f"{worker.url}/session/{session}/result", timeout=60)
        if answer.status_code == 200:
            found: dict[str, object] = answer.json()
            return found
        time.sleep(0.1)
    raise TimeoutError("the run did not end")

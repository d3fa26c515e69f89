"""Models of other providers: their stand-ins answer, and what they charge is what the result says."""

from __future__ import annotations

import itertools
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from rlm_worker.messages import CallUsage
from rlm_worker.models.catalog import Catalog
from scripts.local.providers.anthropic_api import AnthropicServer
from scripts.local.providers.openai_api import OpenAIServer
from scripts.local.providers.served import ServedModel, Trouble
from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.calls import CallEntry, count_tokens
from scripts.local.scripted.model import ScriptedModel
from scripts.local.scripted.rules import fixed, sequence
from tests.worker.conftest import StartWorker
from tests.worker.stored_state import databases, opened
from tests.worker.texts import haystack, needle, unheard

pytestmark = pytest.mark.worker

ANTHROPIC_KEY = "sk-ant-api03-nobody-may-see-this-one"
ROUTER_KEY = "sk-or-v1-nor-may-anybody-see-that-one"
WRONG_KEY = "sk-wrong-key-that-a-server-repeats"
SECRETS = (ANTHROPIC_KEY, ROUTER_KEY)
CLAUDE, SONNET = "claude-haiku-4-5", "claude-sonnet-5-5"
LARGE, SMALL, OTHER = "vendor/large", "vendor/small", "vendor/other"
SUB = "@cf/meta/llama-3.1-8b-instruct-fp8-fast"
CATALOG = Catalog.standard()
TEXT = haystack(600_000, needle(), at=0.7)
QUERY = "number for amber-fox?"
ROUTER_PRICES = {"input_price": 0.5, "output_price": 1.5, "window": 100_000, "dated": "2026-11-20"}


def variables(anthropic: AnthropicServer, router: OpenAIServer, **more: str) -> dict[str, str]:
    providers = {
        "anthropic": {"type": "anthropic", "url": anthropic.url, "key": "ANTHROPIC_API_KEY"},
        "openrouter": {
            "type": "openai",
            "url": router.url,
            "key": "OPENROUTER_API_KEY",
            "body": {"provider": {"data_collection": "deny"}, "models": [OTHER]},
        },
        "structured": {"type": "openai", "url": router.url, "key": "OPENROUTER_API_KEY"},
        "streaming": {"type": "openai", "url": router.url, "key": "OPENROUTER_API_KEY", "streams": True},
        "unpaid": {"type": "anthropic", "url": anthropic.url, "key": "NOBODY_HAS_SET_THIS"},
    }
    overrides = {
        f"openrouter:{LARGE}": ROUTER_PRICES,
        f"streaming:{SMALL}": ROUTER_PRICES,
        f"structured:{SMALL}": {**ROUTER_PRICES, "json_mode": "named"},
        f"openrouter:{SMALL}": {**ROUTER_PRICES, "reasoning": "switchable", "efforts": ["low", "high"]},
    }
    return {
        "PROVIDERS": json.dumps(providers),
        "MODEL_OVERRIDES": json.dumps(overrides),
        "ANTHROPIC_API_KEY": ANTHROPIC_KEY,
        "OPENROUTER_API_KEY": ROUTER_KEY,
        "MODEL_BACKOFF_SECONDS": "0.02",
        "MODEL_ATTEMPTS": "4",
        "MODEL_TIMEOUT_SECONDS": "20",
        **more,
    }


@pytest.fixture(scope="module")
def anthropic_server() -> Iterator[AnthropicServer]:
    models = {
        CLAUDE: ServedModel(),
        SONNET: ServedModel(1_000_000, 2.0, 10.0, 0.1, 2.5, sampling=False),
    }
    with AnthropicServer(key=ANTHROPIC_KEY, models=models) as server:
        yield server


@pytest.fixture(scope="module")
def router_server() -> Iterator[OpenAIServer]:
    models = {
        LARGE: ServedModel(100_000, 0.5, 1.5, 0.05, 0.5),
        SMALL: ServedModel(100_000, 0.07, 0.21, 0.07, 0.07),
        OTHER: ServedModel(100_000, 0.9, 0.9, 0.9, 0.9),
    }
    with OpenAIServer(key=ROUTER_KEY, models=models, flavour="openrouter") as server:
        yield server


@pytest.fixture(scope="module")
def served(
    scripted_server: ScriptedModel,
    anthropic_server: AnthropicServer,
    router_server: OpenAIServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DevProcess]:
    state = tmp_path_factory.mktemp("state")
    with DevProcess(state, ai=scripted_server.url, variables=variables(anthropic_server, router_server)) as process:
        yield process


@pytest.fixture
def anthropic(anthropic_server: AnthropicServer) -> AnthropicServer:
    anthropic_server.reset()
    return anthropic_server


@pytest.fixture
def router(router_server: OpenAIServer) -> OpenAIServer:
    router_server.reset()
    return router_server


Ask = Callable[..., httpx.Response]


@pytest.fixture
def ask(served: DevProcess, scripted: ScriptedModel, anthropic: AnthropicServer, router: OpenAIServer) -> Ask:
    def post(context: str = "The sky is blue.", query: str = "", **config: object) -> httpx.Response:
        query = query or f"Which colour has the sky? ({unheard('q')})"
        body = {"context": context, "query": query, "config": {"useCache": False, **config}}
        return httpx.post(f"{served.url}/rlm", json=body, timeout=120)

    return post


def by_model(result: Mapping[str, object]) -> dict[str, float]:
    models = result["models"]
    assert isinstance(models, list)
    return {usage["model"]: usage["costUsd"] for usage in models}


def billed(entries: list[CallEntry]) -> float:
    """What Workers AI charges for these calls, in US dollars."""
    model = CATALOG.find(SUB)
    assert model is not None
    return sum(model.cost(entry.call.prompt_tokens, max(1, count_tokens(str(entry.answer)))) for entry in entries)


def test_claude_roots_workers_ai(ask: Ask, scripted: ScriptedModel, anthropic: AnthropicServer) -> None:
    """600,000 characters, Claude as root, Workers AI as sub: cost by model as both stand-ins have charged it."""
    result = ask(TEXT, QUERY, rootModel=f"anthropic:{CLAUDE}", chunkSize=20_000).json()
    assert "7481932" in result["answer"]
    assert (result["rootModel"], result["coverage"]) == (f"anthropic:{CLAUDE}", 1.0)
    costs = by_model(result)
    assert costs[f"anthropic:{CLAUDE}"] == pytest.approx(anthropic.charged(CLAUDE), abs=1e-9)
    assert costs[SUB] == pytest.approx(billed(scripted.answered), abs=1e-9)
    assert result["costUsd"] == pytest.approx(anthropic.charged() + billed(scripted.answered), abs=1e-9)
    assert len(anthropic.charges) == result["iterations"]
    assert len(scripted.answered) == result["subCalls"] >= 30
    asked = anthropic.calls[0].call
    assert asked.streams
    assert asked.params["system"][-1]["cache_control"] == {"type": "ephemeral"}  # type: ignore[index]


def test_router_reads_and_answers(ask: Ask, router: OpenAIServer) -> None:
    """600,000 characters, OpenRouter for both: what it says that a call cost is the bill."""
    models = {"rootModel": f"openrouter:{LARGE}", "subModel": f"openrouter:{SMALL}"}
    result = ask(TEXT, QUERY, **models, chunkSize=20_000).json()
    assert "7481932" in result["answer"]
    costs = by_model(result)
    assert costs[f"openrouter:{LARGE}"] == pytest.approx(router.charged(LARGE), abs=1e-9)
    assert costs[f"openrouter:{SMALL}"] == pytest.approx(router.charged(SMALL), abs=1e-9)
    assert result["costUsd"] == pytest.approx(router.charged(), abs=1e-9)
    assert not result["estimated"]
    assert result["neurons"] == 0
    assert router.calls[0].call.params["provider"] == {"data_collection": "deny"}


def test_substitute_is_named(ask: Ask, router: OpenAIServer) -> None:
    """Who really answered stands in the result, at what it charged."""
    router.troubles = [Trouble(503, model=LARGE)]
    router.rules = [fixed("Blue.")]
    result = ask(rootModel=f"openrouter:{LARGE}").json()
    assert result["answer"] == "Blue."
    assert by_model(result) == {f"openrouter:{OTHER}": pytest.approx(router.charged(OTHER), abs=1e-12)}
    assert router.charged(OTHER) > 0


def test_stream_brings_same_answer(served: DevProcess, anthropic: AnthropicServer, router: OpenAIServer) -> None:
    anthropic.rules = router.rules = [fixed("The sky is blue, as everybody knows. " * 5)]
    for model, server in ((f"anthropic:{CLAUDE}", anthropic), (f"openrouter:{LARGE}", router)):
        body = {"context": "The sky is blue.", "query": unheard("colour?"), "stream": True}
        with httpx.stream(
            "POST", f"{served.url}/rlm", json={**body, "config": {"rootModel": model}}, timeout=60
        ) as answer:
            events = _events(answer.read().decode())
        said = "".join(str(data["delta"]) for kind, data in events if kind == "answer")
        result = dict(events)["result"]
        assert said.strip() == result["answer"] == ("The sky is blue, as everybody knows. " * 5).strip()
        assert result["costUsd"] == pytest.approx(server.charged(), abs=1e-9)


def _events(text: str) -> list[tuple[str, dict[str, object]]]:
    found = []
    for block in filter(None, text.split("\n\n")):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


@pytest.mark.parametrize(
    ("status", "kind", "headers"),
    [
        (429, "rate_limit_error", {"retry-after": "0"}),
        (529, "overloaded_error", {}),
        (500, "api_error", {}),
        (400, "odd_error", {"x-should-retry": "true", "retry-after-ms": "20"}),
    ],
)
def test_passing_failure_is_asked_again(
    ask: Ask, anthropic: AnthropicServer, status: int, kind: str, headers: dict[str, str]
) -> None:
    anthropic.troubles = [Trouble(status, kind, headers=headers, times=2)]
    anthropic.rules = [fixed("Blue.")]
    result = ask(rootModel=f"anthropic:{CLAUDE}").json()
    assert result["answer"] == "Blue."
    assert len(anthropic.calls) == 3
    assert result["costUsd"] == pytest.approx(anthropic.charged(), abs=1e-12)


@pytest.mark.parametrize(
    ("provider", "trouble"),
    [
        ("anthropic", Trouble(400, "invalid_request_error")),
        ("anthropic", Trouble(403, "permission_error")),
        ("anthropic", Trouble(429, "rate_limit_error", error={"error_code": "spend_limit_reached"})),
        ("anthropic", Trouble(500, "api_error", headers={"x-should-retry": "false"})),
        ("openrouter", Trouble(402, message="Insufficient credits")),
        ("openrouter", Trouble(429, error={"type": "insufficient_quota"})),
    ],
)
def test_lasting_failure_is_told(
    ask: Ask, anthropic: AnthropicServer, router: OpenAIServer, provider: str, trouble: Trouble
) -> None:
    server = anthropic if provider == "anthropic" else router
    server.troubles = [trouble]
    answer = ask(rootModel=f"{provider}:{CLAUDE if provider == 'anthropic' else SMALL}")
    assert answer.status_code == 502
    error = answer.json()["error"]
    assert (error["type"], trouble.message in error["message"]) == ("model_refused", True)
    assert len(server.calls) == 1
    assert answer.json()["costUsd"] == 0


def test_credit_in_flight_is_waited_for(ask: Ask, router: OpenAIServer) -> None:
    limit = {"metadata": {"limit_source": "openrouter_in_flight_budget"}}
    router.troubles = [Trouble(402, times=2, error=limit)]
    router.rules = [fixed("Blue.")]
    assert ask(rootModel=f"openrouter:{SMALL}").json()["answer"] == "Blue."


def test_late_failure_is_asked_again(ask: Ask, router: OpenAIServer) -> None:
    """The status was 200 already: the error stands in the body, and what was computed is booked."""
    router.troubles = [Trouble(502, message="upstream broke", late=True, times=1)]
    router.rules = [fixed("Blue.")]
    result = ask(rootModel=f"openrouter:{SMALL}").json()
    assert result["answer"] == "Blue."
    assert len(router.calls) == 2
    assert (result["models"][0]["calls"], result["estimated"]) == (2, True)


def test_long_prompt_is_read_in_chunks(ask: Ask, anthropic: AnthropicServer) -> None:
    anthropic.troubles = [Trouble(400, "invalid_request_error", "prompt is too long: 9 tokens > 8 maximum", times=1)]
    result = ask(haystack(20_000, needle()), QUERY, rootModel=f"anthropic:{CLAUDE}").json()
    assert "7481932" in result["answer"]
    assert "did not fit" in result["warnings"][0]
    assert result["subCalls"] >= 1


def test_declined_prompt_is_told(ask: Ask, anthropic: AnthropicServer) -> None:
    anthropic.refuses = "sky"
    answer = ask(rootModel=f"anthropic:{CLAUDE}")
    assert (answer.status_code, "declined" in answer.json()["error"]["message"]) == (502, True)
    assert len(anthropic.calls) == 1
    assert answer.json()["costUsd"] == pytest.approx(anthropic.charged(), abs=1e-12)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("unpaid:claude-haiku-4-5", "needs the secret NOBODY_HAS_SET_THIS: wrangler secret put NOBODY_HAS_SET_THIS"),
        ("anthropic/claude-haiku-4-5", "needs an AI Gateway: set the var AI_GATEWAY"),
        ("openrouter:vendor/unheard-of", "window and price are not known: add them to the var MODEL_OVERRIDES"),
        ("nobody:model", "no provider 'nobody'; it has anthropic, openrouter, structured, streaming, unpaid"),
        ("no-such-model", "unknown model"),
    ],
)
def test_unusable_model_says_why(
    ask: Ask, scripted: ScriptedModel, anthropic: AnthropicServer, model: str, sentence: str
) -> None:
    answer = ask(rootModel=model)
    assert answer.status_code == 422
    assert sentence in answer.json()["error"]["detail"][0]["message"]
    assert not anthropic.calls
    assert not scripted.calls


def test_thinking_stays_inside(ask: Ask, anthropic: AnthropicServer, router: OpenAIServer) -> None:
    anthropic.thinking_tokens = router.thinking_tokens = 40
    anthropic.rules = router.rules = [fixed("Blue.")]
    for model, server in ((f"anthropic:{SONNET}", anthropic), (f"openrouter:{SMALL}", router)):
        result = ask(rootModel=model, reasoningEffort="high").json()
        assert (result["answer"], result["reasoningTokens"]) == ("Blue.", 40)
        assert result["costUsd"] == pytest.approx(server.charged(), abs=1e-12)
        assert server.calls[-1].call.max_tokens is not None
        assert server.calls[-1].call.max_tokens >= 1_024
    assert anthropic.calls[0].call.params["output_config"] == {"effort": "high"}
    assert router.calls[0].call.params["reasoning_effort"] == "high"


def test_cached_tokens_are_cheaper(ask: Ask, router: OpenAIServer) -> None:
    text = haystack(40_000, needle())
    first = ask(text, f"{QUERY} once", rootModel=f"openrouter:{LARGE}").json()
    assert (first["cachedInputTokens"], first["costUsd"]) == (0, pytest.approx(router.charged(), abs=1e-12))
    before = router.charged()
    second = ask(text, f"{QUERY} once", rootModel=f"openrouter:{LARGE}", temperature=0.1).json()
    assert second["cachedInputTokens"] > 5_000
    assert second["costUsd"] == pytest.approx(router.charged() - before, abs=1e-12)
    assert second["costUsd"] < first["costUsd"] / 2


def test_many_calls_at_once(ask: Ask, router: OpenAIServer) -> None:
    """An invocation waits for six responses' headers at most; those of a stream come at once."""
    router.latency = 0.5
    models = {"rootModel": f"streaming:{SMALL}", "subModel": f"streaming:{SMALL}"}
    result = ask(haystack(200_000, needle()), QUERY, **models, chunkSize=8_000).json()
    assert "7481932" in result["answer"]
    assert result["costUsd"] == pytest.approx(router.charged(), abs=1e-9)
    print(f"{router.peak} calls at once")
    assert router.peak > 6


def test_third_party_by_gateway(start_worker: StartWorker, scripted: ScriptedModel) -> None:
    """Through the binding, each in its vendor's own shape; the catalogue's prices are what it costs."""
    worker = start_worker(vars={"AI_GATEWAY": "mine"})
    scripted.rules = [fixed("<think>It says so.</think>Blue.")]
    for name, stream in itertools.product(("anthropic/claude-haiku-4-5", "openai/gpt-5-mini"), (False, True)):
        scripted.reset()
        scripted.rules = [fixed("<think>It says so.</think>Blue.")]
        config = {"rootModel": name, "useCache": False}
        body = {"context": "The sky is blue.", "query": unheard("colour?"), "config": config, "stream": stream}
        answer = httpx.post(f"{worker.url}/rlm", json=body, timeout=60)
        result = dict(_events(answer.text))["result"] if stream else answer.json()
        model, call = CATALOG.find(name), scripted.calls[0].call
        assert (result["answer"], call.options["gateway"]) == ("Blue.", {"id": "mine"})
        assert model is not None
        assert result["costUsd"] == pytest.approx(model.bill(CallUsage(call.prompt_tokens, 8)), abs=1e-12)
        assert "<think>" not in answer.text


def test_keys_are_nowhere(
    scripted: ScriptedModel, anthropic: AnthropicServer, router: OpenAIServer, tmp_path: Path
) -> None:
    """Neither in a log, an answer, an event, a trajectory nor on disk, whatever a provider says when it refuses."""
    echoed = {"echo": {"type": "openai", "url": router.url, "key": "WRONG"}}
    own = variables(anthropic, router, WRONG=WRONG_KEY)
    own["PROVIDERS"] = json.dumps({**json.loads(own["PROVIDERS"]), **echoed})
    own["MODEL_OVERRIDES"] = json.dumps({"echo:vendor/small": ROUTER_PRICES, **json.loads(own["MODEL_OVERRIDES"])})
    repeating = f"upstream said: your key {ROUTER_KEY} and {ANTHROPIC_KEY[:20]}… are no good"
    router.troubles = [Trouble(500, message=repeating, when="late", late=True), Trouble(400, message=repeating)]
    anthropic.troubles = [Trouble(403, "permission_error", f"no {ANTHROPIC_KEY}")]
    seen: list[str] = []
    with DevProcess(tmp_path / "state", ai=scripted.url, variables=own) as worker:
        for model in (f"echo:{SMALL}", f"openrouter:{SMALL}", f"anthropic:{CLAUDE}"):
            for query, stream in (("now?", False), ("late?", False), ("late?", True)):
                body = {"context": haystack(30_000), "query": unheard(query), "stream": stream}
                body["config"] = {"rootModel": model, "subModel": model, "strategy": "map_reduce", "chunkSize": 10_000}
                answer = httpx.post(f"{worker.url}/rlm", json=body, timeout=60)
                seen.append(answer.text)
                session = re.search(r'"sessionId": ?"([0-9a-f]{32})"', answer.text)
                assert session is not None
                parts = ("status", "result", "events", "trajectory")
                seen += [httpx.get(f"{worker.url}/session/{session[1]}/{part}", timeout=60).text for part in parts]
        seen += [httpx.get(f"{worker.url}{path}", timeout=60).text for path in ("/health", "/v1/models")]
        seen.append(worker.log())
    files = [path for path in (tmp_path / "state").rglob("*") if path.is_file() and path.name != "run.json"]
    whole = "\n".join(seen).encode() + b"".join(path.read_bytes() for path in files)
    assert b"[secret]" in whole
    for secret in (*SECRETS, WRONG_KEY):
        assert secret.encode() not in whole
        assert secret[:16].encode() not in whole


def test_sandbox_sees_no_key(ask: Ask, anthropic: AnthropicServer) -> None:
    looking = "import os, sys\nprint(sorted(os.environ), [name for name in sys.modules if 'js' in name][:3])"
    anthropic.rules = [sequence([f"```repl\n{looking}\n```", "```repl\nFINAL('done')\n```"])]
    result = ask(haystack(5_000), rootModel=f"anthropic:{CLAUDE}", strategy="repl").json()
    assert result["answer"] == "done"
    assert not [call for call in anthropic.calls if ANTHROPIC_KEY in call.call.text or "API_KEY" in call.call.text]


def test_power_failure_pays_nothing_twice(
    scripted: ScriptedModel, anthropic: AnthropicServer, router: OpenAIServer, tmp_path: Path
) -> None:
    """kill -9 in the middle of a run on a direct provider: what was journalled is not asked again."""
    width = 4
    paced = {"MAX_CONCURRENCY": str(width), "FIRST_CONCURRENCY": str(width)}
    worker = DevProcess(tmp_path / "state", ai=scripted.url, variables=variables(anthropic, router, **paced))
    router.latency = 0.03
    models = {"rootModel": f"anthropic:{CLAUDE}", "subModel": f"openrouter:{SMALL}", "chunkSize": 10_000}
    with worker:
        body = {"context": TEXT, "query": QUERY, "config": models, "background": True}
        session = httpx.post(f"{worker.url}/rlm", json=body, timeout=60).json()["sessionId"]
        router.wait_for_calls(30)
        worker.kill()
        journalled = _journalled(worker.state)
        worker.start()
        result = _result(worker, session)
    asked = Counter(entry.call.digest for entry in router.calls)
    repeated = {digest for digest, times in asked.items() if times > 1}
    kept = {entry.call.digest for entry in router.calls if any(chunk in entry.call.text for chunk in journalled)}
    assert len(kept) == len(journalled) >= 30 - width
    assert not repeated & kept
    assert len(repeated) <= width
    once = sum(router.charges[index].usd for index in _first_of_each(router))
    assert by_model(result)[f"openrouter:{SMALL}"] == pytest.approx(once, abs=1e-9)
    assert by_model(result)[f"anthropic:{CLAUDE}"] == pytest.approx(anthropic.charged(), abs=1e-9)


def _journalled(state: Path) -> list[str]:
    (database,) = (path for path in databases(state / "do" / "rlm-worker-RLMSession") if path.stem != "metadata")
    with opened(database) as journal:
        spans = [json.loads(span) for (span,) in journal.execute("SELECT span FROM calls WHERE span IS NOT NULL")]
    return [TEXT[start:end] for _, start, end, _, _ in spans]


def _first_of_each(router: OpenAIServer) -> list[int]:
    """The charges of answers that the Worker has heard: of a prompt that was asked twice, one."""
    answered = [entry.call.digest for entry in router.calls if entry.outcome == "ok"]
    return [answered.index(digest) for digest in dict.fromkeys(answered)]


def _result(worker: DevProcess, session: str) -> dict[str, object]:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        answer = httpx.get(f"{worker.url}/session/{session}/result", timeout=60)
        if answer.status_code == 200:
            found: dict[str, object] = answer.json()
            return found
        time.sleep(0.1)
    raise TimeoutError("the run did not end")


SCHEMA = {
    "type": "object",
    "properties": {"number": {"type": "integer", "minimum": 1}, "note": {"type": "string"}},
    "required": ["number"],
}
CLOSED = {
    "type": "object",
    "properties": {"number": {"type": "integer"}},
    "required": ["number"],
    "additionalProperties": False,
}


def in_form(served: DevProcess, model: str, schema: object) -> httpx.Response:
    config = {"useCache": False, "strategy": "direct", "rootModel": model}
    body = {"context": needle(), "query": unheard("q"), "config": config, "responseSchema": schema}
    return httpx.post(f"{served.url}/rlm", json=body, timeout=120)


def test_schema_in_anthropics_form(served: DevProcess, anthropic: AnthropicServer) -> None:
    """Objects are closed, and bounds of numbers are left to our own check, which sends the answer back."""
    anthropic.rules = [sequence(['{"number": 0}', '{"number": 7481932}'])]
    answer = in_form(served, f"anthropic:{CLAUDE}", SCHEMA)
    assert answer.status_code == 200, answer.text
    assert answer.json()["answer"] == '{"number": 7481932}'
    properties = {"number": {"type": "integer"}, "note": {"type": "string"}}
    form = {"type": "object", "properties": properties, "required": ["number"], "additionalProperties": False}
    sent = [entry.call.params["output_config"] for entry in anthropic.calls]
    assert sent == [{"format": {"type": "json_schema", "schema": form}}] * 2
    assert "bigger than or equal to 1" in anthropic.calls[1].call.user
    assert answer.json()["costUsd"] == pytest.approx(anthropic.charged(), abs=1e-9)


def test_map_goes_by_prompt(served: DevProcess, anthropic: AnthropicServer) -> None:
    anthropic.rules = [fixed('{"amber-fox": 7481932}')]
    schema = {"type": "object", "additionalProperties": {"type": "integer"}}
    assert in_form(served, f"anthropic:{CLAUDE}", schema).json()["answer"] == '{"amber-fox": 7481932}'
    assert "output_config" not in anthropic.calls[0].call.params
    assert json.dumps(schema) in anthropic.calls[0].call.system


@pytest.mark.parametrize(("schema", "strict"), [(SCHEMA, False), (CLOSED, True)])
def test_schema_in_openais_form(served: DevProcess, router: OpenAIServer, schema: object, strict: bool) -> None:
    router.rules = [fixed('{"number": 7481932}')]
    overridden = in_form(served, f"structured:{SMALL}", schema)
    assert overridden.json()["answer"] == '{"number": 7481932}', overridden.text
    form = {"name": "answer", "schema": schema, "strict": strict}
    assert router.calls[0].call.params["response_format"] == {"type": "json_schema", "json_schema": form}


def test_provider_that_takes_no_schema(served: DevProcess, router: OpenAIServer) -> None:
    """It says so with a status of 400: the same is asked by the prompt alone."""
    router.troubles = [Trouble(400, "invalid_request_error", "Invalid schema for response_format 'answer'", times=1)]
    router.rules = [fixed('{"number": 7481932}')]
    assert in_form(served, f"structured:{SMALL}", SCHEMA).json()["answer"] == '{"number": 7481932}'
    assert ["response_format" in entry.call.params for entry in router.calls] == [True, False]

"""A second question about a text is cheaper where a provider keeps what prompts begin with."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping

import httpx
import pytest

from scripts.local.providers.anthropic_api import AnthropicServer
from scripts.local.providers.openai_api import OpenAIServer
from scripts.local.providers.served import ServedModel
from scripts.local.providers.server import ProviderServer
from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.model import ScriptedModel
from tests.worker.texts import haystack, needle, unheard

pytestmark = pytest.mark.worker

READER = "reader"
PRICES = {"input_price": 1.0, "output_price": 5.0, "cached_price": 0.1, "write_price": 1.25, "window": 100_000}
# OpenAI takes nothing for keeping a prompt.
OPENAI_PRICES = {**PRICES, "write_price": 1.0}
ADA, BOB = "ada-has-a-key-of-her-own", "bob-has-another-one"
CHUNK, CHUNKS = 6_000, 100
Result = dict[str, object]


@pytest.fixture(scope="module")
def anthropic() -> Iterator[AnthropicServer]:
    with AnthropicServer(key="sk-ant-secret", models={READER: ServedModel()}) as server:
        yield server


@pytest.fixture(scope="module")
def openai() -> Iterator[OpenAIServer]:
    with OpenAIServer(key="sk-open-secret", models={READER: ServedModel(write_price=1.0)}) as server:
        yield server


@pytest.fixture(scope="module")
def served(
    scripted_server: ScriptedModel,
    anthropic: AnthropicServer,
    openai: OpenAIServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DevProcess]:
    providers = {
        "anthropic": {"type": "anthropic", "url": anthropic.url, "key": "ANTHROPIC_API_KEY"},
        "openai": {
            "type": "openai",
            "url": openai.url,
            "key": "OPENAI_API_KEY",
            "streams": True,
            "cacheKeyField": "prompt_cache_key",
        },
    }
    overrides = {f"anthropic:{READER}": PRICES, f"openai:{READER}": OPENAI_PRICES}
    hashed = ",".join(
        f"{name}:{hashlib.sha256(key.encode()).hexdigest()}" for name, key in (("ada", ADA), ("bob", BOB))
    )
    variables = {
        "PROVIDERS": json.dumps(providers),
        "MODEL_OVERRIDES": json.dumps(overrides),
        "ANTHROPIC_API_KEY": "sk-ant-secret",
        "OPENAI_API_KEY": "sk-open-secret",
        "RLM_API_KEYS": hashed,
    }
    state = tmp_path_factory.mktemp("state")
    with DevProcess(state, ai=scripted_server.url, variables=variables) as process:
        yield process


@pytest.fixture
def text() -> str:
    """About a hundred chunks that no test has read before."""
    return f"{unheard('text')}. {haystack(int(CHUNK * CHUNKS * 0.95), needle(), at=0.4)}"


def ask(served: DevProcess, context: str, query: str, key: str = ADA, **config: object) -> Result:
    body = {"context": context, "query": query, "config": {"chunkSize": CHUNK, "maxSubCalls": 200, **config}}
    headers = {"authorization": f"Bearer {key}"}
    result: Result = httpx.post(f"{served.url}/rlm", json=body, headers=headers, timeout=300).json()
    assert result["success"], result
    return result


def number(result: Mapping[str, object], name: str) -> float:
    found = result[name]
    assert isinstance(found, int | float)
    return found


def asked_twice(served: DevProcess, server: ProviderServer, name: str, text: str, **config: object) -> list[Result]:
    """Two questions about a text; each costs what the provider has charged, to the last cached token."""
    server.reset()
    results: list[Result] = []
    for query in ("What is the number for amber-fox?", "Which colour has the sky?"):
        charged = len(server.charges)
        models = {"rootModel": f"{name}:{READER}", "subModel": f"{name}:{READER}"}
        result = ask(served, text, query, ADA, **models, **config)
        bill = server.charges[charged:]
        assert result["costUsd"] == pytest.approx(sum(charge.usd for charge in bill), abs=1e-9)
        assert result["cachedInputTokens"] == sum(charge.tokens.cached for charge in bill)
        assert result["totalInputTokens"] == sum(charge.tokens.prompt for charge in bill)
        print(
            f"{name} {config}: {len(bill)} calls, ${number(result, 'costUsd'):.4f}; "
            f"{result['cachedInputTokens']} of {result['totalInputTokens']} tokens from the cache"
        )
        results.append(result)
    return results


@pytest.mark.parametrize("name", ["anthropic", "openai"])
def test_second_question_is_cheaper(
    served: DevProcess, anthropic: AnthropicServer, openai: OpenAIServer, text: str, name: str
) -> None:
    """The same hundred chunks: the text is not paid for twice, whatever is asked."""
    first, second = asked_twice(served, anthropic if name == "anthropic" else openai, name, text)
    assert first["chunks"] == second["chunks"]
    assert number(first, "chunks") >= CHUNKS * 0.9
    assert first["cachedInputTokens"] == 0
    assert number(second, "cachedInputTokens") > 0.85 * number(second, "totalInputTokens")
    assert number(second, "costUsd") < number(first, "costUsd") / 2


def test_whole_text_is_kept(served: DevProcess, anthropic: AnthropicServer) -> None:
    """A text that is read in one call is kept just so."""
    text = f"{unheard('text')}. {haystack(30_000, needle())}"
    first, second = asked_twice(served, anthropic, "anthropic", text, chunkSize=50_000)
    assert (first["strategy"], second["strategy"]) == ("direct", "direct")
    assert number(second, "costUsd") < number(first, "costUsd") / 2


def test_others_find_nothing_kept(
    served: DevProcess, anthropic: AnthropicServer, openai: OpenAIServer, text: str
) -> None:
    """Who asks about a text that somebody else has read cannot tell it from the cached tokens, nor from a key."""
    for name, server in (("anthropic", anthropic), ("openai", openai)):
        server.reset()
        models = {"rootModel": f"{name}:{READER}", "subModel": f"{name}:{READER}"}
        ask(served, text, "What is the number for amber-fox?", ADA, **models)
        of_ada = {entry.call.params.get("prompt_cache_key") for entry in server.calls}
        asked = len(server.calls)
        assert ask(served, text, "What is the number for amber-fox?", BOB, **models)["cachedInputTokens"] == 0
        of_bob = {entry.call.params.get("prompt_cache_key") for entry in server.calls[asked:]}
        assert not (of_ada & of_bob) - {None}


def test_nothing_is_kept_unasked(served: DevProcess, anthropic: AnthropicServer, text: str) -> None:
    """Without the cache nobody pays for keeping a text."""
    first, second = asked_twice(served, anthropic, "anthropic", text, useCache=False)
    assert not any(charge.tokens.written or charge.tokens.cached for charge in anthropic.charges)
    assert number(second, "costUsd") == pytest.approx(number(first, "costUsd"), rel=0.05)


def test_chunk_keeps_its_place(served: DevProcess, scripted: ScriptedModel) -> None:
    """Workers AI is asked to read a chunk where it was read before: by a key for each chunk, which tells nothing."""
    text = f"{unheard('text')}. {haystack(40_000, needle())}"
    for query in ("What is the number for amber-fox?", "Which colour has the sky?"):
        ask(served, text, query)
    by_chunk: dict[str, set[str]] = {}
    for entry in scripted.calls:
        if "evidence for a question" not in entry.call.system:
            continue
        headers = entry.call.options["extraHeaders"]
        assert isinstance(headers, dict)
        assert re.fullmatch(r"[0-9a-f]{32}", headers["x-session-affinity"])
        body = entry.call.user.rpartition("Question: ")[0]
        by_chunk.setdefault(body, set()).add(headers["x-session-affinity"])
    assert len(by_chunk) > 5
    assert all(len(keys) == 1 for keys in by_chunk.values())
    assert len(set.union(*by_chunk.values())) == len(by_chunk)

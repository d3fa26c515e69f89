"""The providers' stand-ins, read by the providers' own SDKs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import httpx
import openai
import pytest

from scripts.local.providers.anthropic_api import AnthropicServer
from scripts.local.providers.openai_api import OpenAIServer
from scripts.local.providers.served import ServedModel, Trouble
from scripts.local.scripted.rules import fixed

Client: TypeAlias = Callable[..., Any]
KEY = "sk-ant-api03-of-a-stand-in"
HAIKU, SONNET = "claude-haiku-4-5", "claude-sonnet-5-5"
MINI = "gpt-5-mini"
HELLO = [{"role": "user", "content": "Say four words."}]
WORDS = "four words of answer"
LONG = "The same beginning for every question. " * 200


@pytest.fixture(scope="module")
def anthropic_server() -> Iterator[AnthropicServer]:
    models = {HAIKU: ServedModel(window=20_000), SONNET: ServedModel(window=20_000, sampling=False)}
    with AnthropicServer(key=KEY, models=models) as server:
        yield server


@pytest.fixture(scope="module")
def openai_server() -> Iterator[OpenAIServer]:
    with OpenAIServer(key=KEY, models={MINI: ServedModel(window=20_000, sampling=False)}) as server:
        yield server


@pytest.fixture(scope="module")
def router() -> Iterator[OpenAIServer]:
    models = {"vendor/one": ServedModel(), "vendor/two": ServedModel(input_price=2.0)}
    with OpenAIServer(key=KEY, models=models, flavour="openrouter") as server:
        yield server


@pytest.fixture
def messages(anthropic_server: AnthropicServer) -> AnthropicServer:
    anthropic_server.reset()
    anthropic_server.rules = [fixed(WORDS)]
    return anthropic_server


@pytest.fixture
def chat(openai_server: OpenAIServer) -> OpenAIServer:
    openai_server.reset()
    openai_server.rules = [fixed(WORDS)]
    return openai_server


@pytest.fixture
def routed(router: OpenAIServer) -> OpenAIServer:
    router.reset()
    router.rules = [fixed(WORDS)]
    return router


@pytest.fixture
def opened() -> Iterator[list[object]]:
    """SDK clients, which are to be closed."""
    clients: list[object] = []
    yield clients
    for client in clients:
        client.close()  # type: ignore[attr-defined]


@pytest.fixture
def anthropic() -> Any:
    """Anthropic's SDK, where it is installed."""
    return pytest.importorskip("anthropic")


@pytest.fixture
def claude(opened: list[object], anthropic: Any) -> Client:
    def client(server: AnthropicServer, key: str = KEY) -> object:
        opened.append(anthropic.Anthropic(base_url=server.url, api_key=key, max_retries=0))
        return opened[-1]

    return client


@pytest.fixture
def gpt(opened: list[object]) -> Client:
    def client(server: OpenAIServer, key: str = KEY) -> object:
        opened.append(openai.OpenAI(base_url=server.url, api_key=key, max_retries=0))
        return opened[-1]

    return client


def test_anthropic_sdk_reads_message(claude: Client, messages: AnthropicServer) -> None:
    found = claude(messages).messages.create(model=HAIKU, max_tokens=50, system="Be brief.", messages=HELLO)
    assert found.content[0].text == WORDS
    assert found.stop_reason == "end_turn"
    assert found.usage.input_tokens == messages.calls[0].call.prompt_tokens
    assert messages.charged() == pytest.approx((found.usage.input_tokens + found.usage.output_tokens * 5) / 1e6)


def test_anthropic_sdk_reads_stream(claude: Client, messages: AnthropicServer) -> None:
    with claude(messages).messages.stream(model=HAIKU, max_tokens=50, messages=HELLO) as stream:
        assert "".join(stream.text_stream) == WORDS
        whole = stream.get_final_message()
    assert whole.stop_reason == "end_turn"
    assert whole.usage.output_tokens == messages.charges[0].tokens.output


def test_anthropic_sdk_reads_thinking(claude: Client, messages: AnthropicServer) -> None:
    messages.thinking_tokens = 30
    asked = {"max_tokens": 4_000, "messages": HELLO, "thinking": {"type": "enabled", "budget_tokens": 1_024}}
    found = claude(messages).messages.create(model=HAIKU, **asked)
    assert [block.type for block in found.content] == ["thinking", "text"]
    assert found.usage.output_tokens_details.thinking_tokens == 30
    with claude(messages).messages.stream(model=HAIKU, **asked) as stream:
        kinds = {event.type for event in stream}
    assert {"thinking", "signature", "text", "content_block_stop", "message_delta"} <= kinds


def test_anthropic_cache_is_counted(claude: Client, messages: AnthropicServer) -> None:
    system = [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}]
    first, second = (
        claude(messages).messages.create(model=HAIKU, max_tokens=50, system=system, messages=HELLO).usage
        for _ in range(2)
    )
    assert first.cache_creation_input_tokens == second.cache_read_input_tokens > 1_024
    assert first.cache_read_input_tokens == second.cache_creation_input_tokens == 0
    assert messages.charges[0].usd > messages.charges[1].usd


def test_anthropic_sdk_counts(claude: Client, messages: AnthropicServer) -> None:
    counted = claude(messages).messages.count_tokens(model=HAIKU, messages=HELLO)
    assert (
        counted.input_tokens
        == claude(messages).messages.create(model=HAIKU, max_tokens=5, messages=HELLO).usage.input_tokens
    )
    assert [model.id for model in claude(messages).models.list()] == [HAIKU, SONNET]


def test_anthropic_stop_reasons(claude: Client, messages: AnthropicServer) -> None:
    assert claude(messages).messages.create(model=HAIKU, max_tokens=1, messages=HELLO).stop_reason == "max_tokens"
    messages.refuses = "four"
    assert claude(messages).messages.create(model=HAIKU, max_tokens=50, messages=HELLO).stop_reason == "refusal"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(429, "rate_limit_error"), (529, "overloaded_error"), (500, "api_error"), (403, "permission_error")],
)
def test_anthropic_sdk_raises(
    anthropic: Any, claude: Client, messages: AnthropicServer, status: int, kind: str
) -> None:
    messages.troubles = [Trouble(status, kind, headers={"retry-after": "7"})]
    with pytest.raises(anthropic.APIStatusError) as raised:
        claude(messages).messages.create(model=HAIKU, max_tokens=50, messages=HELLO)
    assert (raised.value.status_code, raised.value.response.headers["retry-after"]) == (status, "7")
    assert raised.value.body["error"]["type"] == kind
    assert not messages.charges


def test_anthropic_sdk_meets_late_error(anthropic: Any, claude: Client, messages: AnthropicServer) -> None:
    messages.troubles = [Trouble(529, "overloaded_error", late=True)]
    with (
        pytest.raises(anthropic.APIStatusError),
        claude(messages).messages.stream(model=HAIKU, max_tokens=50, messages=HELLO) as stream,
    ):
        list(stream)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"max_tokens": 0}, 400),
        ({"model": SONNET, "extra_body": {"temperature": 0.5}}, 400),
        ({"thinking": {"type": "enabled", "budget_tokens": 100}}, 400),
        ({"model": "claude-nobody"}, 404),
        ({"messages": [{"role": "user", "content": "x " * 50_000}]}, 400),
    ],
)
def test_anthropic_refuses(
    anthropic: Any, claude: Client, messages: AnthropicServer, fields: dict[str, object], status: int
) -> None:
    with pytest.raises(anthropic.APIStatusError) as raised:
        claude(messages).messages.create(**{"model": HAIKU, "max_tokens": 50, "messages": HELLO, **fields})
    assert raised.value.status_code == status


def test_keys_are_checked(
    anthropic: Any, claude: Client, gpt: Client, messages: AnthropicServer, chat: OpenAIServer
) -> None:
    with pytest.raises(anthropic.AuthenticationError, match="wrong-key"):
        claude(messages, "wrong-key").messages.create(model=HAIKU, max_tokens=50, messages=HELLO)
    with pytest.raises(openai.AuthenticationError, match="wrong-key"):
        gpt(chat, "wrong-key").chat.completions.create(model=MINI, messages=HELLO)
    body = {"model": HAIKU, "max_tokens": 5, "messages": HELLO}
    assert httpx.post(f"{messages.url}/v1/messages", json=body, headers={"x-api-key": KEY}).status_code == 400


def test_openai_sdk_reads_completion(gpt: Client, chat: OpenAIServer) -> None:
    found = gpt(chat).chat.completions.create(model=MINI, messages=HELLO, max_completion_tokens=50)
    assert found.choices[0].message.content == WORDS
    assert found.choices[0].finish_reason == "stop"
    assert found.usage.prompt_tokens == chat.calls[0].call.prompt_tokens


def test_openai_sdk_reads_stream(gpt: Client, chat: OpenAIServer) -> None:
    chat.thinking_tokens = 20
    chunks = list(
        gpt(chat).chat.completions.create(
            model=MINI,
            messages=HELLO,
            max_completion_tokens=50,
            reasoning_effort="low",
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said == WORDS
    assert chunks[-1].usage.completion_tokens_details.reasoning_tokens == 20


def test_openai_cache_is_counted(gpt: Client, chat: OpenAIServer) -> None:
    asked = [{"role": "system", "content": LONG}, *HELLO]
    first, second = (gpt(chat).chat.completions.create(model=MINI, messages=asked).usage for _ in range(2))
    assert first.prompt_tokens_details.cached_tokens == 0
    assert second.prompt_tokens_details.cached_tokens >= 1_024
    assert second.prompt_tokens == first.prompt_tokens


def test_openai_sdk_raises(gpt: Client, chat: OpenAIServer) -> None:
    chat.troubles = [Trouble(429, "insufficient_quota", headers={"x-should-retry": "false"}, times=1)]
    with pytest.raises(openai.RateLimitError) as raised:
        gpt(chat).chat.completions.create(model=MINI, messages=HELLO)
    assert raised.value.code == "insufficient_quota"
    with pytest.raises(openai.BadRequestError, match="max_tokens"):
        gpt(chat).chat.completions.create(model=MINI, messages=HELLO, max_tokens=5)


def test_router_tells_cost(gpt: Client, routed: OpenAIServer) -> None:
    routed.troubles = [Trouble(503, model="vendor/one")]
    found = gpt(routed).chat.completions.create(
        model="vendor/one",
        messages=HELLO,
        extra_body={"models": ["vendor/two"]},
    )
    assert found.model == "vendor/two"
    assert found.usage is not None
    assert found.usage.model_extra is not None
    assert found.usage.model_extra["cost"] == pytest.approx(routed.charged("vendor/two"))
    assert routed.charged("vendor/two") > 0


def test_router_fails_late(gpt: Client, routed: OpenAIServer) -> None:
    routed.troubles = [Trouble(502, message="upstream broke", late=True)]
    with pytest.raises(openai.APIError, match="upstream broke"):
        list(gpt(routed).chat.completions.create(model="vendor/one", messages=HELLO, stream=True))

"""OpenAI's own client works unchanged: the real package against the real runtime."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.faults import Fault
from scripts.local.scripted.model import ScriptedModel
from scripts.local.scripted.rules import echo, fixed, for_model, when

ROOT = "@cf/meta/llama-3.3-70b-instruct-fp8-fast"
SUB = "@cf/meta/llama-3.1-8b-instruct-fp8-fast"
NEEDLE = "One of the special magic numbers for {key} is: {value}."
FILLER = "The grass is green and the sky is blue. "

pytestmark = pytest.mark.worker


@pytest.fixture
def client(worker: DevProcess, scripted: ScriptedModel) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{worker.url}/v1", api_key="any", max_retries=0, timeout=120) as found:
        yield found


@pytest.fixture
async def async_client(worker: DevProcess, scripted: ScriptedModel) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{worker.url}/v1", api_key="any", max_retries=0, timeout=120) as found:
        yield found


def question(key: str) -> ChatCompletionMessageParam:
    return {"role": "user", "content": f"What is the special magic number for {key}?"}


def document(key: str, value: int, characters: int = 2_000) -> ChatCompletionMessageParam:
    filler = FILLER * (characters // len(FILLER) // 2)
    return {"role": "user", "content": filler + NEEDLE.format(key=key, value=value) + " " + filler}


def said(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_short_context_answers(client: openai.OpenAI, scripted: ScriptedModel) -> None:
    done = client.chat.completions.create(
        model="llama-3.1-70b+llama-3.1-8b", messages=[document("short", 4711), question("short")]
    )
    assert done.choices[0].message.content == NEEDLE.format(key="short", value=4711)
    assert done.choices[0].finish_reason == "stop"
    assert done.model == f"{ROOT}+{SUB}"
    assert done.usage is not None
    assert done.usage.prompt_tokens == sum(entry.call.prompt_tokens for entry in scripted.answered)
    assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens
    assert done.model_extra is not None
    assert done.model_extra["rlm"]["strategy"] == "direct"
    assert done.model_extra["rlm"]["costUsd"] > 0


def test_long_context_maps(client: openai.OpenAI, scripted: ScriptedModel) -> None:
    done = client.chat.completions.create(model="rlm", messages=[document("long", 815, 150_000), question("long")])
    assert "815" in (done.choices[0].message.content or "")
    assert done.model_extra is not None
    numbers = done.model_extra["rlm"]
    assert numbers["strategy"] == "map_reduce"
    assert numbers["subCalls"] == len([entry for entry in scripted.answered if entry.call.model == SUB])
    assert numbers["coverage"] == 1
    assert done.usage is not None
    assert done.usage.prompt_tokens == sum(entry.call.prompt_tokens for entry in scripted.answered)


def test_messages_become_documents(client: openai.OpenAI, scripted: ScriptedModel) -> None:
    client.chat.completions.create(
        model="rlm-direct",
        messages=[
            {"role": "system", "content": "You are a librarian."},
            {
                "role": "user",
                "name": "ada",
                "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}],
            },
            {"role": "assistant", "content": "Noted."},
            {
                "role": "user",
                "content": [{"type": "text", "text": "three"}, {"type": "text", "text": "Which numbers?"}],
            },
        ],
    )
    call = scripted.calls[-1].call
    prompt = call.user
    names = ["message 2 (user, ada), part 1", "message 2 (user, ada), part 2"]
    for name in [*names, "message 3 (assistant)", "message 4 (user), part 1"]:
        assert f'"{name}"' in prompt
    assert prompt.endswith("\n\nQuestion: Which numbers?\nAnswer:")
    assert "librarian" not in prompt
    assert call.system.endswith("You are a librarian.")


def test_lone_message_is_context(client: openai.OpenAI, scripted: ScriptedModel) -> None:
    text = NEEDLE.format(key="lone", value=31) + " What is the special magic number for lone?"
    done = client.chat.completions.create(model="rlm", messages=[{"role": "user", "content": text}])
    assert done.choices[0].message.content == NEEDLE.format(key="lone", value=31)
    assert scripted.calls[-1].call.user.count("for lone?") == 2


def test_question_inside_text(client: openai.OpenAI) -> None:
    text = document("tail", 77, 120_000)["content"]
    asked = f"{text}\n\nWhat is the special magic number for tail?"
    done = client.chat.completions.create(model="rlm", messages=[{"role": "user", "content": asked}])
    assert "is: 77." in (done.choices[0].message.content or "")


def test_stream_brings_deltas(client: openai.OpenAI, scripted: ScriptedModel) -> None:
    stream = client.chat.completions.create(
        model="rlm",
        messages=[document("stream", 99, 120_000), question("stream")],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert said(chunks) == NEEDLE.format(key="stream", value=99)
    # What comes within 100 ms is one chunk, and this model says all at once; the first word waits for nothing.
    assert len([chunk for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]) >= 2
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.prompt_tokens == sum(entry.call.prompt_tokens for entry in scripted.answered)
    assert len({chunk.id for chunk in chunks}) == 1


def test_usage_only_when_asked(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(model="rlm", messages=[document("bare", 5), question("bare")], stream=True)
    )
    assert all(chunk.usage is None for chunk in chunks)
    assert said(chunks) == NEEDLE.format(key="bare", value=5)


def test_broken_stream_continues(client: openai.OpenAI, scripted: ScriptedModel) -> None:
    scripted.faults = [Fault("truncated", model=ROOT, times=1)]
    chunks = list(
        client.chat.completions.create(model="rlm", messages=[document("cut", 8), question("cut")], stream=True)
    )
    assert said(chunks) == NEEDLE.format(key="cut", value=8)


def test_changed_mind_is_marked(client: openai.OpenAI, scripted: ScriptedModel) -> None:
    scripted.rules = [lambda call: "first thoughts are wrong" if call.attempt == 1 else "second thoughts"]
    scripted.faults = [Fault("truncated", model=ROOT, times=1)]
    # The truncated reply is made from the first rule; the next attempt says something else.
    chunks = list(
        client.chat.completions.create(model="rlm", messages=[document("mind", 8), question("mind")], stream=True)
    )
    assert said(chunks).endswith("second thoughts")
    assert "begins anew" in said(chunks)


def test_same_question_streams_from_cache(client: openai.OpenAI, scripted: ScriptedModel) -> None:
    messages = [document("again", 6), question("again")]
    first = client.chat.completions.create(model="rlm", messages=messages)
    calls = len(scripted.calls)
    chunks = list(
        client.chat.completions.create(
            model="rlm", messages=messages, stream=True, stream_options={"include_usage": True}
        )
    )
    assert said(chunks) == first.choices[0].message.content
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 0
    assert len(scripted.calls) == calls


async def test_async_answers(async_client: openai.AsyncOpenAI) -> None:
    done = await async_client.chat.completions.create(model="auto", messages=[document("async", 12), question("async")])
    assert done.choices[0].message.content == NEEDLE.format(key="async", value=12)


async def test_async_streams(async_client: openai.AsyncOpenAI) -> None:
    stream = await async_client.chat.completions.create(
        model="rlm-map-reduce", messages=[document("flow", 13), question("flow")], stream=True
    )
    chunks = [chunk async for chunk in stream]
    assert said(chunks) == NEEDLE.format(key="flow", value=13)


def test_stream_helper_collects(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="rlm", messages=[document("help", 14), question("help")]) as stream:
        done = stream.get_final_completion()
    assert done.choices[0].message.content == NEEDLE.format(key="help", value=14)


def test_parameters_reach_models(client: openai.OpenAI, scripted: ScriptedModel) -> None:
    client.chat.completions.create(
        model="gpt-oss-20b+rlm-direct",
        messages=[document("tuned", 1), question("tuned")],
        temperature=0.7,
        max_completion_tokens=77,
        top_p=0.9,
        seed=7,
        user="ada",
        metadata={"a": "b"},
        extra_body={"rlm": {"useCache": False}},
    )
    sent = scripted.calls[-1].call
    assert sent.model == "@cf/openai/gpt-oss-20b"
    assert (sent.params["temperature"], sent.max_tokens) == (0.7, 77)


def test_long_answer_is_cut(client: openai.OpenAI, scripted: ScriptedModel) -> None:
    scripted.rules = [fixed("word " * 400)]
    done = client.chat.completions.create(
        model="rlm-direct", messages=[document("cutoff", 1), question("cutoff")], max_tokens=10
    )
    assert done.choices[0].finish_reason == "length"
    assert done.usage is not None
    assert done.usage.completion_tokens == 10


@pytest.mark.parametrize(
    ("arguments", "param"),
    [
        ({"n": 2}, "n"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}, "tools"),
        ({"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}, "audio"),
        ({"stop": ["\n"]}, "stop"),
        ({"logprobs": True}, "logprobs"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"response_format": {"type": "yaml"}}, "response_format.type"),
        ({"extra_body": {"surprise": 1}}, "surprise"),
        ({"extra_body": {"rlm": {"chunkSize": "x"}}}, "rlm.chunkSize"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": "  "}]}, "messages.0.content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]},
            "messages.0.content.0.type",
        ),
    ],
)
def test_unsupported_is_refused(client: openai.OpenAI, arguments: dict[str, object], param: str) -> None:
    wanted: dict[str, object] = {"model": "rlm", "messages": [document("no", 1), question("no")], **arguments}
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**wanted)  # type: ignore[call-overload]
    assert refused.value.param == param
    assert refused.value.type == "invalid_request_error"
    assert refused.value.code == "invalid_request"


@pytest.mark.parametrize("name", ["gpt-9", "llama-3.1-70b+gpt-9", "llama-3.1-70b+llama-3.1-8b+gpt-oss-20b", "rlm+auto"])
def test_unknown_model(client: openai.OpenAI, name: str) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        client.chat.completions.create(model=name, messages=[question("x")])
    assert (refused.value.param, refused.value.code) == ("model", "model_not_found")


def test_model_failure_has_form(client: openai.OpenAI, scripted: ScriptedModel) -> None:
    scripted.faults = [Fault(5004, model=ROOT)]
    with pytest.raises(openai.InternalServerError) as failed:
        client.chat.completions.create(model="rlm", messages=[document("fails", 1), question("fails")])
    assert failed.value.status_code == 502
    assert failed.value.code == "model_refused"


def test_stream_failure_raises(client: openai.OpenAI, scripted: ScriptedModel) -> None:
    scripted.faults = [Fault(5004, model=ROOT)]
    with pytest.raises(openai.APIError, match="5004"):
        list(client.chat.completions.create(model="rlm", messages=[document("bad", 1), question("bad")], stream=True))


def test_key_is_needed(start_worker: object) -> None:
    digest = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"  # of the key "foo"
    process = start_worker(vars={"RLM_API_KEYS": f"ada:{digest}"})  # type: ignore[operator]
    with (
        openai.OpenAI(base_url=f"{process.url}/v1", api_key="wrong", max_retries=0) as wrong,
        pytest.raises(openai.AuthenticationError) as refused,
    ):
        wrong.models.list()
    assert refused.value.code == "invalid_api_key"
    with openai.OpenAI(base_url=f"{process.url}/v1", api_key="foo", max_retries=0) as right:
        assert right.models.list().data


def test_models_are_listed(client: openai.OpenAI) -> None:
    listed = {model.id: model for model in client.models.list()}
    root = listed[ROOT]
    assert root.object == "model"
    assert root.owned_by == "meta"
    assert root.model_extra is not None
    assert root.model_extra["window"] == 24_000
    assert (root.model_extra["inputPrice"], root.model_extra["outputPrice"]) == (0.293, 2.253)
    assert "llama-3.1-70b" in root.model_extra["aliases"]
    assert root.model_extra["dated"] >= "2026-10"


@pytest.mark.parametrize("name", [ROOT, "llama-3.1-70b", "rlm", "llama-3.1-70b+llama-3.1-8b"])
def test_one_model_is_found(client: openai.OpenAI, name: str) -> None:
    found = client.models.retrieve(name)
    assert found.id == name
    assert found.model_extra is not None
    assert found.model_extra["window"] == 24_000


def test_other_paths_have_form(worker: DevProcess) -> None:
    missing = httpx.get(f"{worker.url}/v1/engines")
    assert missing.status_code == 404
    assert missing.json()["error"]["code"] == "not_found"
    wrong = httpx.get(f"{worker.url}/v1/chat/completions")
    assert wrong.status_code == 405
    assert wrong.headers["allow"] == "POST"


def test_session_can_be_read(client: openai.OpenAI, http: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.rules = [for_model(ROOT, when("sky", echo())), fixed("NONE")]
    done = client.chat.completions.create(
        model="rlm", messages=[{"role": "user", "content": FILLER}, {"role": "user", "content": "What about the sky?"}]
    )
    session = done.id.removeprefix("chatcmpl-")
    calls = http.get(f"/session/{session}/trajectory").json()["calls"]
    assert [call["response"] for call in calls] == [done.choices[0].message.content]

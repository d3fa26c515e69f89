"""The AI binding's stand-in, run in the real workerd in front of the scripted model."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from scripts.local.paths import local_paths
from scripts.local.scripted.calls import Reply
from scripts.local.scripted.faults import Fault
from scripts.local.scripted.model import ScriptedModel
from scripts.local.scripted.rules import fixed
from scripts.local.setup.components import node, node_environment

pytestmark = pytest.mark.worker

OLDER = "@cf/meta/llama-3.1-8b-instruct-fp8-fast"
NEWER = "@cf/openai/gpt-oss-20b"
HELLO = {"messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedModel]:
    with ScriptedModel() as model:
        yield model


@pytest.fixture(scope="module")
def probe(server: ScriptedModel) -> Iterator[httpx.Client]:
    paths = local_paths()
    stand_in = paths.ai_worker
    command = [node(paths), Path(__file__).with_name("probe.mjs"), paths.npm, stand_in, server.url]
    process = subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **node_environment(paths)},
        start_new_session=True,
    )
    with process:
        assert process.stdout is not None
        url = process.stdout.readline().decode().removeprefix("ready ").strip()
        with httpx.Client(base_url=url, timeout=60) as client:
            yield client
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def scripted(server: ScriptedModel) -> ScriptedModel:
    server.reset()
    server.rules = [fixed("four words of answer")]
    return server


def run(probe: httpx.Client, model: str, inputs: object, options: object = None) -> httpx.Response:
    return probe.post("/", json={"model": model, "inputs": inputs, "options": options})


def test_older_shape(probe: httpx.Client, scripted: ScriptedModel) -> None:
    answer = run(probe, OLDER, HELLO).json()
    assert answer["response"] == "four words of answer"
    assert answer["usage"]["prompt_tokens"] == scripted.calls[0].call.prompt_tokens


def test_newer_shape(probe: httpx.Client, scripted: ScriptedModel) -> None:
    answer = run(probe, NEWER, HELLO).json()
    assert answer["choices"][0]["message"]["content"] == "four words of answer"
    assert "response" not in answer


def test_default_max_tokens(probe: httpx.Client, scripted: ScriptedModel) -> None:
    run(probe, OLDER, HELLO)
    run(probe, OLDER, {**HELLO, "max_tokens": 7})
    run(probe, NEWER, HELLO)
    assert [entry.call.max_tokens for entry in scripted.calls] == [256, 7, None]


def test_prompt_instead_of_messages(probe: httpx.Client, scripted: ScriptedModel) -> None:
    run(probe, OLDER, {"prompt": "hello"})
    assert scripted.calls[0].call.messages == (("user", "hello"),)


def test_missing_prompt_refused(probe: httpx.Client, scripted: ScriptedModel) -> None:
    assert run(probe, OLDER, {}).text.startswith("5004: ")
    assert not scripted.calls


def test_raw_response(probe: httpx.Client, scripted: ScriptedModel) -> None:
    response = run(probe, OLDER, HELLO, {"returnRawResponse": True})
    assert response.headers["x-kind"] == "response"
    assert response.json()["response"] == "four words of answer"


def test_number_passes_through(probe: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.rules = [fixed(42)]
    assert run(probe, OLDER, HELLO).json()["response"] == 42


def test_options_are_logged(probe: httpx.Client, scripted: ScriptedModel) -> None:
    run(probe, OLDER, HELLO, {"gateway": {"id": "g"}, "rejectIfBusy": True})
    assert scripted.calls[0].call.options == {"gateway": {"id": "g"}, "rejectIfBusy": True}


@pytest.mark.parametrize("code", [3040, 3021, 3036, 3007, 3006, 5007, 5016, 3043])
def test_code_survives(probe: httpx.Client, scripted: ScriptedModel, code: int) -> None:
    scripted.faults = [Fault(code)]
    assert run(probe, OLDER, HELLO).text.startswith(f"{code}: ")


def test_retry_after_survives(probe: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.faults = [Fault(3040, retry_after=7)]
    assert run(probe, OLDER, HELLO).text.endswith("; retry after 7s")


def test_unreachable_server(probe: httpx.Client) -> None:
    assert run(probe, "@cf/gone/model", HELLO).text.startswith("1031: ")


def test_unreadable_answer(probe: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.faults = [Fault("truncated")]
    assert run(probe, OLDER, HELLO).text.startswith("3043: ")


def test_bare_schema_is_wrapped(probe: httpx.Client, scripted: ScriptedModel) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "number"}}}
    scripted.rules = [fixed('{"a": 1}')]
    answer = run(probe, OLDER, {**HELLO, "response_format": {"type": "json_schema", "json_schema": schema}}).json()
    assert answer["response"] == {"a": 1}
    asked = scripted.calls[0].call.params["response_format"]
    assert asked == {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def test_named_schema_is_kept(probe: httpx.Client, scripted: ScriptedModel) -> None:
    given = {"type": "json_schema", "json_schema": {"name": "mine", "schema": {"type": "object"}, "strict": True}}
    scripted.rules = [fixed("{}")]
    run(probe, OLDER, {**HELLO, "response_format": given})
    assert scripted.calls[0].call.params["response_format"] == given


def test_json_mode_failure(probe: httpx.Client, scripted: ScriptedModel) -> None:
    answer = run(probe, OLDER, {**HELLO, "response_format": {"type": "json_object"}})
    assert answer.text == "5024: JSON Mode couldn't be met"


def test_json_mode_never_streams(probe: httpx.Client, scripted: ScriptedModel) -> None:
    answer = run(probe, OLDER, {**HELLO, "stream": True, "response_format": {"type": "json_object"}})
    assert answer.text.startswith("5004: ")


def stream_events(response: httpx.Response) -> list[object]:
    data = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    return [item if item == "[DONE]" else json.loads(item) for item in data]


def test_older_stream(probe: httpx.Client, scripted: ScriptedModel) -> None:
    response = run(probe, OLDER, {**HELLO, "stream": True})
    assert response.headers["x-kind"] == "stream"
    *pieces, usage, done = stream_events(response)
    assert "".join(piece["response"] for piece in pieces if isinstance(piece, dict)) == "four words of answer"
    assert isinstance(usage, dict)
    assert usage["response"] is None
    assert usage["usage"]["completion_tokens"] > 0
    assert done == "[DONE]"


def test_newer_stream(probe: httpx.Client, scripted: ScriptedModel) -> None:
    first, *_, done = stream_events(run(probe, NEWER, {**HELLO, "stream": True}))
    assert isinstance(first, dict)
    assert first["choices"][0]["delta"]["content"] == "four "
    assert done == "[DONE]"


def test_truncated_stream(probe: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.faults = [Fault("truncated")]
    events = stream_events(run(probe, OLDER, {**HELLO, "stream": True}))
    assert "[DONE]" not in events
    assert events


def test_missing_usage(probe: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.rules = [lambda _call: Reply("words", usage={})]
    assert run(probe, OLDER, HELLO).json()["usage"] == {}

"""The AI binding's stand-in, run in the real workerd in front of the scripted model."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from scripts.local.paths import local_paths
from scripts.local.scripted.calls import Reply
from scripts.local.scripted.faults import SAYS, Fault
from scripts.local.scripted.model import ScriptedModel
from scripts.local.scripted.rules import fixed
from scripts.local.setup.components import node, node_environment

pytestmark = pytest.mark.worker

OLDER = "@cf/meta/llama-3.1-8b-instruct-fp8-fast"
NEWER = "@cf/openai/gpt-oss-20b"
BARE = "@cf/meta/llama-3.3-70b-instruct-fp8-fast"
NAMED = "@cf/zai-org/glm-4.7-flash"
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


@pytest.mark.parametrize("code", sorted(SAYS))
def test_code_survives(probe: httpx.Client, scripted: ScriptedModel, code: int) -> None:
    scripted.faults = [Fault(code)]
    assert run(probe, OLDER, HELLO).text == f"{code}: {SAYS[code][1]}"


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
    answer = run(probe, BARE, {**HELLO, "response_format": {"type": "json_schema", "json_schema": schema}}).json()
    assert answer["response"] == {"a": 1}
    asked = scripted.calls[0].call.params["response_format"]
    assert asked == {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def test_named_schema_is_kept(probe: httpx.Client, scripted: ScriptedModel) -> None:
    given = {"type": "json_schema", "json_schema": {"name": "mine", "schema": {"type": "object"}, "strict": True}}
    scripted.rules = [fixed("{}")]
    run(probe, NAMED, {**HELLO, "response_format": given})
    assert scripted.calls[0].call.params["response_format"] == given


@pytest.mark.parametrize(("model", "schema"), [(BARE, {"schema": {"type": "object"}}), (NAMED, {"type": "object"})])
def test_wrong_shape_refused(probe: httpx.Client, scripted: ScriptedModel, model: str, schema: object) -> None:
    answer = run(probe, model, {**HELLO, "response_format": {"type": "json_schema", "json_schema": schema}})
    assert answer.text.startswith("5004: json_schema must be")
    assert not scripted.calls


@pytest.mark.parametrize("model", [OLDER, NEWER])
def test_no_json_mode(probe: httpx.Client, scripted: ScriptedModel, model: str) -> None:
    answer = run(probe, model, {**HELLO, "response_format": {"type": "json_schema", "json_schema": {"type": "object"}}})
    assert answer.text == "5025: This model doesn't support JSON Schema"
    assert not scripted.calls


@pytest.mark.parametrize(("model", "path"), [(OLDER, "/response"), (NEWER, "/choices/0/message/content")])
def test_null_is_an_answer(probe: httpx.Client, scripted: ScriptedModel, model: str, path: str) -> None:
    scripted.faults = [Fault("null")]
    answer = run(probe, model, HELLO).json()
    value = answer
    for key in path.strip("/").split("/"):
        value = value[int(key) if key.isdigit() else key]
    assert value is None
    assert answer["usage"]["prompt_tokens"] > 0


def test_busy_binding_queues(probe: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.capacity, scripted.latency = 1, 0.2
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: run(probe, OLDER, HELLO), range(3)))
    assert [answer.status_code for answer in answers] == [200] * 3


def test_busy_binding_rejects(probe: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.capacity, scripted.latency = 1, 0.5
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: run(probe, OLDER, HELLO, {"rejectIfBusy": True}), range(3)))
    assert sorted(answer.text[:6] for answer in answers if answer.status_code != 200) == ["3040: "] * 2


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


RERANKER, EMBEDDINGS, DECISION = "@cf/baai/bge-reranker-base", "@cf/baai/bge-m3", "@cf/cloudflare/clef-flash"


def test_reranker_shape(probe: httpx.Client, scripted: ScriptedModel) -> None:
    inputs = {"query": "green apples", "contexts": [{"text": "blue pears"}, {"text": "green apples"}], "top_k": 2}
    assert run(probe, RERANKER, inputs).json() == {"response": [{"id": 1, "score": 1}, {"id": 0, "score": 0}]}
    assert scripted.calls[0].call.messages[0] == ("query", "green apples")


def test_embedding_shape(probe: httpx.Client, scripted: ScriptedModel) -> None:
    answer = run(probe, EMBEDDINGS, {"text": ["green apples", "blue pears"]}).json()
    assert answer["shape"] == [2, len(answer["data"][0])]
    assert len(scripted.calls[0].call.messages) == 2


def test_decision_shape(probe: httpx.Client, scripted: ScriptedModel) -> None:
    questions = {"fits": {"type": "noul", "instructions": "green apples"}}
    answer = run(probe, DECISION, {"state": "some green apples", "questions": questions}).json()
    assert answer["answers"] == {"fits": {"noul": 1}}
    assert answer["usage"]["input_tokens"] > 0
    assert scripted.calls[0].outcome == "ok"


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (EMBEDDINGS, {"text": ["word"] * 101}),
        (EMBEDDINGS, {"text": ["word " * 8_000]}),
        (EMBEDDINGS, {"state": "not a text"}),
        (DECISION, {"state": "a state", "questions": {}}),
        (DECISION, {"state": "a state", "questions": {"fits": {"type": "noul"}}}),
        (RERANKER, {"query": "no contexts"}),
    ],
)
def test_judge_limits(probe: httpx.Client, scripted: ScriptedModel, model: str, inputs: object) -> None:
    assert run(probe, model, inputs).text.startswith("3010: ")
    assert not scripted.calls


def test_other_judge_is_named(probe: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.answers_as = "small-reranker"
    for model in (RERANKER, "local/reranker"):
        answer = run(probe, model, {"query": "green", "contexts": [{"text": "green"}]}).json()
        assert answer["answered_by"] == "local/small-reranker"


def test_long_state_is_cut(probe: httpx.Client, scripted: ScriptedModel) -> None:
    run(probe, DECISION, {"state": "x" * 300_000, "questions": {"fits": {"type": "noul", "instructions": "fits?"}}})
    assert len(str(scripted.calls[0].call.messages[-1][1])) == 4 * 65_536

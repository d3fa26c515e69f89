"""Answers in the caller's form in the real workerd: each strategy, each way to a model, each way to miss it."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import openai
import pydantic
import pytest

from rlm_client import AnswerInvalidError, RLMClient, run_rlm
from scripts.local.paths import local_paths
from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.calls import ChatCall
from scripts.local.scripted.faults import Fault
from scripts.local.scripted.model import ScriptedModel
from scripts.local.setup.weights import ensure_models
from tests.worker.conftest import StartWorker
from tests.worker.test_repl import cell, wait_for
from tests.worker.texts import haystack, needle, unheard

pytestmark = pytest.mark.worker

BARE, NAMED, PLAIN = "llama-3.3-70b", "glm-4.7-flash", "gpt-oss-20b"


class Finding(pydantic.BaseModel):
    """The magic number of an animal."""

    model_config = pydantic.ConfigDict(extra="forbid")

    animal: str
    number: int


SCHEMA = Finding.model_json_schema()
FIT = '{"animal": "amber-fox", "number": 7481932}'
PROSE = "The number for amber-fox is 7481932."
EXTRA = '{"animal": "amber-fox", "number": 7481932, "sure": true}'
LACKING = '{"animal": "amber-fox"}'
SHORT, LONG = haystack(2_000, needle(), at=0.5), haystack(120_000, needle(), at=0.7)
STRATEGIES = {"direct": SHORT, "map_reduce": LONG, "repl": LONG}
EACH = pytest.mark.parametrize("strategy", STRATEGIES)


def roots(replies: Sequence[object], strategy: str = "direct") -> list[Any]:
    """Readers quote the needle; the root gives one reply after the other, in the REPL as what it submits."""
    left = list(replies)

    def answer(call: ChatCall) -> object:
        if "llama-3.1-8b" in call.model:
            return needle() if needle() in call.user else "NONE"
        reply = left.pop(0) if len(left) > 1 else left[0]
        return cell(f"print(context.search('amber-fox'))\nFINAL({reply!r})") if strategy == "repl" else reply

    return [answer]


def sent(
    http: httpx.Client, strategy: str, root: str = PLAIN, schema: object = SCHEMA, **more: object
) -> httpx.Response:
    config = {"strategy": strategy, "rootModel": root, "useCache": False}
    query = f"What is the number for amber-fox? ({unheard('q')})"
    return http.post(
        "/rlm",
        json={"context": STRATEGIES[strategy], "query": query, "config": config, "responseSchema": schema, **more},
    )


def asked(scripted: ScriptedModel) -> list[ChatCall]:
    return [entry.call for entry in scripted.calls if "llama-3.1-8b" not in entry.call.model]


@EACH
def test_invalid_twice_then_valid(http: httpx.Client, scripted: ScriptedModel, strategy: str) -> None:
    scripted.rules = roots([PROSE, EXTRA, f"Here you are:\n```json\n{FIT}\n```"], strategy)
    answer = sent(http, strategy)
    assert answer.status_code == 200, answer.text
    result = answer.json()
    assert (result["answer"], result["strategy"], result["iterations"]) == (FIT, strategy, 3)
    assert len(asked(scripted)) == 3
    assert [one["citedText"] for one in result["citations"]] == [needle()]
    told = http.get(f"/session/{result['sessionId']}/events").text
    assert told.count("event: mend\n") == 2
    calls = http.get(f"/session/{result['sessionId']}/trajectory").json()["calls"]
    sandbox = result["sandboxCostUsd"]
    assert sum(call["costUsd"] for call in calls) + sandbox == pytest.approx(result["costUsd"], abs=1e-9)


@EACH
def test_invalid_thrice_is_told(http: httpx.Client, scripted: ScriptedModel, strategy: str) -> None:
    scripted.rules = roots([PROSE, LACKING, EXTRA], strategy)
    answer = sent(http, strategy)
    assert answer.status_code == 502
    result = answer.json()
    assert (result["success"], result["answer"], result["error"]["type"]) == (False, EXTRA, "answer_invalid")
    assert "must not contain" in result["error"]["message"]
    assert len(asked(scripted)) == 3
    assert result["costUsd"] > 0
    assert [one["citedText"] for one in result["citations"]] == [needle()]
    found = http.get(f"/session/{result['sessionId']}/result")
    assert (found.status_code, found.json()["answer"]) == (502, EXTRA)


@pytest.mark.parametrize("strategy", ["direct", "map_reduce"])
@pytest.mark.parametrize(("model", "strict"), [(BARE, None), (NAMED, True)])
def test_json_mode_has_its_shape(
    http: httpx.Client, scripted: ScriptedModel, strategy: str, model: str, strict: bool | None
) -> None:
    scripted.rules = roots([FIT])
    result = sent(http, strategy, model).json()
    assert json.loads(result["answer"]) == json.loads(FIT)
    (call,) = asked(scripted)
    form = call.params["response_format"]
    assert isinstance(form, dict)
    assert (form["json_schema"]["schema"], form["json_schema"].get("strict")) == (SCHEMA, strict)
    assert json.dumps(SCHEMA, ensure_ascii=False) in call.text


def test_other_models_are_told(http: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.rules = roots([FIT])
    sent(http, "direct")
    (call,) = asked(scripted)
    assert "response_format" not in call.params
    assert json.dumps(SCHEMA, ensure_ascii=False) in call.text


@pytest.mark.parametrize("code", [5024, 5025])
def test_refused_schema_goes_by_prompt(http: httpx.Client, scripted: ScriptedModel, code: int) -> None:
    scripted.faults = [Fault(code, times=1, model="@cf/meta/llama-3.3-70b-instruct-fp8-fast")]
    scripted.rules = roots([FIT])
    assert sent(http, "direct", BARE).json()["answer"] == FIT
    assert ["response_format" in call.params for call in asked(scripted)] == [True, False]


def test_long_numbers_come_as_written(http: httpx.Client, scripted: ScriptedModel) -> None:
    """What JSON mode gives has passed through JavaScript's numbers: such are asked for as text."""
    written = '{"n": [12345678901234567890, 0.1000000000000000055511151231257827]}'
    scripted.rules = roots([written])
    result = sent(http, "direct", BARE, {"type": "object"}).json()
    assert result["answer"] == written
    assert ["response_format" in call.params for call in asked(scripted)] == [True, False]
    assert not result["estimated"]


@pytest.mark.parametrize(
    ("schema", "reply", "answer"),
    [
        ({"type": "array", "items": {"type": "integer"}}, '{"the_answer": [1, 2]}', "[1, 2]"),
        ({"type": "string"}, '{"the_answer": "words"}', '"words"'),
        ({"enum": ["yes", "no"]}, '{"the_answer": "no"}', '"no"'),
    ],
)
def test_no_object_is_needed(
    http: httpx.Client, scripted: ScriptedModel, schema: object, reply: str, answer: str
) -> None:
    scripted.rules = roots([reply])
    assert sent(http, "direct", BARE, schema).json()["answer"] == answer


def test_stream_brings_it_whole(http: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.rules = roots([PROSE, f"```json\n{FIT}\n```"])
    events = [block.split("\n") for block in sent(http, "direct", stream=True).text.split("\n\n") if "event: " in block]
    kinds = [lines[1].removeprefix("event: ") for lines in events]
    assert kinds == ["session", "plan", "mend", "answer", "result"]
    assert json.loads(events[3][2].removeprefix("data: ")) == {"delta": FIT}


def test_crash_between_mends(start_worker: StartWorker, scripted: ScriptedModel) -> None:
    """kill -9 while the second mend is under way: the answer and the first mend are not asked, or paid, again."""
    scripted.rules = roots([PROSE, EXTRA, FIT])
    scripted.latency = lambda call: 1.5 if "was not accepted" in call.user and EXTRA in call.text else 0.0
    worker = start_worker(vars={"MODEL_BACKOFF_SECONDS": "0.05"})
    with httpx.Client(base_url=worker.url, timeout=60) as http:
        session = sent(http, "direct", background=True).json()["sessionId"]
    scripted.wait_for_calls(3)
    time.sleep(0.3)
    worker.kill()
    worker.start()
    result = wait_for(worker.url, session, seconds=120)
    assert (result["success"], result["answer"]) == (True, FIT)
    digests = [call.digest for call in asked(scripted)]
    times = Counter(digests)
    assert (times[digests[0]], times[digests[1]], times[digests[2]]) == (1, 1, 2)
    calls = httpx.get(f"{worker.url}/session/{session}/trajectory").json()["calls"]
    assert [call["kind"] for call in calls] == ["direct", "mend", "mend"]


def test_changed_schema_is_another_run(http: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.rules = roots([FIT])
    body = {"context": SHORT, "query": unheard("q"), "config": {"strategy": "direct", "rootModel": PLAIN}}
    first = http.post("/rlm", json={**body, "responseSchema": SCHEMA}).json()
    again = http.post("/rlm", json={**body, "responseSchema": SCHEMA}).json()
    other = http.post("/rlm", json={**body, "responseSchema": {"type": "object"}}).json()
    assert (again["cacheHit"], again["answer"]) == (True, FIT)
    assert len({first["sessionId"], other["sessionId"]}) == 2


# The real clients.


def test_client_gives_the_class(worker: DevProcess, scripted: ScriptedModel) -> None:
    scripted.rules = roots([FIT])
    result = run_rlm(SHORT, unheard("q"), response_model=Finding, base_url=worker.url)
    assert result.parsed == Finding(animal="amber-fox", number=7481932)
    with RLMClient(worker.url) as client:
        submitted = client.submit(SHORT, unheard("q"), response_model=Finding, instructions="In English.")
        assert client.wait(submitted.session_id, response_model=Finding).parsed == result.parsed
        assert asked(scripted)[-1].system.count("In English.") == 1
        scripted.rules = roots([EXTRA])
        with pytest.raises(AnswerInvalidError) as failed:
            client.run(SHORT, unheard("q"), response_model=Finding)
        assert json.loads(failed.value.answer or "") == json.loads(EXTRA)
        with pytest.raises(AnswerInvalidError):
            list(client.stream(SHORT, unheard("q"), response_model=Finding))


def messages(question: str) -> list[Any]:
    return [{"role": "user", "content": SHORT}, {"role": "user", "content": question}]


def test_openai_parses_a_class(worker: DevProcess, scripted: ScriptedModel) -> None:
    scripted.rules = roots([FIT])
    with openai.OpenAI(base_url=f"{worker.url}/v1", api_key="any", max_retries=0, timeout=60) as client:
        done = client.chat.completions.parse(model=PLAIN, messages=messages(unheard("q")), response_format=Finding)
        assert done.choices[0].message.parsed == Finding(animal="amber-fox", number=7481932)
        scripted.rules = roots([PROSE, FIT])
        stream = client.chat.completions.create(
            model=PLAIN,
            messages=messages(unheard("q")),
            response_format={"type": "json_schema", "json_schema": {"name": "finding", "schema": SCHEMA}},
            stream=True,
        )
        deltas = [
            chunk.choices[0].delta.content for chunk in stream if chunk.choices and chunk.choices[0].delta.content
        ]
        assert deltas == [FIT]


def test_openai_has_json_and_text(worker: DevProcess, scripted: ScriptedModel) -> None:
    scripted.rules = roots(["[1]", '{"any": [1]}'])
    with openai.OpenAI(base_url=f"{worker.url}/v1", api_key="any", max_retries=0, timeout=60) as client:
        done = client.chat.completions.create(
            model=PLAIN, messages=messages(unheard("q")), response_format={"type": "json_object"}
        )
        assert done.choices[0].message.content == '{"any": [1]}'
        scripted.rules = roots([PROSE])
        done = client.chat.completions.create(
            model=PLAIN, messages=messages(unheard("q")), response_format={"type": "text"}
        )
        assert done.choices[0].message.content == PROSE
        with pytest.raises(openai.InternalServerError) as failed:
            client.chat.completions.create(
                model=PLAIN, messages=messages(unheard("q")), response_format={"type": "json_object"}
            )
        assert (failed.value.status_code, failed.value.code) == (502, "answer_invalid")


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ({"type": "yaml"}, "response_format.type"),
        ({"type": "json_schema"}, "response_format.json_schema"),
        ({"type": "json_schema", "json_schema": {"name": "n"}}, "response_format.json_schema.schema"),
        ({"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}}, "response_format.json_schema.name"),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "odd"}}},
            "response_format.json_schema.schema.type",
        ),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": {"title": "x" * 40_000}}},
            "response_format.json_schema.schema",
        ),
    ],
)
def test_openai_refuses_bad_forms(worker: DevProcess, scripted: ScriptedModel, form: Any, param: str) -> None:
    with (
        openai.OpenAI(base_url=f"{worker.url}/v1", api_key="any", max_retries=0) as client,
        pytest.raises(openai.BadRequestError) as refused,
    ):
        client.chat.completions.create(model=PLAIN, messages=messages("q"), response_format=form)
    assert (refused.value.param, refused.value.code) == (param, "invalid_request")
    assert not scripted.calls


# The real local models.


def ended(url: str, session: str, *, seconds: float) -> dict[str, Any]:
    """The result of a session, be it one that fits or not."""
    deadline = time.monotonic() + seconds
    while (answer := httpx.get(f"{url}/session/{session}/result", timeout=seconds)).status_code == 202:
        assert time.monotonic() < deadline, "the session did not end"
        time.sleep(0.5)
    result = answer.json()
    assert isinstance(result, dict)
    return result


@pytest.mark.slow
@pytest.mark.full
@EACH
def test_real_model_fits_the_schema(tmp_path: Path, strategy: str) -> None:
    small, large = ensure_models(local_paths())
    if small == large:
        pytest.skip("the larger local model could not be had")
    text = haystack(1_500 if strategy == "direct" else 9_000, needle(), at=0.5)
    # Readers of this size find more in answers that are short; the REPL's code takes more room.
    tokens = 80 if strategy == "map_reduce" else 200
    config = {"strategy": strategy, "chunkSize": 6_000, "maxIterations": 6, "maxOutputTokens": tokens, "maxDepth": 0}
    hint = " Use context.search('magic number')." if strategy == "repl" else ""
    query = f"Which special magic number belongs to amber-fox?{hint}"
    body = {"context": text, "query": query, "config": config, "responseSchema": SCHEMA, "background": True}
    with DevProcess(tmp_path, ai="local") as worker:
        session = httpx.post(f"{worker.url}/rlm", json=body, timeout=120).json()["sessionId"]
        result = ended(worker.url, session, seconds=900)
    print(json.dumps({name: result.get(name) for name in ("answer", "error", "durationMs", "iterations", "warnings")}))
    if result["success"]:
        Finding.model_validate_json(result["answer"])
    else:
        assert result["error"]["type"] == "answer_invalid"

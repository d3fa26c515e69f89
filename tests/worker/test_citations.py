"""Citations in the real runtime: in results, streams, OpenAI's form and trajectories, after a crash too."""

from __future__ import annotations

import json

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.calls import ChatCall
from scripts.local.scripted.model import ScriptedModel
from scripts.local.scripted.rules import Rule
from tests.worker.conftest import StartWorker
from tests.worker.planted import QUESTION, Library, Planted, library, notes_of, slices, spans, told

pytestmark = pytest.mark.worker
NAMED = 12
Fields = dict[str, object]


@pytest.fixture(scope="module")
def planted() -> Library:
    return library(documents=40, characters=2_000_000)


def teller(answer: str) -> Rule:
    """Readers quote what was planted, the root model gives that answer."""

    def reply(call: ChatCall) -> str:
        return notes_of(call.text) if "NONE" in call.text else answer

    return reply


def citations_of(result: Fields) -> list[Fields]:
    found = result["citations"]
    assert isinstance(found, list)
    return found


def check(planted: Library, result: Fields, named: int = NAMED) -> None:
    citations = citations_of(result)
    assert all(said == standing for said, standing in slices(planted, citations))
    assert spans(citations) == sorted(fact.span for fact in planted.facts[:named])
    assert all(one["verified"] for one in citations)


def test_planted_facts_are_cited(http: httpx.Client, scripted: ScriptedModel, planted: Library) -> None:
    scripted.rules = [teller(told(planted.facts[:NAMED]))]
    body = {"context": planted.context(), "query": QUESTION}
    result = http.post("/rlm", json=body, timeout=300).json()
    assert sum(len(text) for _, text in planted.documents) > 1_900_000
    assert result["strategy"] == "map_reduce"
    check(planted, result)
    assert result["unlocated"] == []
    kept = http.get(f"/session/{result['sessionId']}/result").json()
    assert kept["citations"] == result["citations"]
    again = http.post("/rlm", json=body, timeout=300).json()
    assert again["cacheHit"]
    assert again["citations"] == result["citations"]


def test_readers_quotes_are_in_the_trajectory(http: httpx.Client, scripted: ScriptedModel) -> None:
    planted = library(documents=6, characters=200_000)
    scripted.rules = [teller(told(planted.facts))]
    result = http.post("/rlm", json={"context": planted.context(), "query": QUESTION}).json()
    calls = http.get(f"/session/{result['sessionId']}/trajectory").json()["calls"]
    quoted = [one for call in calls for one in call["citations"]]
    assert all(said == standing for said, standing in slices(planted, quoted))
    assert {fact.span for fact in planted.facts} <= set(spans(quoted))
    assert len(quoted) == len(planted.facts) + len(planted.decoys)


def test_streams_end_with_citations(http: httpx.Client, scripted: ScriptedModel) -> None:
    planted = library(documents=4, characters=130_000, seed=8)
    scripted.rules = [teller(told(planted.facts))]
    body = {"context": planted.context(), "query": QUESTION, "stream": True}
    with http.stream("POST", "/rlm", json=body) as stream:
        last = [line for line in stream.iter_lines() if line.startswith("data: ")][-1]
    check(planted, json.loads(last.removeprefix("data: ")), len(planted.facts))


FACT = "The access code of the Tromsø depot is 48213."
ANSWER = "In Tromsø it is 48213."


def asked(title: str) -> list[ChatCompletionMessageParam]:
    text = f"The grass is green. {FACT} The sky is blue, says {title}."
    return [{"role": "user", "content": text}, {"role": "user", "content": "Which code has Tromsø?"}]


def test_openai_gets_annotations(worker: DevProcess, scripted: ScriptedModel) -> None:
    scripted.rules = [teller(ANSWER)]
    with openai.OpenAI(base_url=f"{worker.url}/v1", api_key="any", max_retries=0) as client:
        done = client.chat.completions.create(model="rlm", messages=asked("the post"))
    (annotation,) = done.choices[0].message.annotations or []
    cited = annotation.url_citation
    assert annotation.type == "url_citation"
    assert (cited.title, cited.url.partition("#")[2]) == ("message 1 (user)", f"char=20,{20 + len(FACT)}")
    assert ANSWER[cited.start_index : cited.end_index] == ANSWER
    assert annotation.model_dump()["char_location"]["citedText"] == FACT


def test_openai_streams_annotations(worker: DevProcess, scripted: ScriptedModel) -> None:
    scripted.rules = [teller(ANSWER)]
    with openai.OpenAI(base_url=f"{worker.url}/v1", api_key="any", max_retries=0) as client:
        chunks = list(client.chat.completions.create(model="rlm", messages=asked("the radio"), stream=True))
    deltas = [choice.delta.model_dump() for chunk in chunks for choice in chunk.choices]
    (annotation,) = [one for delta in deltas for one in delta.get("annotations") or []]
    assert annotation["char_location"]["citedText"] == FACT


def test_crashes_keep_citations(start_worker: StartWorker, scripted: ScriptedModel) -> None:
    planted = library(documents=12, characters=400_000, seed=9)
    scripted.rules, scripted.latency = [teller(told(planted.facts))], 0.05
    worker = start_worker(vars={"MAX_CONCURRENCY": "2", "FIRST_CONCURRENCY": "2"})
    body = {"context": planted.context(), "query": QUESTION, "background": True, "config": {"chunkSize": 20_000}}
    session = httpx.post(f"{worker.url}/rlm", json=body, timeout=60).json()["sessionId"]
    scripted.wait_for_calls(9)
    worker.kill()
    worker.start()
    with httpx.stream("GET", f"{worker.url}/session/{session}/events", timeout=120) as events:
        for _ in events.iter_lines():
            pass
    result = httpx.get(f"{worker.url}/session/{session}/result", timeout=60).json()
    check(planted, result, len(planted.facts))


def test_caps_keep_citations(http: httpx.Client, scripted: ScriptedModel) -> None:
    """Where no call is left for an answer in words, the evidence is the answer and says where it stands."""
    planted = library(documents=12, characters=300_000, seed=10)
    scripted.rules = [teller(told(planted.facts))]
    scripted.latency = lambda call: 0.0 if "NONE" in call.text else 30.0
    config = {"timeoutSeconds": 6, "chunkSize": 20_000}
    result = http.post("/rlm", json={"context": planted.context(), "query": QUESTION, "config": config}).json()
    assert result["truncated"]
    citations = citations_of(result)
    assert all(said == standing for said, standing in slices(planted, citations))
    assert {fact.span for fact in planted.facts} <= set(spans(citations))


def test_code_finds_are_cited(http: httpx.Client, scripted: ScriptedModel) -> None:
    planted = library(documents=8, characters=60_000, seed=11)
    fact: Planted = planted.facts[1]
    code = f"```python\nhit = context.search('{fact.place} depot')[0]\nprint(hit)\nFINAL('It is {fact.code}.')\n```"
    scripted.rules = [lambda _call: code]
    body = {"context": planted.context(), "query": QUESTION, "config": {"strategy": "repl"}}
    result = http.post("/rlm", json=body).json()
    assert result["strategy"] == "repl", result
    citations = citations_of(result)
    assert all(said == standing for said, standing in slices(planted, citations))
    assert spans(citations) == [fact.span], result

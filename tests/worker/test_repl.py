"""The recursive language model in the real workerd."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.calls import ChatCall
from scripts.local.scripted.faults import Fault
from scripts.local.scripted.model import ScriptedModel
from tests.worker.conftest import StartWorker

pytestmark = pytest.mark.worker

ROOT = "llama-3.3-70b"
CONTEXT = "".join(f"Entry {n}: the colour of item {n} is {'red' if n % 7 else 'blue'}.\n" for n in range(4_000))


def cell(code: str) -> str:
    return f"Let me see.\n\n```python\n{code}\n```"


def plays(*lines: str, sub: Callable[[ChatCall], str] = lambda call: f"sub saw {len(call.user)}") -> list[Any]:
    """Rules by which the root model says its lines in order and the sub-model does as a function says."""

    def answer(call: ChatCall) -> str:
        if ROOT not in call.model:
            return sub(call)
        if "no more code will be run" in call.user:
            return "extracted answer"
        turn = sum(1 for role, _ in call.messages if role == "assistant")
        return lines[min(turn, len(lines) - 1)]

    return [answer]


def ask(http: httpx.Client, context: object, query: str, **config: object) -> dict[str, Any]:
    body = {"context": context, "query": query, "config": {"strategy": "repl", "useCache": False, **config}}
    response = http.post("/rlm", json=body)
    assert response.status_code == 200, response.text
    result = response.json()
    assert isinstance(result, dict)
    return result


def test_probe_split_batch_final(http: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.rules = plays(
        cell("print(context[:60])\nparts = context.chunks(40_000)\nprint(len(parts))"),
        cell("found = llm_query_batched('count blue', parts)\nprint(found[:2])"),
        cell("total = sum(int(x.split()[-1]) for x in found)\nFINAL(f'{total} items are blue')"),
        sub=lambda call: f"count: {call.user.count('is blue')}",
    )
    result = ask(http, CONTEXT, "How many are blue?")
    assert result["answer"] == "572 items are blue", result
    assert result["coverage"] == 1
    assert result["iterations"] == 3
    assert result["subCalls"] == 5
    assert len(scripted.answered) == 8


def test_long_context_is_read_by_ranges(http: httpx.Client, scripted: ScriptedModel) -> None:
    content = "".join(f"Zeile {n}: größer 😀 als zuvor.\n" for n in range(60_000))
    look = "hits = context.search(r'Zeile 54321:')\npart = context[1_000_000:1_000_030]\n"
    code = look + "FINAL([hits[0].at, part, len(context)])"
    scripted.rules = plays(cell(code))
    answer = json.loads(ask(http, content, "Where?")["answer"])
    assert answer == [content.index("Zeile 54321:"), content[1_000_000:1_000_030], len(content)]


def test_failing_cell_keeps_variables(http: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.rules = plays(cell("kept = [1, 2]\nkept[7]"), cell("FINAL(kept)"))
    assert json.loads(ask(http, CONTEXT, "q")["answer"]) == [1, 2]
    told = scripted.calls[-1].call.user
    assert "IndexError: list index out of range" in told
    assert "<cell 1>" in told
    assert "sandbox" not in told


def test_iterations_are_events(http: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.rules = plays(cell("x = llm_query('one')\nx"), "FINAL(42) says the prose", cell("FINAL(x)"))
    result = ask(http, CONTEXT, "q")
    session = result["sessionId"]
    lines = http.get(f"/session/{session}/events").text.splitlines()
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    turns = [event for event in events if "iteration" in event and "code" in event]
    assert [turn["iteration"] for turn in turns] == [1, 2, 3]
    assert "llm_query('one')" in turns[0]["code"]
    assert "sub saw" in turns[0]["output"]
    assert sum(turn["costUsd"] for turn in turns) == pytest.approx(result["costUsd"])
    assert turns[1]["code"] == ""


def test_recursion_of_depth_two(http: httpx.Client, scripted: ScriptedModel) -> None:
    codes = {
        "top": "FINAL(rlm_query('middle', context[0:2000]) + ' top')",
        "middle": "assert len(context) == 2000\nFINAL(rlm_query('bottom', context[100:200]) + ' middle')",
        "bottom": "assert len(context) == 100\nFINAL(rlm_query('leaf', context))",
    }

    def answer(call: ChatCall) -> str:
        question = re.search(r"Question: (\w+)", call.text)
        return cell(codes[question[1]]) if ROOT in call.model and question else "leaf"

    scripted.rules = [answer]
    result = ask(http, CONTEXT, "top", maxDepth=2)
    assert result["answer"] == "leaf middle top"
    assert result["iterations"] == 3
    assert result["subCalls"] == 1


def test_limit_gives_best_answer(http: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.rules = plays(cell("n = globals().get('n', 0) + 1\nanswer['content'] = f'draft {n}'"))
    result = ask(http, CONTEXT, "q", maxIterations=4)
    assert result["answer"] == "extracted answer"
    assert result["truncated"]
    assert "draft 3" in scripted.calls[-1].call.user


def test_schema_goes_back_to_the_model(http: httpx.Client, scripted: ScriptedModel) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    scripted.rules = plays(cell("FINAL({'n': 'three'})"), cell("SUBMIT(n=3)"))
    body = {"context": CONTEXT, "query": "q", "config": {"strategy": "repl"}, "responseSchema": schema}
    result = http.post("/rlm", json=body).json()
    assert json.loads(result["answer"]) == {"n": 3}
    assert "n must be integer" in scripted.calls[-1].call.user


def test_cites_are_exact(http: httpx.Client, scripted: ScriptedModel) -> None:
    """Over a context that is read by ranges and whose characters are no bytes; in the trajectory too."""
    texts = ["".join(f"Zeile {n} von {m}: größer 😀 als zuvor.\n" for n in range(30_000)) for m in range(2)]
    texts += ["", "Das Ende\r\n ist nah"]
    documents = [{"name": f"d{n}\u202e.md", "text": text} for n, text in enumerate(texts)]
    look = "hit = context.search(r'Zeile 20123 von 1:')[0]\nprint(hit.place, cite(hit))\nshow(1, 20_124, 20_125)"
    scripted.rules = plays(
        cell(look),
        cell("last = cite('d3\\u202e.md', 2)\nprint(last)"),
        cell("FINAL('Sie ist größer [1]. Das Ende naht. [2]')"),
    )
    result = ask(http, documents, "Was steht da?")
    line = "Zeile 20123 von 1: größer 😀 als zuvor."
    told = scripted.calls[1].call.user
    assert "d1\\u202e.md:20124 [1]" in told
    assert f"20124| {line}" in told
    first, second = result["citations"]
    assert (first["citedText"], first["documentIndex"], first["verified"]) == (line, 1, True)
    assert texts[1][first["startCharIndex"] : first["endCharIndex"]] == line
    assert (second["citedText"], second["documentIndex"]) == (" ist nah", 3)
    assert texts[3][second["startCharIndex"] : second["endCharIndex"]] == " ist nah"
    spans = [(one["answerStart"], one["answerEnd"]) for one in (first, second)]
    assert [result["answer"][start:end] for start, end in spans] == ["Sie ist größer [1].", "Das Ende naht."]
    calls = http.get(f"/session/{result['sessionId']}/trajectory").json()["calls"]
    assert [[one["citedText"] for one in call["citations"]] for call in calls] == [[line], [" ist nah"], []]


def test_foreign_schema_is_refused(http: httpx.Client, scripted: ScriptedModel) -> None:
    schema = {"$ref": "http://127.0.0.1:9/schema.json"}
    body = {"context": CONTEXT, "query": "q", "config": {"strategy": "repl"}, "responseSchema": schema}
    response = http.post("/rlm", json=body)
    assert response.status_code == 422
    assert not scripted.calls


@pytest.mark.slow
def test_crash_between_cells(start_worker: StartWorker, scripted: ScriptedModel) -> None:
    """kill -9 while the root model is asked: the state of cell 1 comes back without a second payment."""
    worker = start_worker()
    scripted.rules = plays(cell("a = llm_query('first')"), cell("FINAL(a + '!')"))
    scripted.faults = [Fault("hang", calls=frozenset({3}))]
    assert _survives(worker, scripted, waits_for=3)["answer"] == "sub saw 5!"
    assert [entry.call.user[:5] for entry in scripted.answered].count("first") == 1


@pytest.mark.slow
def test_crash_within_a_cell(start_worker: StartWorker, scripted: ScriptedModel) -> None:
    """kill -9 while a cell waits for its second call: the cell runs again, the first call is not paid again."""
    worker = start_worker()
    scripted.rules = plays(cell("a = llm_query('first')\nb = llm_query('the second')"), cell("FINAL(a + b)"))
    scripted.faults = [Fault("hang", calls=frozenset({3}))]
    assert _survives(worker, scripted, waits_for=3)["answer"] == "sub saw 5sub saw 10"
    assert [entry.call.user for entry in scripted.answered].count("first") == 1


@pytest.mark.slow
def test_crashes_keep_cites(start_worker: StartWorker, scripted: ScriptedModel) -> None:
    """kill -9 while the root model is asked again: marks and places are those from before."""
    worker = start_worker()
    scripted.rules = plays(
        cell("a = cite(0, 8)\nb = cite(context.search('item 3 is')[0])"), cell("FINAL(f'{b}, {a}, {cite(9, 20)}')")
    )
    scripted.faults = [Fault("hang", calls=frozenset({2}))]
    result = _survives(worker, scripted, waits_for=2)
    assert result["answer"] == "[2], [1], [3]"
    cited = {one["citedText"]: CONTEXT[one["startCharIndex"] : one["endCharIndex"]] for one in result["citations"]}
    assert (
        sorted(cited) == sorted(cited.values()) == ["Entry 0:", "Entry 3: the colour of item 3 is red.", "the colour "]
    )


def _survives(worker: DevProcess, scripted: ScriptedModel, *, waits_for: int) -> dict[str, Any]:
    body = {"context": CONTEXT, "query": "q", "config": {"strategy": "repl"}, "background": True}
    session = httpx.post(f"{worker.url}/rlm", json=body, timeout=60).json()["sessionId"]
    scripted.wait_for_calls(waits_for)
    worker.kill()
    scripted.faults = []
    scripted.release()
    worker.restart()
    return wait_for(worker.url, session)


def wait_for(url: str, session: str, seconds: float = 120) -> dict[str, Any]:
    """The result of a session, asked for until it is there; a workerd that restarts is waited for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            response = httpx.get(f"{url}/session/{session}/result", timeout=seconds)
        except httpx.TransportError:
            time.sleep(0.5)
            continue
        if response.status_code == 200:
            result = response.json()
            assert isinstance(result, dict)
            return result
        time.sleep(0.5)
    raise AssertionError("the session did not end")

"""Rows are billed: so many are written for a sub-call, for an answer that is streamed, for a question of a REPL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.calls import ChatCall
from scripts.local.scripted.model import ScriptedModel
from tests.worker.test_repl import cell, plays
from tests.worker.texts import haystack, unheard

pytestmark = pytest.mark.worker

FRONT = Path(__file__).with_name("counting_entry.py")
# A span, an answer, and the event that tells of it; before deltas were joined and indexes dropped it was five.
ROWS_PER_SUB_CALL = 3
# A session writes down its tables, its job, its state and its result, whatever it asks.
ROWS_PER_RUN = 45
# An answer of 400 pieces that takes two seconds; before, each piece was a row and one of an index.
ROWS_PER_STREAMED_ANSWER = 65
# What was asked and answered, the call, and twice whether the cell waits; before, it was seven.
ROWS_PER_QUESTION = 4


@pytest.fixture(scope="module")
def counting(scripted_server: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with (
        DevProcess(tmp_path_factory.mktemp("rows"), ai=scripted_server.url, front=FRONT) as process,
        httpx.Client(base_url=process.url, timeout=120) as client,
    ):
        yield client


def written(counting: httpx.Client) -> int:
    return int(counting.get("/rows").text)


def asked(counting: httpx.Client, characters: int, **config: object) -> tuple[int, int]:
    """Rows and sub-calls of a run."""
    written(counting)
    body = {"context": haystack(characters), "query": unheard("rows"), "config": {"chunkSize": 8_000, **config}}
    result = counting.post("/rlm", json=body).json()
    assert result["success"], result
    return written(counting), int(result["subCalls"])


def test_sub_call_rows(counting: httpx.Client, scripted: ScriptedModel) -> None:
    few, many = asked(counting, 90_000), asked(counting, 400_000)
    assert many[1] - few[1] > 30
    print(f"rows: {few[0]} for {few[1]} sub-calls, {many[0]} for {many[1]}")
    assert (many[0] - few[0]) / (many[1] - few[1]) == ROWS_PER_SUB_CALL
    assert few[0] - ROWS_PER_SUB_CALL * few[1] <= ROWS_PER_RUN


def test_streamed_answer_rows(counting: httpx.Client, scripted: ScriptedModel) -> None:
    """What is joined on its way into the journal is whole for every reader, and for one who comes back."""
    answer = " ".join(f"word{number}" for number in range(400))
    scripted.rules = [lambda _: answer]
    written(counting)
    body = {"context": "a text", "query": unheard("rows"), "stream": True, "config": {"strategy": "direct"}}
    with counting.stream("POST", "/rlm", json=body) as stream:
        blocks = [block for block in "".join(stream.iter_text()).split("\n\n") if block.startswith("id")]
    told = [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]
    rows = written(counting)
    print(f"rows: {rows} for a streamed answer of 400 words, {len(told)} events")
    deltas = [(one["id"], str(json.loads(one["data"])["delta"])) for one in told if one["event"] == "answer"]
    assert "".join(delta for _, delta in deltas).strip() == answer
    assert rows <= ROWS_PER_STREAMED_ANSWER
    session = json.loads(told[0]["data"])["sessionId"]
    for number, (place, _) in enumerate(deltas):
        rest = counting.get(f"/session/{session}/events", headers={"last-event-id": place}).text
        again = [json.loads(line[6:]) for line in rest.splitlines() if line.startswith('data: {"delta"')]
        assert [one["delta"] for one in again] == [delta for _, delta in deltas[number + 1 :]]


def test_repl_question_rows(counting: httpx.Client, scripted: ScriptedModel) -> None:
    def rows(questions: int) -> int:
        code = f"for number in range({questions}):\n    llm_query(f'question {{number}}')\nFINAL('done')"
        scripted.rules = plays(cell(code), sub=_said)
        return asked(counting, 9_000, strategy="repl")[0]

    few, many = rows(2), rows(12)
    print(f"rows: {few} for 2 questions of a REPL, {many} for 12")
    assert (many - few) / 10 <= ROWS_PER_QUESTION


def _said(_: ChatCall) -> str:
    return "an answer"

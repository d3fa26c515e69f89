"""One name for one REPL, billed once a day; an isolate that knows nothing is rebuilt wherever it is met."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.model import ScriptedModel
from tests.worker.test_repl import CONTEXT, ask, cell, plays

pytestmark = [pytest.mark.worker, pytest.mark.slow]
PRICE = 0.002
MAX_PYTHON_BYTES = 96 * 1024 * 1024
MIN_ROOM_MIB = 56


def told(http: httpx.Client, result: dict[str, Any]) -> list[dict[str, Any]]:
    """The sandboxes of a session, whose trajectory adds up to its cost."""
    trajectory = http.get(f"/session/{result['sessionId']}/trajectory").json()
    rows = [row for part in ("calls", "failedAttempts", "sandboxes") for row in trajectory[part]]
    assert sum(row["costUsd"] for row in rows) == pytest.approx(result["costUsd"])
    sandboxes: list[dict[str, Any]] = trajectory["sandboxes"]
    assert result["sandboxes"] == len(sandboxes)
    assert result["sandboxCostUsd"] == pytest.approx(PRICE * len(sandboxes))
    return sandboxes


def test_sandbox_is_billed(http: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.rules = plays(cell("a = 1"), cell("a += 1"), cell("FINAL(a)"))
    result = ask(http, CONTEXT, "How dear is a sandbox?")
    assert result["answer"] == "2"
    assert [sandbox["parent"] for sandbox in told(http, result)] == [None]


def test_broken_sandbox_is_billed_anew(http: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.rules = plays(cell("a = 1"), cell("import os\nos._exit(1)"), cell("FINAL(a)"))
    result = ask(http, CONTEXT, "How dear are two?")
    assert result["answer"] == "1"
    assert len(told(http, result)) == 2


def test_child_has_its_own(http: httpx.Client, scripted: ScriptedModel) -> None:
    inner, outer = cell("FINAL('inner')"), cell("FINAL(rlm_query('inner', context[:500]))")
    scripted.rules = [lambda call: inner if "Question: inner" in call.text else outer]
    result = ask(http, CONTEXT, "outer?")
    assert result["answer"] == "inner"
    assert [sandbox["parent"] for sandbox in told(http, result)] == [None, "1.1"]


def test_too_little_money_is_told(http: httpx.Client, scripted: ScriptedModel) -> None:
    config = {"strategy": "repl", "maxCostUsd": 0.001}
    answer = http.post("/rlm", json={"context": CONTEXT, "query": "poor?", "config": config})
    assert answer.status_code == 422
    assert "a sandbox for the REPL costs 0.002" in answer.json()["error"]["message"]
    assert not scripted.calls


HEAP = "import pyodide_js\nprint(pyodide_js._module.HEAP8.length)"
ROOM = """
blocks = []
try:
    while True: blocks.append(bytearray(1 << 20))
except MemoryError:
    room = len(blocks)
    del blocks
print(room)
"""


def outputs(http: httpx.Client, result: dict[str, Any]) -> list[str]:
    """What the cells of a run have printed."""
    lines = http.get(f"/session/{result['sessionId']}/events").text.splitlines()
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    return [event["output"] for event in events if "code" in event]


def test_python_has_its_room(http: httpx.Client, scripted: ScriptedModel) -> None:
    """All that Python has, and what of it is left to the cells: the rest of the isolate's 128 MB is JavaScript's."""
    scripted.rules = plays(cell(HEAP), cell(ROOM), cell("FINAL('done')"))
    heap, room, _ = outputs(http, ask(http, CONTEXT, "How large?"))
    assert int(heap) <= MAX_PYTHON_BYTES
    assert int(room) >= MIN_ROOM_MIB


@pytest.mark.parametrize(
    "code",
    [
        "hoard = 'x' * 10**9",
        "hoard = bytearray(2_000_000_000)",
        "hoard = [bytearray(10**6) for _ in range(1_000)]",
        "hoard = list(range(10**8))",
        "hoard = str(context) * 1_000",
    ],
)
def test_too_large_is_an_exception(http: httpx.Client, scripted: ScriptedModel, code: str) -> None:
    """The cell is told; its REPL, and what it knows, stay."""
    scripted.rules = plays(cell("kept = 'kept'"), cell(code), cell("FINAL(kept)"))
    result = ask(http, CONTEXT, f"How much? {code}")
    assert result["answer"] == "kept"
    assert "MemoryError" in outputs(http, result)[1]
    assert result["sandboxes"] == 1


# Each cell is followed by a look whether its REPL still answers, unless it is the last: 1 cell, 2 look, 3 cell …
@pytest.mark.parametrize(
    ("calls", "mode", "sandboxes"),
    [("1", "instead", 1), ("2", "instead", 1), ("3", "instead", 1), ("3", "beside", 2), ("4", "beside", 2)],
)
def test_forgotten_repl_is_rebuilt(
    scripted: ScriptedModel, tmp_path: Path, calls: str, mode: str, sandboxes: int
) -> None:
    scripted.rules = plays(cell("a = llm_query('first')"), cell("b = a + '!'"), cell("FINAL(b)"))
    front, variables = Path(__file__).with_name("doubling_entry.py"), {"DOUBLED_CALLS": f"{calls} {mode}"}
    with (
        DevProcess(tmp_path, ai=scripted.url, variables=variables, front=front) as worker,
        httpx.Client(base_url=worker.url, timeout=120) as http,
    ):
        result = ask(http, CONTEXT, "q")
        assert result["answer"] == "sub saw 5!"
        assert result["subCalls"] == 1
        assert result["iterations"] == 3
        assert len(told(http, result)) == sandboxes

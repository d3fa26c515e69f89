"""Cells that nothing inside workerd can interrupt: locally the watchdog outside ends them, and the session goes on."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.calls import ChatCall
from scripts.local.scripted.model import ScriptedModel
from tests.worker.test_repl import CONTEXT, cell, plays, wait_for

pytestmark = [pytest.mark.worker, pytest.mark.slow]

DISARM = """
import gc
guard = next(o for o in gc.get_objects() if type(o).__name__ == 'Guard')
guard.disarm()
while True: pass
"""


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("sum(range(10**13))", id="sum in C"),
        pytest.param("import re\nre.match('(a+)+$', 'a' * 40 + 'b')", id="runaway regex", marks=pytest.mark.full),
        pytest.param(DISARM, id="disarmed guard"),
    ],
)
def test_stuck_cell_is_ended(tmp_path: Path, scripted: ScriptedModel, code: str) -> None:
    """The runtime is killed and started again; the cell before is rebuilt unpaid, the stuck one never runs again."""
    heard: list[ChatCall] = []
    script = plays(cell("kept = llm_query('paid once')"), cell(code), cell("FINAL(kept)"))
    scripted.rules = [heard.append, *script]
    with DevProcess(tmp_path, ai=scripted.url, variables={"MAX_CELL_SECONDS": "2"}) as worker:
        before = worker.workerd_pid
        body = {"context": CONTEXT, "query": "stuck", "config": {"strategy": "repl"}, "background": True}
        session = httpx.post(f"{worker.url}/rlm", json=body, timeout=60).json()["sessionId"]
        result = wait_for(worker.url, session, seconds=300)
        assert worker.workerd_pid != before
        assert re.search(r"watchdog: workerd has computed for \d+ s", worker.log())
    assert result["answer"] == "sub saw 9"
    assert result["subCalls"] == 1
    assert result["iterations"] == 3
    assert "will not be run again" in heard[-1].text
    assert len(scripted.answered) == 4


def test_busy_runtime_is_left_alone(tmp_path: Path, scripted: ScriptedModel) -> None:
    """Cells that each use up their time keep it busy for far longer than one may be silent, but it answers between."""
    scripted.rules = plays(*[cell("while True: pass")] * 8, cell("FINAL('done')"))
    with DevProcess(tmp_path, ai=scripted.url, variables={"MAX_CELL_SECONDS": "4"}) as worker:
        before = worker.workerd_pid
        body = {"context": CONTEXT, "query": "busy", "config": {"strategy": "repl"}}
        result = httpx.post(f"{worker.url}/rlm", json=body, timeout=300).json()
        assert worker.workerd_pid == before
        assert "watchdog" not in worker.log()
    assert result["answer"] == "done"
    assert result["iterations"] == 9

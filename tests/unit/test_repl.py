"""The loop, with a root model that plays transcripts and the REPL on a thread."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import pytest

from rlm_worker.errors import RetryableError, TerminalError
from rlm_worker.messages import ModelReply, ModelRequest
from rlm_worker.runs.run import RunPorts
from rlm_worker.testing import FunctionModel, ManualClock, MemoryEvents, ThreadSandbox, memory_ports, reply_of
from rlm_worker.wire.results import RunResult

RunOn = Callable[..., Awaitable[RunResult]]
Root = Callable[[int, ModelRequest], str]


class Played:
    """A root model that says its lines in order, and a sub-model that does as a function says."""

    def __init__(self, *lines: str, sub: Callable[[str], str] = lambda prompt: f"sub saw {len(prompt)}") -> None:
        self.lines = lines
        self.sub = sub
        self.model = FunctionModel(self.answer)
        self.sandbox = ThreadSandbox()

    def answer(self, request: ModelRequest) -> ModelReply:
        if request.role == "sub":
            return reply_of(request, self.sub(request.messages[-1].content))
        if request.kind == "extract":
            return reply_of(request, "extracted answer")
        turn = sum(1 for message in request.messages if message.role == "assistant")
        line = self.lines[min(turn, len(self.lines) - 1)]
        return reply_of(request, line)

    def ports(self) -> RunPorts:
        ports = memory_ports(self.model)
        assert hasattr(ports.journal, "cells")
        return replace(ports, sandbox=self.sandbox, cells=ports.journal.cells(ports.clock.now))

    def turns(self) -> list[ModelRequest]:
        return self.model.asked("turn")

    def feedback(self, turn: int) -> str:
        """What the root model was told before its turn of that number, counted from 0."""
        return self.turns()[turn].messages[-1].content


def cell(code: str) -> str:
    return f"Let me see.\n\n```repl\n{code}\n```"


def events_of(ports: RunPorts, kind: str) -> list[Mapping[str, object]]:
    assert isinstance(ports.events, MemoryEvents)
    return ports.events.of_kind(kind)  # type: ignore[arg-type]


CONTEXT = "".join(f"Entry {n}: the colour of item {n} is {'red' if n % 7 else 'blue'}.\n" for n in range(4_000))


async def test_probe_split_batch_final(run_on: RunOn) -> None:
    played = Played(
        cell("print(context[:60])\nparts = context.chunks(40_000)\nprint(len(parts))"),
        cell("found = llm_query_batched('count blue', parts)\nprint(found[:2])"),
        cell("total = sum(int(x.split()[-1]) for x in found)"),
        cell("FINAL(f'{total} items are blue')"),
        sub=lambda prompt: f"count: {prompt.count('is blue')}",
    )
    ports = played.ports()
    result = await run_on(ports, CONTEXT, "How many are blue?", strategy="repl")
    assert result.success
    assert result.answer == "572 items are blue"
    assert result.strategy == "repl"
    assert result.iterations == 4
    assert result.sub_calls == len(played.model.asked("llm_query")) == -(-len(CONTEXT) // 40_000)
    assert result.coverage == 1
    assert not result.truncated
    assert [event["iteration"] for event in events_of(ports, "iteration")] == [1, 2, 3, 4]
    assert events_of(ports, "plan")[0]["strategy"] == "repl"


async def test_prompt_never_holds_the_body(run_on: RunOn) -> None:
    played = Played(cell("FINAL(1)"))
    await run_on(played.ports(), CONTEXT, "How many?", strategy="repl")
    (turn,) = played.turns()
    assert turn.characters() < 6_000
    assert f"{len(CONTEXT):,}" in turn.messages[1].content
    assert "Entry 0:" in turn.messages[1].content
    assert "Entry 20:" not in turn.messages[1].content


async def test_prompt_names_existing_tools(run_on: RunOn) -> None:
    flat, deep = Played(cell("FINAL(1)")), Played(cell("FINAL(1)"))
    await run_on(flat.ports(), CONTEXT, "q", strategy="repl", maxDepth=0)
    await run_on(deep.ports(), CONTEXT, "q", strategy="repl", maxDepth=1)
    assert "rlm_query" not in flat.turns()[0].messages[0].content
    assert "rlm_query" in deep.turns()[0].messages[0].content


async def test_named_documents_are_listed(run_on: RunOn) -> None:
    played = Played(cell("FINAL(context['b.txt'])"))
    result = await run_on(played.ports(), [("a.txt", "alpha"), ("b.txt", "beta")], "q", strategy="repl")
    assert "a.txt (5), b.txt (4)" in played.turns()[0].messages[1].content
    assert result.answer == "beta"


async def test_failing_cell_goes_on(run_on: RunOn) -> None:
    played = Played(cell("kept = [3]\nkept[9]"), cell("FINAL(kept)"))
    result = await run_on(played.ports(), CONTEXT, "q", strategy="repl")
    assert "IndexError" in played.feedback(1)
    assert result.answer == "[3]"


async def test_prose_gets_a_nudge(run_on: RunOn) -> None:
    played = Played("The answer is FINAL(42).", cell("FINAL(41)"))
    ports = played.ports()
    result = await run_on(ports, CONTEXT, "q", strategy="repl")
    assert "no ```python block" in played.feedback(1)
    assert result.answer == "41"
    assert events_of(ports, "iteration")[0]["code"] == ""


async def test_query_failure_is_an_exception(run_on: RunOn) -> None:
    def broken(prompt: str) -> str:
        raise TerminalError("no such model", 5007)

    played = Played(cell("try:\n    llm_query('x')\nexcept QueryError as e:\n    FINAL(str(e))"), sub=broken)
    assert (await run_on(played.ports(), CONTEXT, "q", strategy="repl")).answer == "5007: no such model"


async def test_failing_item_spares_the_batch(run_on: RunOn) -> None:
    def picky(prompt: str) -> str:
        if "bad" in prompt:
            raise TerminalError("refused", 5004)
        return f"ok {prompt}"

    played = Played(cell("FINAL(llm_query_batched(['a', 'bad', 'c']))"), sub=picky)
    result = await run_on(played.ports(), CONTEXT, "q", strategy="repl")
    assert json.loads(result.answer or "") == ["ok a", "ERROR: 5004: refused", "ok c"]


async def test_sub_calls_are_limited(run_on: RunOn) -> None:
    played = Played(
        cell("found = llm_query_batched([f'q{n}' for n in range(10)])\nprint(sum('ERROR' in f for f in found))"),
        cell("FINAL(found[0])"),
    )
    result = await run_on(played.ports(), CONTEXT, "q", strategy="repl", maxSubCalls=4)
    assert result.sub_calls == 4
    assert "6" in played.feedback(1)
    assert result.truncated
    assert any("maxSubCalls" in warning for warning in result.warnings)


async def test_same_question_is_paid_once(run_on: RunOn) -> None:
    played = Played(cell("FINAL(llm_query_batched(['same'] * 5))"))
    result = await run_on(played.ports(), CONTEXT, "q", strategy="repl")
    assert len(played.model.asked("llm_query")) == result.sub_calls == 1
    assert result.cached_sub_calls == 4


async def test_warm_questions_are_distinct(run_on: RunOn) -> None:
    played = Played(cell("FINAL(llm_query_batched(['same'] * 5))"))
    result = await run_on(played.ports(), CONTEXT, "q", strategy="repl", temperature=0.7)
    assert len(played.model.asked("llm_query")) == result.sub_calls == 5


async def test_iterations_end_in_extraction(run_on: RunOn) -> None:
    played = Played(cell("n = globals().get('n', 0) + 1\nprint(n)"))
    result = await run_on(played.ports(), CONTEXT, "q", strategy="repl", maxIterations=5)
    assert result.success
    assert result.answer == "extracted answer"
    assert result.truncated
    assert result.iterations == 5
    assert len(played.turns()) == 4
    (last,) = played.model.asked("extract")
    assert "n: int = 4" in last.messages[-1].content


async def test_single_iteration_is_a_turn(run_on: RunOn) -> None:
    played = Played(cell("FINAL('at once')"))
    result = await run_on(played.ports(), CONTEXT, "q", strategy="repl", maxIterations=1)
    assert result.answer == "at once"


async def test_draft_stands_in(run_on: RunOn) -> None:
    def answer(request: ModelRequest) -> ModelReply:
        if request.kind == "extract":
            raise TerminalError("gone", 5007)
        return reply_of(request, cell("answer['content'] = 'the draft'"))

    played = Played("")
    played.model.answer = answer
    result = await run_on(played.ports(), CONTEXT, "q", strategy="repl", maxIterations=3)
    assert result.answer == "the draft"
    assert result.truncated


async def test_cost_limit_keeps_last_word(run_on: RunOn) -> None:
    played = Played(cell("print(context[:4000])"))
    result = await run_on(played.ports(), CONTEXT, "q", strategy="repl", maxCostUsd=0.02, maxIterations=100)
    assert result.answer == "extracted answer"
    assert result.cost_usd <= 0.02
    assert any("maxCostUsd" in warning for warning in result.warnings)


async def test_final_is_held_to_schema(run_on: RunOn) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    played = Played(cell("FINAL({'n': 'three'})"), cell("SUBMIT(n=3)"))
    ports = played.ports()
    result = await run_on(ports, CONTEXT, "q", strategy="repl", response_schema=schema)
    assert "not accepted" in played.feedback(1)
    assert "n must be integer" in played.feedback(1)
    assert json.loads(result.answer or "") == {"n": 3}


async def test_child_runs_share_the_ledger(run_on: RunOn) -> None:
    def root(request: ModelRequest) -> ModelReply:
        if request.role == "sub":
            return reply_of(request, "leaf")
        question = re.search(r"Question: (.*)", request.messages[1].content)
        assert question is not None
        codes = {
            "top": "a = rlm_query('middle', context[0:2000])\nFINAL(a + ' top')",
            "middle": "assert len(context) == 2000\nb = rlm_query('bottom', context[100:200])\nFINAL(b + ' middle')",
            "bottom": "assert len(context) == 100\n"
            "FINAL(llm_query('leaf', context) + ' ' + rlm_query('plain', context))",
        }
        return reply_of(request, cell(codes[question[1]]))

    played = Played("")
    played.model.answer = root
    ports = played.ports()
    result = await run_on(ports, CONTEXT, "top", strategy="repl", maxDepth=2)
    assert result.answer == "leaf leaf middle top"
    assert result.iterations == 3
    assert result.sub_calls == 2
    assert [event.get("parent", "") for event in events_of(ports, "iteration")] == ["1.1/1.1", "1.1", ""]
    assert len(played.sandbox.opened) == 3
    assert all(repl.closed for repl in played.sandbox.opened)
    assert result.coverage == pytest.approx(600 / len(CONTEXT), abs=1e-6)


async def test_child_sees_its_slice_only(run_on: RunOn) -> None:
    def root(request: ModelRequest) -> ModelReply:
        if "Question: inner" in request.messages[1].content:
            return reply_of(request, cell("FINAL(context._origin if hasattr(context, '_origin') else len(context))"))
        return reply_of(request, cell("FINAL(rlm_query('inner', context[1000:1500]))"))

    played = Played("")
    played.model.answer = root
    assert (await run_on(played.ports(), CONTEXT, "outer", strategy="repl")).answer == "500"


async def test_lost_isolate_is_rebuilt(run_on: RunOn) -> None:
    played = Played(
        cell("a = llm_query('first', context[0:100])"),
        cell("import os\nos._exit(1)"),
        cell("FINAL(a)"),
    )
    ports = played.ports()
    result = await run_on(ports, CONTEXT, "q", strategy="repl")
    assert (result.answer or "").startswith("sub saw ")
    assert "will not be run again" in played.feedback(2)
    assert len(played.sandbox.opened) == 2
    assert result.sub_calls == 1
    ran = [json.loads(request) for request in played.sandbox.opened[1].ran]
    assert [request["cell"] for request in ran if request["code"]] == [1, 3]


async def test_forgotten_repl_is_no_fault_of_the_cell(run_on: RunOn) -> None:
    """Where the platform has restarted an idle isolate, the cell that finds out runs in a rebuilt one."""
    played = Played(cell("a = llm_query('first')"), cell("b = a + '!'"), cell("FINAL(b)"))
    play = played.answer

    def root(request: ModelRequest) -> ModelReply:
        if request.role == "root" and len(played.sandbox.opened) == 1 and len(played.turns()) > 1:
            played.sandbox.opened[0].forgotten = True
        return play(request)

    played.model.answer = root
    result = await run_on(played.ports(), CONTEXT, "q", strategy="repl")
    assert result.answer == "sub saw 5!"
    assert result.sub_calls == 1
    assert len(played.sandbox.opened) == 2
    assert "run again" not in played.feedback(2)


async def test_replayed_answers_are_alike(run_on: RunOn) -> None:
    """A batch that hit a limit gives the same failures when its cell is run again in a new isolate."""
    played = Played(
        cell("a = llm_query_batched([f'q{n}' for n in range(6)])\nb = budget()"),
        cell("import os\nos._exit(1)"),
        cell("FINAL([sum('ERROR' in x for x in a), b['sub_calls']])"),
    )
    result = await run_on(played.ports(), CONTEXT, "q", strategy="repl", maxSubCalls=4)
    assert json.loads(result.answer or "") == [2, 4]
    assert len(played.model.asked("llm_query")) == 4


async def test_forged_calls_are_refused(run_on: RunOn) -> None:
    forged = """
call = llm_query.__self__._ask.__self__._call
import json
out = []
for request in (
    {"op": "read", "cell": 1, "start": 0, "end": 10**9},
    {"op": "read", "cell": 1, "start": -5, "end": 10},
    {"op": "read", "cell": 2, "start": 0, "end": 10},
    {"op": "erase", "cell": 1},
    {"op": "query", "cell": 1, "items": []},
    {"op": "query", "cell": 1, "items": [{"prompt": "x", "slices": [[0, 10**9]]}]},
    {"op": "query", "cell": 1, "items": [{"prompt": "x", "model": "@cf/openai/gpt-oss-120b"}]},
    [],
):
    out.append(json.loads(call(json.dumps(request))))
out.append(json.loads(call("no json")))
FINAL(out)
"""
    played = Played(cell(forged))
    result = await run_on(played.ports(), CONTEXT, "q", strategy="repl")
    answers = json.loads(result.answer or "")
    assert len(answers) == 9
    assert all("error" in answer or "error" in answer["value"][0] for answer in answers)
    assert result.sub_calls == 0


async def test_forged_report_ends_the_isolate(run_on: RunOn) -> None:
    tampered = "import rlm_worker.sandbox.repl as r\nllm_query.__self__._ask.__self__._report = lambda output: {'x': 1}"
    played = Played(cell(tampered), cell("FINAL('still here')"))
    result = await run_on(played.ports(), CONTEXT, "q", strategy="repl")
    assert result.answer == "still here"
    assert "broke the REPL" in played.feedback(1)


async def test_lone_surrogates_are_mended(run_on: RunOn) -> None:
    played = Played(cell("print(chr(0xd800))\nx = llm_query('half ' + chr(0xdfff))"), cell("FINAL('a' + chr(0xd83d))"))
    result = await run_on(played.ports(), CONTEXT, "q", strategy="repl")
    assert result.answer == "a?"


async def test_long_histories_are_shortened(run_on: RunOn) -> None:
    played = Played(cell("n = globals().get('n', 0) + 1\nprint(str(n) * 7000)\nif n == 40: FINAL(n)"))
    result = await run_on(played.ports(), CONTEXT, "q", strategy="repl", maxIterations=60)
    assert result.answer == "40"
    assert max(request.characters() for request in played.turns()) < 24_000 * 4
    assert "earlier turns are left out" in "".join(message.content for message in played.turns()[-1].messages)


async def test_model_failure_is_reported(run_on: RunOn) -> None:
    def down(request: ModelRequest) -> ModelReply:
        raise RetryableError("no capacity", 3040, capacity=True, fallback=True)

    played = Played("")
    played.model.answer = down
    result = await run_on(played.ports(), CONTEXT, "q", strategy="repl")
    assert not result.success
    assert result.error is not None
    assert result.error.type == "model_unavailable"


async def test_non_latin_offsets_are_characters(run_on: RunOn) -> None:
    context = "".join(f"第{n}行、😀 ünï\n" for n in range(30_000))
    code = "FINAL([context[250_000:250_020], llm_query('x', context[250_000:250_020])])"
    played = Played(cell(code), sub=lambda p: p)
    result = await run_on(played.ports(), context, "q", strategy="repl")
    value = json.loads(result.answer or "")
    assert value[0] == context[250_000:250_020]
    assert context[250_000:250_020] in value[1]


async def test_resumed_run_pays_nothing_twice(run_on: RunOn) -> None:
    lines = (cell("a = llm_query('first')"), cell("b = llm_query('second ' + a)"), cell("FINAL(a + b)"))
    first = Played(*lines)
    ports = first.ports()
    fails = first.answer

    def dies(request: ModelRequest) -> ModelReply:
        if request.kind == "turn" and len(first.turns()) == 3:
            raise TerminalError("crash", 1)
        return fails(request)

    first.model.answer = dies
    assert not (await run_on(ports, CONTEXT, "q", strategy="repl")).success
    second = Played(*lines)
    again = replace(ports, model=second.model, sandbox=second.sandbox)
    result = await run_on(again, CONTEXT, "q", strategy="repl")
    assert result.success
    assert [request.kind for request in second.model.requests] == ["turn"]
    assert result.sub_calls == 2
    assert result.iterations == 3


@pytest.mark.parametrize(
    ("silent", "waiting", "again"), [(1.0, False, True), (600.0, True, True), (600.0, False, False)]
)
async def test_interrupted_cell_is_judged(run_on: RunOn, silent: float, waiting: bool, again: bool) -> None:
    played = Played(cell("x = 5"), cell("FINAL(globals().get('x', 'gone'))"))
    ports = played.ports()
    assert ports.cells is not None
    assert isinstance(ports.clock, ManualClock)
    ports.cells.start("", 1, "x = 5")
    ports.cells.wait("", 1, waiting=waiting)
    ports.clock.time += silent
    result = await run_on(ports, CONTEXT, "q", strategy="repl")
    assert result.answer == ("5" if again else "gone")
    assert ("will not be run again" in played.feedback(1)) is not again


async def test_explored_places_are_cited(run_on: RunOn) -> None:
    texts = [("a.txt", "The grass is green. " * 40), ("b.txt", "Far away. The code of Bergen is 48213. Good night.")]
    played = Played(cell("print(context['b.txt'])\nFINAL('It is 48213.')"))
    result = await run_on(played.ports(), texts, "Which code has Bergen?", strategy="repl")
    (citation,) = result.citations
    assert (citation.document_title, citation.cited_text) == ("b.txt", "The code of Bergen is 48213.")
    assert texts[1][1][citation.start_char_index : citation.end_char_index] == citation.cited_text

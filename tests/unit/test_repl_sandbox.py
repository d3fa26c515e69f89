"""What runs inside the sandbox, here on CPython."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from rlm_worker.sandbox import text as texts
from rlm_worker.sandbox.output import HeadTail
from rlm_worker.sandbox.repl import Repl, Setup
from rlm_worker.sandbox.text import Chunks, DocumentSpan, Origin, Text, View

needs_monitoring = pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring came with 3.12")


class Desk:
    """Answers like a session would, from a string."""

    def __init__(self, content: str) -> None:
        self.content = content
        self.asked: list[Mapping[str, Any]] = []

    def call(self, request: str) -> str:
        asked = json.loads(request)
        self.asked.append(asked)
        if asked["op"] == "read":
            return json.dumps({"value": self.content[asked["start"] : asked["end"]]})
        if asked["op"] == "query":
            return json.dumps({"value": [self.answer(item) for item in asked["items"]]})
        return json.dumps({"value": {"sub_calls": 0}} if asked["op"] == "budget" else {"error": "maxDepth"})

    def answer(self, item: Mapping[str, Any]) -> dict[str, str]:
        if "fail" in item["prompt"]:
            return {"error": "3040: no capacity"}
        given = "".join(self.content[start:end] for start, end in item["slices"])
        return {"text": f"{item['prompt']}: {given[:20]}"}

    def of_kind(self, op: str) -> list[Mapping[str, Any]]:
        return [asked for asked in self.asked if asked["op"] == op]


def origin_of(content: str, *spans: DocumentSpan) -> Origin:
    return Origin(lambda start, end: content[start:end], spans or [DocumentSpan(None, 0, len(content))])


class Session:
    """A REPL over a context, and what its last cell reported."""

    def __init__(self, content: str, documents: list[list[object]] | None = None, limit: int = 2_000) -> None:
        self.desk = Desk(content)
        tools = ["llm_query", "llm_query_batched", "rlm_query", "cite", "budget"]
        setup = Setup(documents or [[None, len(content)]], "What?", tools, limit, "seed")
        self.repl = Repl(setup, self.desk.call)
        self.number = 0

    def run(self, code: str, seconds: float = 10.0, cited: list[list[int]] | None = None) -> dict[str, Any]:
        self.number += 1
        asked = {"cell": self.number, "code": code, "seconds": seconds, "cited": cited or []}
        report = json.loads(self.repl.run(json.dumps(asked)))
        assert isinstance(report, dict)
        return report

    def says(self, code: str) -> str:
        """What a cell prints."""
        return str(self.run(code)["output"])


@pytest.fixture(autouse=True)
def free_monitoring() -> Any:
    """One interpreter, many REPLs: each takes the same hook."""
    yield
    if sys.version_info >= (3, 12):
        sys.monitoring.free_tool_id(4)


def test_last_expression_is_echoed() -> None:
    session = Session("abc")
    assert session.run("x = 2\nx * 21")["output"] == "42\n"
    assert session.run("None")["output"] == ""


def test_state_lives_on() -> None:
    session = Session("abc")
    session.run("def double(x): return 2 * x\nn = 4")
    assert session.run("print(double(n))")["output"] == "8\n"


def test_failing_cell_keeps_variables() -> None:
    session = Session("abc")
    report = session.run("found = [1, 2]\nfound[7]\nlater = 3")
    assert report["failed"]
    assert session.run("print(found, 'later' in globals())")["output"] == "[1, 2] False\n"


def test_traceback_shows_own_lines() -> None:
    session = Session("abc")
    output = session.run("def f(x):\n    return 1 / x\n\nf(0)")["output"]
    assert "return 1 / x" in output
    assert "ZeroDivisionError" in output
    assert "sandbox" not in output


def test_syntax_error_is_shown() -> None:
    assert "SyntaxError" in Session("abc").run("x = = 1")["output"]


def test_exit_is_no_exit() -> None:
    session = Session("abc")
    assert "SystemExit" in session.run("import sys; sys.exit(3)")["output"]
    assert session.run("1")["output"] == "1\n"


def test_deep_answer_is_refused() -> None:
    """The session takes JSON of so many levels: the cell is told, and the REPL lives on."""
    session = Session("abc")
    report = session.run("deep = 1\nfor _ in range(51): deep = [deep]\nFINAL(deep)")
    assert "50 levels deep" in report["output"]
    assert not report["finished"]
    assert session.run("FINAL(deep[0])")["finished"]


def test_output_keeps_head_and_tail() -> None:
    output = Session("abc", limit=400).run("for i in range(100000): print(i)")["output"]
    assert output.startswith("0\n1\n")
    assert output.endswith("99999\n")
    assert "characters cut" in output
    assert len(output) < 500


def test_streams_count_what_they_cut() -> None:
    stream = HeadTail(10)
    for _ in range(1_000):
        stream.write("0123456789")
    assert stream.getvalue() == "01234\n… [9,990 characters cut] …\n56789"


def test_stderr_is_kept() -> None:
    assert Session("abc").run("import sys; print('oh', file=sys.stderr)")["output"] == "oh\n"


@pytest.mark.parametrize(
    ("code", "final"),
    [
        ("FINAL('forty (42)')", "forty (42)"),
        ("FINAL([1, (2, 3)])", [1, [2, 3]]),
        ("x = {'a': 1}\nFINAL_VAR('x')", {"a": 1}),
        ("x = 'the value'\nFINAL_VAR(x)", "the value"),
        ("SUBMIT(count=3, names={'b', 'a'})", {"count": 3, "names": ["a", "b"]}),
        ("answer['content'] = 'done'\nanswer['ready'] = True", "done"),
        ("FINAL(context[0:2])", "ab"),
        ("FINAL(float('nan'))", "nan"),
    ],
)
def test_final_forms(code: str, final: object) -> None:
    report = Session("abc").run(code)
    assert report["finished"]
    assert report["final"] == final


def test_final_ends_the_cell() -> None:
    report = Session("abc").run("try:\n    FINAL(1)\nexcept Exception:\n    pass\nprint('after')")
    assert report["output"] == ""
    assert report["final"] == 1


def test_unknown_variable_is_told() -> None:
    report = Session("abc").run("FINAL_VAR('nothing')")
    assert not report["finished"]
    assert "no variable 'nothing'" in report["output"]


def test_draft_travels() -> None:
    assert Session("abc").run("answer['content'] = 'so far'")["draft"] == "so far"
    assert Session("abc").run("answer = 'so far'")["draft"] == "so far"


def test_tools_come_back() -> None:
    session = Session("abc")
    session.run("context = 1; FINAL = None; llm_query = 'x'")
    assert session.run("llm_query('q', context[0:1])")["output"] == "'q: a'\n"


def test_variables_are_listed() -> None:
    session = Session("abcdef" * 100)
    report = session.run("import re\nnames = ['a'] * 30\npart = context[0:200]\n_hidden = 1\ndef f(): pass")
    assert report["variables"] == [
        "names: list of 30 = ['a', 'a', 'a', 'a', 'a', 'a', ...]",
        "part: Text of 200 = 'abcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefab…'",
        "f: function",
    ]
    assert "names: list of 30" in session.run("print(SHOW_VARS())")["output"]


def test_foreign_repr_is_not_run() -> None:
    report = Session("abc").run("class Bad:\n    def __repr__(self): raise SystemExit\nx = [Bad()]")
    assert any("<Bad>" in line for line in report["variables"])


def test_slices_travel_by_reference() -> None:
    session = Session("0123456789" * 1_000)
    session.run("llm_query('what', context[100:300][50:60])")
    (asked,) = session.desk.of_kind("query")
    assert asked["items"][0]["slices"] == [[150, 160]]
    assert asked["items"][0]["text"] is None


def test_chunks_travel_unread() -> None:
    session = Session("word " * 100_000)
    session.run("answers = llm_query_batched('what', context.chunks(50_000))\nprint(len(answers))")
    items = session.desk.of_kind("query")[0]["items"]
    assert items[0]["slices"][0][0] == 0
    assert items[-1]["slices"][0][1] == 500_000
    assert [item["slices"][0][0] for item in items[1:]] == [item["slices"][0][1] for item in items[:-1]]


def test_batch_keeps_order_and_failures() -> None:
    session = Session("abc")
    code = "r = llm_query_batched(['one', ('fail', context[0:1]), {'prompt': 'two'}])\nprint(r)"
    assert session.run(code)["output"] == "['one: ', 'ERROR: 3040: no capacity', 'two: ']\n"


def test_single_failure_raises() -> None:
    code = "try:\n    llm_query('fail')\nexcept QueryError as e:\n    print('caught', e)"
    output = Session("abc").run(code)["output"]
    assert output == "caught 3040: no capacity\n"


def test_batches_travel_in_groups() -> None:
    session = Session("abc")
    session.run("r = llm_query_batched(['x' * 1000 + str(i) for i in range(5000)])\nassert len(r) == 5000")
    sizes = [len(asked["items"]) for asked in session.desk.of_kind("query")]
    assert sum(sizes) == 5_000
    assert max(sizes) <= 1_000


def test_written_out_slices_are_told() -> None:
    session = Session("The quick brown fox jumps over the lazy dog. " * 50)
    session.run("p = context[45:900]\nllm_query(f'What about {p}?')")
    assert session.desk.of_kind("query")[0]["items"][0]["shown"] == [[45, 900]]


def test_printed_slices_are_told() -> None:
    content = "".join(f"line {n} of the text\n" for n in range(500))
    assert Session(content, limit=1_000).run("print(context[:300])")["shown"] == [[0, 300]]
    assert Session(content, limit=1_000).run("print(context)")["shown"] == []


def test_random_is_repeatable() -> None:
    code = "import random\nprint(random.random())"
    assert Session("abc").run(code)["output"] == Session("abc").run(code)["output"]


def test_context_is_a_string() -> None:
    session = Session("one\ntwo\nthree")
    code = "import re, json\nprint(context.split(), re.findall('t.', context), json.dumps(context), 'two' in context)"
    assert session.run(code)["output"] == "['one', 'two', 'three'] ['tw', 'th'] \"one\\ntwo\\nthree\" True\n"


def test_long_context_is_lazy() -> None:
    content = "".join(f"entry {n:07}\n" for n in range(100_000))
    session = Session(content)
    report = session.run("print(len(context), context[14:27], context[-14:-1], type(context).__name__)")
    assert report["output"] == "1400000 entry 0000001 entry 0099999 View\n"
    assert sum(asked["end"] - asked["start"] for asked in session.desk.of_kind("read")) < 300_000


def test_documents_are_found() -> None:
    documents: list[list[object]] = [["a.txt", 3], ["b.txt", 4], [None, 2]]
    session = Session("aaabbbbcc", documents)
    code = "print([(d.name, str(d)) for d in context], context['b.txt'], context.names, len(context.documents))"
    assert session.run(code)["output"] == (
        "[('a.txt', 'aaa'), ('b.txt', 'bbbb'), (None, 'cc')] bbbb ['a.txt', 'b.txt', None] 3\n"
    )
    assert session.run("context['b.txt'].start")["output"] == "3\n"


def test_search_finds_across_windows() -> None:
    content = "x" * 499_990 + "needle number 77 lies here" + "y" * 700_000
    origin = origin_of(content)
    view = origin.whole()
    assert isinstance(view, View)
    (hit,) = view.search(r"needle number \d+")
    assert (hit.at, hit.match) == (499_990, "needle number 77")
    assert content[hit.start : hit.end] == str(hit)


def test_search_takes_words() -> None:
    text = origin_of("The Amber fox (amber) and a wolf").whole()
    assert [hit.match for hit in text.search(["amber", "wolf"])] == ["Amber", "amber", "wolf"]
    assert [hit.match for hit in text.search("(amber")] == ["(amber"]
    assert len(text.search("a", limit=3)) == 3


@pytest.mark.parametrize("size", [1, 7, 100, 1_000, 5_000])
def test_chunks_rebuild_the_text(size: int) -> None:
    content = "Some words here. And more of them!\n\nA new paragraph begins.\n" * 40
    text = origin_of(content).whole()
    parts = list(Chunks(text, size))
    assert "".join(str(part) for part in parts) == content
    assert max(len(part) for part in parts) <= size
    assert len(text.chunks(size)) == len(parts)


def test_chunks_overlap() -> None:
    content = "word " * 1_000
    parts = list(origin_of(content).whole().chunks(500, overlap=50))
    assert all(one.end - other.start == 50 for one, other in itertools.pairwise(parts))


def test_lines_are_texts() -> None:
    content = "".join(f"line {n}\n" for n in range(90_000))
    view = origin_of(content).part(0, len(content))
    lines = list(view.lines)
    assert len(lines) == 90_000
    assert content[lines[77_777].start :].startswith("line 77777\n")
    assert len(list(view.lines())) == 90_000


def test_whole_of_long_view_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "WHOLE", 1_000)
    view = View(origin_of("x" * 2_000), 0, 2_000)
    with pytest.raises(ValueError, match="use slices"):
        str(view)


def test_texts_behave_like_strings() -> None:
    text = origin_of("hello world").whole()
    assert isinstance(text, Text)
    assert text + "!" == "hello world!"
    assert "> " + text == "> hello world"
    assert f"{text:>12}" == " hello world"
    assert text[::-1] == "dlrow olleh"
    assert {str(text): 1}["hello world"] == {"hello world": 1}[text] == 1
    assert list(text)[:2] == ["h", "e"]


@needs_monitoring
@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        "def f():\n    try:\n        f()\n    except BaseException:\n        f()\nf()",
        "x = [i for i in iter(int, 1)]",
    ],
)
def test_endless_code_is_stopped(code: str) -> None:
    session = Session("abc")
    report = session.run(f"kept = 5\n{code}", seconds=0.3)
    assert report["failed"]
    assert "TimeLimit" in report["output"] or "Recursion" in report["output"]
    assert session.run("kept")["output"] == "5\n"


@needs_monitoring
@pytest.mark.parametrize("padding", range(8))
def test_swallowing_asker_is_stopped(padding: int) -> None:
    """A loop that swallows every error and asks without end, whose events the hook may never meet at a good moment."""
    asks = "budget()" + "; x = 1" * padding
    code = f"while True:\n    try: {asks}\n    except BaseException: pass"
    assert "TimeLimit" in Session("abc").run(code, seconds=0.2)["output"]

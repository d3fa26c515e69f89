"""Looking at a context from the REPL: hits with their places, lines with their numbers, output cut between lines."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlm_worker.repl.folders import listed as folders
from rlm_worker.repl.transcript import shortened
from rlm_worker.sandbox.output import HeadTail
from rlm_worker.sandbox.places import LineIndex, heading_above, visible
from rlm_worker.sandbox.text import DocumentSpan, Origin
from tests.unit.test_repl_sandbox import Session, free_monitoring

__all__ = ["free_monitoring"]

NOTES = "# Top\nintro\n## Budget\nThe total is 5.\nmore\r\nlast"
CODE = "class A:\n    def f(self):\n        x = 1\n\n        raise RuntimeError\n\ny = RuntimeError\n"
LONG = f"{'z' * 3_000_000}\nthe end is here\n"


def session(limit: int = 4_000) -> Session:
    texts = [("a/notes.md", NOTES), ("b/code.py", CODE), ("empty", ""), ("big", LONG), (None, "tail total")]
    return Session("".join(text for _, text in texts), [[name, len(text)] for name, text in texts], limit)


def test_hits_tell_place_and_heading() -> None:
    told = session().says("print(context.search('total|runtime'))")
    assert told.startswith("4 of 4 matches:\n--- a/notes.md:4 (## Budget) at=26\n")
    assert "--- b/code.py:5 (def f(self):) at=" in told
    assert "--- b/code.py:7 at=" in told
    assert "--- #4:1 at=" in told


def test_hits_tell_how_many() -> None:
    assert session().says("context.search('total', limit=1)").startswith("1 of 2 matches:\n")
    assert session().says("context.search('nowhere')") == "no matches\n"
    assert session().says("context.search('z', limit=1)").startswith("1 of more than 9,999 matches:\n")
    assert session().says("hits = context.search('o')\nprint(hits[1:3])").startswith("2 of ")


def test_hits_are_a_list() -> None:
    code = "hits = context.search('total')\nprint(len(hits), hits.total, [hit.line for hit in hits], hits[0].name)"
    assert session().says(code) == "2 2 [4, 1] a/notes.md\n"


def test_hits_stay_in_their_document() -> None:
    assert session().says("print(context.search('tail')[0])") == "tail total\n"


def test_printed_hits_are_shown() -> None:
    report = session().run("print(context.search('RuntimeError', limit=1))")
    assert report["shown"] == [[len(NOTES), len(NOTES) + len(CODE)]]


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("show('a/notes.md', 4, 5)", "a/notes.md, lines 4 to 5; line 4 begins at=22\n4| The total is 5.\n5| more\n"),
        (
            "show(1, 1, 2)",
            f"b/code.py, lines 1 to 2; line 1 begins at={len(NOTES)}\n1| class A:\n2|     def f(self):\n",
        ),
        ("show(context.documents[4])", "1| tail total\n(here the document ends)\n"),
        ("show(-1)", "1| tail total\n(here the document ends)\n"),
        ("show('#4')", "1| tail total\n(here the document ends)\n"),
        ("show('a/notes.md', 6, 99)", "6| last\n(here the document ends)\n"),
        ("show('big', 2, 2)", "2| the end is here\n"),
    ],
)
def test_lines_are_shown(code: str, shown: str) -> None:
    assert session().says(code).endswith(shown)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("show('empty')", "empty is empty"),
        ("show('notes.md')", "no document is named 'notes.md'; see context.names; did you mean 'a/notes.md'?"),
        ("show('a/notes.md', 7)", "a/notes.md has no line 7: it has 6"),
        ("show('a/notes.md', 0)", "lines are counted from 1"),
        ("show('a/notes.md', 3, 2)", "the first comes first: not 3 to 2"),
        ("show('a/notes.md', '1')", "lines are whole numbers"),
        ("show(5)", "documents are numbered from 0 to 4: there is no 5"),
        ("show(context)", "take one, by name or number"),
        ("show('x\\x1b\\u202e')", r"named 'x\\x1b\\u202e'"),
        ("context['code.py']", "did you mean 'b/code.py'?"),
        ("context.documents['code.py']", "did you mean 'b/code.py'?"),
    ],
)
def test_wrong_lines_are_told(code: str, error: str) -> None:
    report = session().run(code)
    assert report["failed"]
    assert error in report["output"]


def test_long_lines_are_cut() -> None:
    told = session().says("show('big', 1, 2)")
    assert re.search(r"1\| z{1000} … \[this line goes on at=\d+\]\n2\| the end is here\n", told)


def test_line_of_a_giant_is_not_read() -> None:
    """One line of a document of many megabytes costs a block, not the document."""
    asked = session()
    asked.says("show('big', 1, 1)")
    reads = asked.desk.of_kind("read")
    assert sum(read["end"] - read["start"] for read in reads) <= 200_000


def test_lines_far_in_are_read_once() -> None:
    content = "".join(f"line {n}\n" for n in range(1, 400_001))
    asked = Session(content)
    assert "300000| line 300000" in asked.says("show(0, 300_000, 300_001)")
    read = sum(read["end"] - read["start"] for read in asked.desk.of_kind("read"))
    assert read <= len(content) + 200_000
    asked.desk.asked.clear()
    assert "200000| line 200000" in asked.says("show(0, 200_000, 200_001)")
    assert sum(read["end"] - read["start"] for read in asked.desk.of_kind("read")) <= 200_000


def test_early_lines_read_no_more() -> None:
    content = "".join(f"line {n}\n" for n in range(100_000))
    asked = Session(content)
    code = "l = context.lines\nprint(l[3], [str(x) for x in l[1:6:2]], l[-1], [str(x) for x in l[-2:]], l[7:3])"
    expected = "line 3 ['line 1', 'line 3', 'line 5'] line 99999 ['line 99998', 'line 99999'] []\n"
    assert asked.says(code) == expected
    asked.desk.asked.clear()
    asked.says("context.lines[1000]")
    assert sum(read["end"] - read["start"] for read in asked.desk.of_kind("read")) <= 500_000
    assert "IndexError" in asked.says("context.lines[100_000]")


def test_endless_show_is_bounded() -> None:
    asked = Session("x\n" * 50_000, limit=150_000)
    told = asked.says("show(0, 1, 50_000)")
    assert told.endswith("2000| x\n(no more at once; go on with first=2001)\n")


@given(st.text(alphabet="ab\n\r", max_size=60), st.integers(0, 5))
def test_lines_are_those_of_the_text(text: str, before: int) -> None:
    content = "#" * before + text + "\nmore\n"
    index = LineIndex(lambda start, end: content[start:end], before, before + len(text))
    starts = [before] if text else []
    starts += [before + at + 1 for at, sign in enumerate(text) if sign == "\n" and at + 1 < len(text)]
    assert [index.start_of(line) for line in range(1, len(starts) + 2)] == [*starts, None]
    for at in range(len(text)):
        assert index.line_at(before + at) == text.count("\n", 0, at) + 1


def test_headings_by_kind() -> None:
    text = "# One\n\n    def indented():\n        pass\nplain hit\n"
    at = text.index("hit")
    read = lambda start, end: text[start:end]  # noqa: E731
    assert heading_above(read, 0, at, "a.md") == "# One"
    assert heading_above(read, 0, at, "a.py") == ""
    assert heading_above(read, 0, text.index("pass"), "a.py") == "def indented():"


def test_names_are_one_line() -> None:
    spans = [DocumentSpan("a\nb\u202e\ud800", 0, 5), DocumentSpan(None, 5, 6)]
    origin = Origin(lambda start, end: "hello!"[start:end], spans)
    assert origin.label(0) == "a\\nb\\u202e\\ud800"
    assert origin.number_of("a\nb\u202e\ud800") == origin.number_of("a\\nb\\u202e\\ud800") == 0
    assert visible("x" * 100, 80) == "x" * 80


def test_output_is_cut_between_lines() -> None:
    stream = HeadTail(60)
    for n in range(1, 101):
        stream.write(f"line {n}\n")
    told = stream.getvalue()
    assert (
        told == "line 1\nline 2\nline 3\nline 4\n… [lines 5 to 97, 739 characters cut] …\nline 98\nline 99\nline 100\n"
    )


@given(st.lists(st.text(alphabet="ab\n", max_size=30), max_size=30), st.integers(2, 80))
def test_cut_output_adds_up(pieces: list[str], limit: int) -> None:
    stream, whole = HeadTail(limit), "".join(pieces)
    for piece in pieces:
        stream.write(piece)
    told = stream.getvalue()
    if len(whole) <= limit:
        assert told == whole
        return
    found = re.fullmatch(r"(.*?)\n?… \[(?:lines (\d+) to (\d+), )?(\d+) characters cut\] …\n(.*)", told, re.DOTALL)
    assert found
    kept = len(found[1]) + len(found[5])
    assert whole.startswith(found[1])
    assert whole.endswith(found[5])
    assert len(whole) - kept - int(found[4]) in (0, 1)  # the end of a line before the mark may be the text's own
    if found[2]:
        lines = whole.split("\n")
        missing = "\n".join(lines[int(found[2]) - 1 : int(found[3])]) + "\n"
        assert len(missing) == int(found[4])


def test_old_turns_are_cut_between_lines() -> None:
    text = "".join(f"line {n}\n" for n in range(1, 101))
    short = shortened(text, 60)
    assert short.startswith("line 1\nline 2\n")
    assert re.search(r"^… \[lines \d+ to \d+, \d+ characters cut\] …$", short, re.MULTILINE)
    assert shortened("x" * 100, 100) == "x" * 100


def test_few_documents_are_listed() -> None:
    assert folders([("a.txt", 5), (None, 1_200)]) == ": a.txt (5), #1 (1,200)"


def test_many_documents_are_a_tree() -> None:
    documents: list[tuple[str | None, int]] = [(f"lib/asyncio/m{n}.py", 100) for n in range(30)]
    documents += [(f"lib/m{n}.py", 10) for n in range(40)] + [("docs/a/b.md", 7), ("README", 3), (None, 4)]
    assert folders(documents) == (
        ":\n"
        "lib/ (70 documents, 3,400 characters)\n"
        "  asyncio/ (30 documents, 3,000 characters)\n"
        "    m0.py (100), m1.py (100), m2.py (100), m3.py (100), m4.py (100), m5.py (100), m6.py (100), m7.py (100), "
        "and 22 more\n"
        "  m0.py (10), m1.py (10), m2.py (10), m3.py (10), m4.py (10), m5.py (10), m6.py (10), m7.py (10), "
        "and 32 more\n"
        "docs/ (1 document, 7 characters)\n"
        "  a/ (1 document, 7 characters)\n"
        "    b.md (7)\n"
        "README (3), #72 (4)"
    )


def test_hundred_thousand_are_bounded() -> None:
    wide = [(f"f{n}/{n % 7}/\u202e{n}\n.txt", 1) for n in range(100_000)]
    deep = [("/".join(str(n % (k + 2)) for k in range(40)) + f"/{n}", 1) for n in range(5_000)]
    for documents in (wide, deep, [(f"{n}", 1) for n in range(100_000)]):
        told = folders(documents)
        assert told.count("\n") <= 80
        assert len(told) <= 40_000
        assert all(line.isprintable() for line in told.split("\n"))

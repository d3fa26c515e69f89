# ruff: noqa: RUF001  the stops of other scripts are meant
from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from rlm_worker.text.boundaries import find_row_cut
from rlm_worker.text.chunker import Chunker, chunk_documents
from rlm_worker.text.chunks import Chunk, ChunkBudget
from rlm_worker.text.tokens import TokenEstimator

WORDS = ("model", "reads", "chunk", "says", "what", "found", "there", "before", "another", "is", "read", "by", "next")


def prose(seed: int, characters: int, *, end: str = " ") -> str:
    chance = random.Random(seed)
    sentences: list[str] = []
    length = 0
    while length < characters:
        words = " ".join(chance.choice(WORDS) for _ in range(chance.randint(5, 14)))
        sentences.append(words.capitalize() + "." + (end if chance.random() < 0.9 else "\n\n"))
        length += len(sentences[-1])
    return "".join(sentences)[:characters]


def cut(text: str, characters: int, *, overlap: int = 0) -> list[Chunk]:
    return list(chunk_documents([(None, text)], ChunkBudget(characters), overlap=overlap))


def texts(text: str, characters: int) -> list[str]:
    return [chunk.text for chunk in cut(text, characters)]


def contents(chunk: Chunk) -> tuple[tuple[str | None, str], ...]:
    return tuple((piece.name, piece.text) for piece in chunk.pieces)


def test_empty_context_gives_nothing() -> None:
    assert cut("", 10) == []
    assert list(chunk_documents([("a", ""), ("b", "")], ChunkBudget(10))) == []
    assert list(Chunker(ChunkBudget(10)).finish()) == []


def test_small_context_stays_whole() -> None:
    [chunk] = cut("All of it.", 10)
    assert (chunk.index, chunk.start, chunk.end, chunk.text, chunk.overlap) == (0, 0, 10, "All of it.", "")
    assert [(piece.document, piece.name, piece.start) for piece in chunk.pieces] == [(0, None, 0)]


def test_feeding_begins_a_document() -> None:
    chunker = Chunker(ChunkBudget(100))
    assert [*chunker.feed("no name"), *chunker.finish()] == cut("no name", 100)


def test_unread_chunks_come_later() -> None:
    text = prose(1, 3000)
    chunker = Chunker(ChunkBudget(500))
    chunker.feed(text)
    assert "".join(chunk.text for chunk in chunker.finish()) == text


@pytest.mark.parametrize(
    "heading",
    [
        "# Part two\n\nBody",
        "### Part two\nBody",
        "Part two\n--------\n\nBody",
        "== Part two ==\nBody",
        "<h2>Part two</h2>\n",
        "\\section{Part two}\n",
        "Chapter 12\n",
        "第十二章 秋天\n",
        "def part_two():\n",
        "@cached\ndef part_two():\n",
        "async def part_two():\n",
        "export default class Part {\n",
        "pub(crate) fn part_two() -> u8 {\n",
        "func (p *Part) Two() error {\n",
        "static int part_two(void)\n{\n",
        "size_t part_two(const char *name) {\n",
        "CREATE TABLE parts (\n",
    ],
)
def test_headings_come_first(heading: str) -> None:
    before = prose(2, 840, end="\n") + ".\n\n"
    chunks = texts(before + heading + prose(3, 3000), 1000)
    assert chunks[0] == before


def test_higher_headings_win() -> None:
    body = prose(4, 100)
    text = prose(4, 900) + f"\n\n### Low\n\n{body}\n\n# High\n\n{body[:60]}\n\n### Low\n\n" + prose(5, 900)
    assert texts(text, 1200)[1].startswith("# High")


def test_definitions_end_with_braces() -> None:
    text = "".join(f"int f{at}(void) {{\n    return {at};\n}}\n" for at in range(100))
    assert all(chunk.startswith("int f") and chunk.endswith("}\n") for chunk in texts(text, 300))


def test_methods_beat_their_bodies() -> None:
    body = "        first = 1\n\n        second = 2\n\n"
    text = "class A:\n" + "".join(f"    def m{at}(self):\n{body}" for at in range(100))
    assert all(chunk.startswith("    def m") for chunk in texts(text, 600)[1:])


def test_paragraphs_come_next() -> None:
    chunks = texts(prose(6, 60_000).replace("is. ", "is.\n\n"), 4000)
    assert all(chunk.endswith("\n\n") for chunk in chunks[:-1])


def test_windows_lines_make_paragraphs() -> None:
    chunks = texts(prose(6, 60_000).replace("is. ", "is.\n\n").replace("\n", "\r\n"), 4000)
    assert all(chunk.endswith("\r\n\r\n") for chunk in chunks[:-1])


def test_sentences_come_next() -> None:
    chunks = texts(prose(7, 20_000).replace("\n\n", " "), 1000)
    assert all(chunk.endswith(". ") for chunk in chunks[:-1])


@pytest.mark.parametrize("unfinished", ["Dr. ", "e.g. ", "3.14 and ", "J. ", "U.S. ", "vs. "])
def test_abbreviations_end_nothing(unfinished: str) -> None:
    chunks = texts(f"Here {unfinished}Smith wrote a rather long sentence with that in it. " * 40, 200)
    assert all(chunk.endswith("it. ") for chunk in chunks[:-1])


@pytest.mark.parametrize("stop", ["。", "！", "？」", "।"])
def test_other_stops_end_sentences(stop: str) -> None:
    chunks = texts(("我们读了一块" * 3 + stop) * 40, 100)
    assert all(chunk.endswith(stop) for chunk in chunks)


def test_lines_come_next() -> None:
    text = "".join(f"10:{at:04} worker={at % 7} status=ok\n" for at in range(2000))
    assert all(chunk.endswith("\n") for chunk in texts(text, 1000))


def test_words_come_next() -> None:
    chunks = texts("word " * 1000, 64)
    assert all(chunk.endswith("d ") for chunk in chunks)
    assert all(chunk.endswith("、") for chunk in texts("一個詞、" * 200, 62))


def test_long_words_are_cut() -> None:
    assert [len(chunk) for chunk in texts("x" * 1000, 300)] == [300, 300, 300, 100]


def test_chunks_are_well_filled() -> None:
    for size in (500, 4000, 50_000):
        chunks = texts(prose(8, size * 20), size)
        assert min(map(len, chunks[:-1])) >= size / 2
        assert sum(map(len, chunks[:-1])) / (len(chunks) - 1) >= size * 0.75


def test_giant_cluster_stays_whole() -> None:
    giant = "e" + "\u0301" * 500
    assert texts(f"before {giant} after", 20) == ["before ", giant, " after"]


def test_endless_cluster_is_cut() -> None:
    chunker = Chunker(ChunkBudget(10))
    sizes = [len(chunk.text) for _ in range(40) for chunk in chunker.feed("\u0301" * 5000)]
    assert max(sizes) <= 10 + (1 << 16)
    assert sum(sizes) >= 100_000


def test_split_clusters_are_awaited() -> None:
    family = "👩\u200d👩\u200d👧\u200d👦"
    chunker = Chunker(ChunkBudget(8))
    parts = [chunk.text for part in family * 20 for chunk in chunker.feed(part)]
    parts += [chunk.text for chunk in chunker.finish()]
    assert set(parts) == {family}


def test_small_documents_are_packed() -> None:
    documents: list[tuple[str | None, str]] = [(f"{at}.txt", prose(at, 300)) for at in range(60)]
    chunks = list(chunk_documents(documents, ChunkBudget(4000)))
    assert len(chunks) <= 8
    assert [(piece.name, piece.text) for chunk in chunks for piece in chunk.pieces] == documents
    assert [piece.document for chunk in chunks for piece in chunk.pieces] == list(range(60))


def test_long_names_are_charged() -> None:
    documents: list[tuple[str | None, str]] = [("n" * 200 + str(at), "short") for at in range(100)]
    for chunk in chunk_documents(documents, ChunkBudget(2000)):
        assert sum(len(piece.name or "") + len(piece.text) for piece in chunk.pieces) <= 2000 + 203


def test_token_budget_binds() -> None:
    estimator = TokenEstimator()
    chinese = "我们读了一块文字。" * 1000
    chunks = list(chunk_documents([(None, chinese)], ChunkBudget(5000, 1000), estimator))
    assert all(estimator.estimate(chunk.text) <= 1000 for chunk in chunks)
    assert all(chunk.text.endswith("。") for chunk in chunks)
    assert min(estimator.estimate(chunk.text) for chunk in chunks[:-1]) >= 500


def test_learning_resizes_chunks() -> None:
    text = prose(9, 100_000)
    estimator = TokenEstimator()
    before = len(list(chunk_documents([(None, text)], ChunkBudget(50_000, 2000), estimator)))
    estimator.observe(text, 2 * estimator.estimate(text))
    after = len(list(chunk_documents([(None, text)], ChunkBudget(50_000, 2000), estimator)))
    assert 1.7 <= after / before <= 2.3


def test_overlap_starts_with_words() -> None:
    text = prose(10, 5000)
    first, *others = cut(text, 500, overlap=80)
    assert first.overlap == ""
    for chunk in others:
        assert 60 <= len(chunk.overlap) <= 80
        assert text[: chunk.start].endswith(" " + chunk.overlap) or text[: chunk.start].endswith("\n" + chunk.overlap)
        assert len(chunk.overlap + chunk.text) <= 500


def test_overlap_stays_in_documents() -> None:
    documents = [(f"{at}", prose(at, 450)) for at in range(10)]
    chunks = list(chunk_documents(documents, ChunkBudget(500), overlap=50))
    assert [chunk.overlap for chunk in chunks] == [""] * 10


@pytest.mark.parametrize("characters", [3_000, 70_000])
@pytest.mark.parametrize("named", [True, False])
def test_edits_stay_local(characters: int, *, named: bool) -> None:
    documents = [(f"notes-{at}.md" if named else None, f"Notes {at}\n\n{prose(at, characters)}") for at in range(200)]
    budget = ChunkBudget(50_000)
    known = {contents(chunk) for chunk in chunk_documents(documents, budget)}
    for edited in (0, 17, 101, 199):
        name, text = documents[edited]
        changed = [*documents[:edited], (name, text[:999] + "INSERTED" + text[999:]), *documents[edited + 1 :]]
        new = [chunk for chunk in chunk_documents(changed, budget) if contents(chunk) not in known]
        assert 1 <= len(new) <= 2
        assert all(any(piece.document == edited for piece in chunk.pieces) for chunk in new)


def test_packing_finds_back() -> None:
    documents = [(f"notes-{at}.md", prose(at, 3000 + at * 7)) for at in range(200)]
    budget = ChunkBudget(50_000)
    known = {contents(chunk) for chunk in chunk_documents(documents, budget)}
    more = [(f"more-{at}.md", prose(at, 4100)) for at in range(9)]
    new = [chunk for chunk in chunk_documents(more + documents, budget) if contents(chunk) not in known]
    assert len(new) <= 5


def test_headings_find_back() -> None:
    text = "".join(f"## Section {at}\n\n{prose(at, 1200)}\n\n" for at in range(400))
    known = set(texts(text, 20_000))
    new = [chunk for chunk in texts(prose(5, 7000) + "\n\n" + text, 20_000) if chunk not in known]
    assert len(known) > 25
    assert len(new) <= 8


def test_processes_agree() -> None:
    program = (
        "import sys; from rlm_worker.text.chunker import *; text = sys.stdin.read(); "
        "print([c.end for c in chunk_documents([(str(i), text[:i * 50]) for i in range(90)], ChunkBudget(3000))])"
    )
    source = Path(__file__).parents[2] / "src"
    ends = {
        subprocess.run(
            [sys.executable, "-c", program],
            input=prose(11, 5000),
            env={"PYTHONPATH": str(source), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(ends) == 1
    assert ends != {"[]\n"}


@pytest.mark.parametrize(("characters", "tokens"), [(0, None), (-5, None), (10, 0)])
def test_empty_budgets_are_refused(characters: int, tokens: int | None) -> None:
    with pytest.raises(ValueError, match="holds nothing"):
        ChunkBudget(characters, tokens)


@pytest.mark.parametrize(
    "text",
    [
        "\n" * 300_000,
        " " * 300_000,
        "." * 300_000,
        "\n\n    " * 50_000,
        '."' * 150_000,
        "a(" * 150_000,
        "=\n" * 150_000,
    ],
    ids=["newlines", "blanks", "stops", "indents", "quotes", "brackets", "underlines"],
)
def test_odd_texts_are_cut(text: str) -> None:
    chunks = texts(text, 50_000)
    assert "".join(chunks) == text
    assert len(chunks) <= 13


def rows(text: str, characters: int) -> list[str]:
    chunker = Chunker(ChunkBudget(characters), cut=find_row_cut)
    chunker.begin_document(None)
    return [chunk.text for chunk in (*chunker.feed(text), *chunker.finish())]


def test_lines_stay_whole() -> None:
    """A record of several sentences is not cut between them."""
    text = "".join(f"2024-05-01 | user {number} | How are you? Fine. Thanks!\n" for number in range(500))
    parts = rows(text, 2_000)
    assert "".join(parts) == text
    assert len(parts) > 10
    assert all(part.endswith("\n") for part in parts)


def test_records_part_at_blank_lines() -> None:
    text = "".join(f"Name: {number}\nSaid: something. And more.\n\n" for number in range(300))
    assert all(part.startswith("Name:") for part in rows(text, 1_500))


def test_broken_prose_is_no_list() -> None:
    """Prose with a line's end in each sentence is cut between sentences, as ever."""
    text = "".join(f"Sentence {number} begins\nhere and ends there. " for number in range(400))
    assert all(part.startswith("Sentence") for part in rows(text, 1_500))


def test_new_rows_leave_earlier_chunks() -> None:
    text = "".join(f"2024-05-01 | user {number} | something\n" for number in range(500))
    more = text + "".join(f"2024-06-01 | user {number} | more\n" for number in range(100))
    assert rows(more, 2_000)[:-10] == rows(text, 2_000)[: len(rows(more, 2_000)) - 10]

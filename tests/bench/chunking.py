# ruff: noqa: RUF001  the stops of other scripts are meant
"""Chunking beside its peers: throughput and where chunks end, on the same texts in the same run.

`python -m tests.bench.chunking` needs semchunk, langchain-text-splitters and chonkie. The promise it checks: at 50,000
characters at least three times the faster of semchunk and LangChain, at 2,000 at least its equal, and as large a share
of chunks ending with a sentence or better.
"""

from __future__ import annotations

import random
import re
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from pydoc_data.topics import topics

from rlm_worker.text.chunker import chunk_documents
from rlm_worker.text.chunks import ChunkBudget

MEGABYTE = 1_000_000
ROUNDS = 7
PROMISED = {50_000: 3.0, 2_000: 1.0}

# By name, for they are installed for this benchmark only and type checking does without them.
SEMCHUNK = import_module("semchunk")
LANGCHAIN = import_module("langchain_text_splitters")
CHONKIE = import_module("chonkie")

Contender = Callable[[str, int], list[str]]


def ours(text: str, size: int) -> list[str]:
    return [chunk.text for chunk in chunk_documents([(None, text)], ChunkBudget(size))]


def semantic(text: str, size: int) -> list[str]:
    return [*SEMCHUNK.chunk(text, size, len, memoize=False)]


def langchain(text: str, size: int) -> list[str]:
    return [*LANGCHAIN.RecursiveCharacterTextSplitter(chunk_size=size, chunk_overlap=0).split_text(text)]


def chonkie(text: str, size: int) -> list[str]:
    return [chunk.text for chunk in CHONKIE.FastChunker(chunk_size=size).chunk(text)]


RIVALS: dict[str, Contender] = {"semchunk": semantic, "langchain": langchain}
CONTENDERS: dict[str, Contender] = {"ours": ours, **RIVALS, "chonkie": chonkie}


def prose() -> str:
    return _repeated("\n\n".join(topics[name] for name in sorted(topics)), 4 * MEGABYTE)


def source_code() -> str:
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    return _repeated("".join(file.read_text(encoding="utf-8", errors="replace") for file in files), 4 * MEGABYTE)


def chinese() -> str:
    """Sentences of random Han characters, in paragraphs, with the stops and commas that such text has."""
    chance = random.Random(1)
    sentences = []
    for _ in range(80_000):
        words = "".join(chr(chance.randrange(0x4E00, 0x9000)) for _ in range(chance.randrange(8, 40)))
        sentences.append(words + chance.choice("。。。！？，，") + ("\n\n" if chance.random() < 0.05 else ""))
    return "".join(sentences)[: 2 * MEGABYTE]


def _repeated(text: str, length: int) -> str:
    return (text * (length // len(text) + 1))[:length]


_SENTENCE_END = re.compile(r"""([.!?…]["'”’»)\]*_`]*\s|[。！？]["'”’»）」』】]*\s?)\Z""")
_BLANK_LINE = re.compile(r"\n[ \t\r]*\n")
_TOP_LEVEL = re.compile(r"#{1,6} |(?:async def|def|class)\b|@\w")


def ends_well(text: str, end: int) -> bool:
    """Whether a chunk that ends at `end` ends with a sentence or better, whitespace around the cut left aside.

    Better is a paragraph (a blank line at the cut) or a heading or definition at the margin behind it.
    """
    before = text[max(0, end - 200) : end].rstrip()
    start = max(0, end - 200) + len(before)
    after = text[start : start + 200]
    gap = after[: len(after) - len(after.lstrip())]
    if _BLANK_LINE.search(gap) or ("\n" in gap and gap.endswith("\n") and _TOP_LEVEL.match(after, len(gap))):
        return True
    return bool(_SENTENCE_END.search(before[-20:] + gap[:1]))


def share_ending_well(text: str, chunks: Iterable[str]) -> float:
    ends = list(_ends(text, chunks))[:-1]
    return sum(ends_well(text, end) for end in ends) / len(ends)


def _ends(text: str, chunks: Iterable[str]) -> Iterator[int]:
    """Where the chunks end in the text; the peers drop the whitespace between them."""
    cursor = 0
    for chunk in chunks:
        cursor = text.index(chunk, cursor) + len(chunk)
        yield cursor


@dataclass(slots=True)
class Result:
    """A contender's best time, and its chunks."""

    seconds: float = float("inf")
    chunks: int = 0
    well: float = 0.0
    failure: str = ""

    def row(self, text: str, ours: Result) -> str:
        if self.failure:
            return f"fails: {self.failure}"
        speed = self.seconds * 1000 / (len(text) / MEGABYTE)
        return f"{speed:8.2f} {self.seconds / ours.seconds:8.1f} {self.chunks:8d} {self.well:10.1%}"


def measure(text: str, size: int) -> dict[str, Result]:
    """Each contender's best of several rounds; taking turns, so that a busy moment of the machine hits all."""
    results = {name: Result() for name in CONTENDERS}
    for turn in range(ROUNDS):
        for name, contender in CONTENDERS.items():
            if not results[name].failure:
                _take_turn(results[name], contender, text, size, first=turn == 0)
    return results


def _take_turn(result: Result, contender: Contender, text: str, size: int, *, first: bool) -> None:
    began = time.perf_counter()
    try:
        chunks = contender(text, size)
    except Exception as error:  # noqa: BLE001  a peer that cannot do it is a result too
        result.failure = type(error).__name__
        return
    result.seconds = min(result.seconds, time.perf_counter() - began)
    if first:
        result.chunks, result.well = len(chunks), share_ending_well(text, chunks)


def is_kept(size: int, results: dict[str, Result]) -> bool:
    rivals = [results[name] for name in RIVALS]
    fast = min(rival.seconds for rival in rivals) >= PROMISED[size] * results["ours"].seconds
    return fast and results["ours"].well >= max(rival.well for rival in rivals)


def main() -> int:
    peers = ("semchunk", "langchain-text-splitters", "chonkie")
    print(f"Python {sys.version.split()[0]}, " + ", ".join(f"{peer} {version(peer)}" for peer in peers))
    print(f"{'text':8} {'size':>6} {'':10} {'ms/MB':>8} {'x ours':>8} {'chunks':>8} {'end well':>10}")
    kept = True
    for name, text in {"prose": prose(), "code": source_code(), "chinese": chinese()}.items():
        for size in PROMISED:
            results = measure(text, size)
            for contender, result in results.items():
                print(f"{name:8} {size:6d} {contender:10} {result.row(text, results['ours'])}")
            kept = is_kept(size, results) and kept
    print("promise kept" if kept else "promise NOT kept")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())

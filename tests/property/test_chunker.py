"""What holds of every text, budget and way of feeding."""

from __future__ import annotations

import random
from collections.abc import Iterable

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rlm_worker.text.chunker import Chunker, chunk_documents
from rlm_worker.text.chunks import Chunk, ChunkBudget
from rlm_worker.text.graphemes import is_boundary
from rlm_worker.text.tokens import TokenEstimator

Documents = list[tuple[str | None, str]]

# What texts are made of where cutting is delicate: ends of lines and sentences, clusters, signs without a width.
_ATOMS = st.sampled_from(
    [
        *("a", "word ", "Sentence. ", "e.g. ", "3.14", "Dr. Who? ", "x" * 40, "中文。", "字、", "한국어 "),
        *("\n", "\n\n", "\r\n", "\r", "\t", " ", "\x00", "\u2028", "\u202eabc\u202c"),
        *("# Title\n", "\n\n## Part\n\n", "\n\ndef f():\n    pass\n", "}\n", "\n\n    indented"),
        *(
            "\u1112\u1161\u11ab",
            "e\u0301",
            "\u0301",
            "\u200d",
            "क्षि",
            "👩\u200d👩\u200d👧\u200d👦",
            "👍🏽",
            "🇩🇪",
            "🇫🇷🇯🇵",
        ),
    ]
)
_TEXTS = st.one_of(st.text(st.characters(exclude_categories=["Cs"]), max_size=200), st.lists(_ATOMS).map("".join))
_NAMES = st.one_of(st.none(), st.sampled_from(["a.md", "b.py", "long/" * 9]))
_DOCUMENTS: st.SearchStrategy[Documents] = st.lists(st.tuples(_NAMES, _TEXTS), max_size=12)
_CHARACTERS = st.integers(1, 120)
_TOKENS = st.one_of(st.none(), st.integers(1, 60))
_OVERLAP = st.integers(0, 40)
_ESTIMATORS = st.sampled_from([0.5, 1.0, 1.7]).map(TokenEstimator)


def _text(documents: Documents) -> str:
    return "".join(text for _, text in documents)


def _clusters(text: str) -> int:
    return 1 + sum(is_boundary(text, at) for at in range(1, len(text)))


@given(_DOCUMENTS, _CHARACTERS, _TOKENS, _OVERLAP)
def test_pieces_rebuild_documents(documents: Documents, characters: int, tokens: int | None, overlap: int) -> None:
    rebuilt = [""] * len(documents)
    offset = 0
    for index, chunk in enumerate(chunk_documents(documents, ChunkBudget(characters, tokens), overlap=overlap)):
        assert (chunk.index, chunk.start) == (index, offset)
        for piece in chunk.pieces:
            assert piece.start == offset
            assert piece.text
            assert piece.name == documents[piece.document][0]
            rebuilt[piece.document] += piece.text
            offset += len(piece.text)
        assert chunk.end == offset
    assert rebuilt == [text for _, text in documents]


@given(_DOCUMENTS, _CHARACTERS, _TOKENS, _OVERLAP, _ESTIMATORS)
def test_budgets_are_kept(
    documents: Documents, characters: int, tokens: int | None, overlap: int, estimator: TokenEstimator
) -> None:
    for chunk in chunk_documents(documents, ChunkBudget(characters, tokens), estimator, overlap=overlap):
        shown = chunk.overlap + chunk.text
        fits = len(shown) <= characters and (tokens is None or estimator.estimate(shown) <= tokens)
        assert fits or (len(chunk.pieces) == 1 and _clusters(chunk.text) == 1)


@given(_DOCUMENTS, _CHARACTERS, _TOKENS, _OVERLAP, st.integers(0, 1 << 30))
def test_feeding_changes_nothing(
    documents: Documents, characters: int, tokens: int | None, overlap: int, seed: int
) -> None:
    budget = ChunkBudget(characters, tokens)
    chance = random.Random(seed)
    chunker = Chunker(budget, overlap=overlap)
    fed: list[Chunk] = []
    for name, text in documents:
        fed += chunker.begin_document(name)
        for part in _parts(text, chance):
            fed += chunker.feed(part)
    fed += chunker.finish()
    assert fed == list(chunk_documents(documents, budget, overlap=overlap))


def _parts(text: str, chance: random.Random) -> Iterable[str]:
    longest = chance.choice([1, 3, 50, 1000])
    while text:
        length = chance.randint(1, longest)
        yield text[:length]
        text = text[length:]


@given(_DOCUMENTS, _CHARACTERS, _TOKENS)
def test_clusters_stay_whole(documents: Documents, characters: int, tokens: int | None) -> None:
    for chunk in chunk_documents(documents, ChunkBudget(characters, tokens)):
        piece = chunk.pieces[-1]
        text = documents[piece.document][1]
        begin = sum(len(text) for _, text in documents[: piece.document])
        assert is_boundary(text, chunk.end - begin)


@given(_DOCUMENTS, _CHARACTERS, _TOKENS, _OVERLAP, st.data())
def test_resuming_changes_nothing(
    documents: Documents, characters: int, tokens: int | None, overlap: int, data: st.DataObject
) -> None:
    budget = ChunkBudget(characters, tokens)
    chunks = list(chunk_documents(documents, budget, overlap=overlap))
    assume(chunks)
    done = data.draw(st.integers(0, len(chunks) - 1))
    assert _resumed(documents, chunks[done], budget, overlap) == chunks[done + 1 :]


def _resumed(documents: Documents, last: Chunk, budget: ChunkBudget, overlap: int) -> list[Chunk]:
    chunker = Chunker(budget, overlap=overlap, first_index=last.index + 1, offset=last.end)
    chunks: list[Chunk] = []
    begin = 0
    for index, (name, text) in enumerate(documents):
        cut = max(0, last.end - begin)
        begin += len(text)
        if cut < len(text):
            chunks += chunker.begin_document(name, index=index, continued=cut > 0, preceding=last.pieces[-1].text)
            chunks += chunker.feed(text[cut:])
    return chunks + list(chunker.finish())


@given(st.lists(_ATOMS, min_size=1, max_size=40), st.integers(2, 60))
def test_overlap_repeats_text(atoms: list[str], overlap: int) -> None:
    text = "".join(atoms) * 5
    for chunk in chunk_documents([(None, text)], ChunkBudget(100), overlap=overlap):
        assert len(chunk.overlap) <= min(overlap, 25)
        assert text[: chunk.start].endswith(chunk.overlap)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1 << 30), st.integers(2_000, 20_000))
def test_memory_is_bounded(seed: int, characters: int) -> None:
    chance = random.Random(seed)
    chunker = Chunker(ChunkBudget(characters))
    held = 0
    for _ in range(200):
        part = "".join(chance.choice(["word ", "End. ", "\n\n", "# Title\n"]) for _ in range(chance.randint(1, 400)))
        held += len(part)
        held -= sum(len(chunk.text) for chunk in chunker.feed(part))
        assert held < characters + 200

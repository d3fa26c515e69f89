"""Notes of earlier runs: kept as one value, within bounds."""

from __future__ import annotations

from rlm_worker.messages import Message, ModelRequest
from rlm_worker.models.catalog import Catalog
from rlm_worker.strategies.note_cache import MAX_CHARACTERS, NoteCache
from rlm_worker.testing import MemoryCache

KEY = NoteCache.key_of("ada", "why?", "model")


def about(number: int) -> ModelRequest:
    model = Catalog.standard().find("llama-3.1-8b")
    assert model is not None
    return ModelRequest(model, (Message("user", f"chunk {number}"),), 10)


async def test_notes_are_recalled() -> None:
    cache = MemoryCache()
    notes = await NoteCache.load(cache, KEY)
    notes.remember(about(1), "seven")
    await notes.save()
    assert (await NoteCache.load(cache, KEY)).recall(about(1)) == "seven"


async def test_notes_stay_small() -> None:
    """The oldest go first, however many a run has made."""
    cache = MemoryCache()
    notes = await NoteCache.load(cache, KEY)
    for number in range(9):
        notes.remember(about(number), str(number) * (MAX_CHARACTERS // 4))
    await notes.save()
    kept = await NoteCache.load(cache, KEY)
    assert [kept.recall(about(number)) is not None for number in range(9)] == [False] * 5 + [True] * 4
    assert len(await cache.get(KEY) or "") < MAX_CHARACTERS + 1_000

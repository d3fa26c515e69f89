"""Notes of earlier runs: kept by the digest of their chunk, within bounds."""

from __future__ import annotations

import asyncio

from rlm_worker.messages import Message, ModelRequest
from rlm_worker.models.catalog import Catalog
from rlm_worker.strategies.note_cache import MAX_CHARACTERS, SHARDS, NoteCache
from rlm_worker.testing import MemoryCache

KEY = NoteCache.key_of("ada", "why?", "model")


def about(number: int) -> ModelRequest:
    model = Catalog.standard().find("llama-3.1-8b")
    assert model is not None
    return ModelRequest(model, (Message("user", f"chunk {number}"),), 10)


async def saved(cache: MemoryCache, notes: dict[int, str]) -> None:
    kept = NoteCache(cache, KEY)
    for number, note in notes.items():
        kept.remember(about(number), note)
    await kept.save()


async def test_notes_are_recalled() -> None:
    cache = MemoryCache()
    await saved(cache, {number: f"note {number}" for number in range(100)})
    await saved(cache, {100: "a later one"})
    found = NoteCache(cache, KEY)
    recalled = await asyncio.gather(*(found.recall(about(number)) for number in range(102)))
    assert recalled == [*(f"note {number}" for number in range(100)), "a later one", None]


async def test_notes_lie_apart() -> None:
    """Each write takes few of them along; nothing is written that is there already."""
    cache = MemoryCache()
    await saved(cache, dict.fromkeys(range(200), "note"))
    assert set(cache.values) == {f"{KEY}:{shard}" for shard in SHARDS}
    before = dict(cache.values)
    await saved(cache, {201: "another"})
    changed = {name for name, text in cache.values.items() if text != before[name]}
    assert changed == {f"{KEY}:{about(201).call_key()[0]}"}


async def test_notes_stay_small() -> None:
    """The oldest go first, however many a run has made."""
    cache = MemoryCache()
    alike = [number for number in range(300) if about(number).call_key()[0] == "0"][:9]
    await saved(cache, {number: str(number) * (MAX_CHARACTERS // 4 // len(str(number))) for number in alike})
    found = NoteCache(cache, KEY)
    kept = [await found.recall(about(number)) is not None for number in alike]
    assert kept == [False] * (len(alike) - 4) + [True] * 4
    assert len(cache.values[f"{KEY}:0"]) < MAX_CHARACTERS + 1_000


async def test_all_notes_are_deleted() -> None:
    cache = MemoryCache()
    await cache.put(KEY, '{"of": "an earlier version"}')
    await saved(cache, dict.fromkeys(range(50), "note"))
    await NoteCache.delete(cache, KEY)
    assert not cache.values

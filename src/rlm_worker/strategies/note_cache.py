"""What sub-models said about chunks in earlier runs: an edited context pays only for the chunks that changed.

The notes for one owner, query and model lie under a few keys, by the digest of their chunk: KV takes one write a second
of a key, and a value of about a megabyte is no burden to an isolate.
"""

from __future__ import annotations

import asyncio
import hashlib
import json

from rlm_worker.messages import ModelRequest
from rlm_worker.ports import ResultCache

from .prompts import PROMPT_VERSION

# A call's digest is hexadecimal: its first digit names the shard.
SHARDS = "0123456789abcdef"
# Of a shard; the oldest notes go first.
MAX_CHARACTERS = 500_000


class NoteCache:
    """Notes by the digest of the call that made them; a shard is read when the first of its notes is asked for."""

    def __init__(self, cache: ResultCache, key: str) -> None:
        self._cache = cache
        self._key = key
        self._known: dict[str, dict[str, str]] = {}
        self._current: dict[str, dict[str, str]] = {}
        self._reading = asyncio.Lock()

    @staticmethod
    def key_of(owner: str, query: str, model: str) -> str:
        digest = hashlib.sha256(json.dumps([owner, query, model, PROMPT_VERSION]).encode()).hexdigest()
        return f"map:{digest}"

    @staticmethod
    async def delete(cache: ResultCache, key: str) -> None:
        """Deletes all notes under a key; the key itself held them before there were shards."""
        for name in (key, *(_shard_key(key, shard) for shard in SHARDS)):
            await cache.delete(name)

    async def recall(self, request: ModelRequest) -> str | None:
        """What the model said to exactly this prompt, None where it was not asked."""
        digest = request.call_key()
        note = (await self._notes(digest[0])).get(digest)
        if note is not None:
            self._keep(digest, note)
        return note

    def remember(self, request: ModelRequest, note: str) -> None:
        self._keep(request.call_key(), note)

    async def save(self) -> None:
        """Keeps the notes of this run, and the earlier ones that it did not meet as long as there is room."""
        for shard, current in self._current.items():
            known = await self._notes(shard)
            if current.keys() <= known.keys():
                continue
            kept = {**known, **current}
            characters = sum(map(len, kept.values()))
            while characters > MAX_CHARACTERS:
                characters -= len(kept.pop(next(iter(kept))))
            await self._cache.put(_shard_key(self._key, shard), json.dumps(kept, ensure_ascii=False))

    def _keep(self, digest: str, note: str) -> None:
        self._current.setdefault(digest[0], {})[digest] = note

    async def _notes(self, shard: str) -> dict[str, str]:
        async with self._reading:
            if shard not in self._known:
                self._known[shard] = _parsed(await self._cache.get(_shard_key(self._key, shard)))
        return self._known[shard]


def _shard_key(key: str, shard: str) -> str:
    return f"{key}:{shard}"


def _parsed(stored: str | None) -> dict[str, str]:
    try:
        parsed = json.loads(stored) if stored else {}
    except ValueError:
        return {}
    if not isinstance(parsed, dict):
        return {}
    return {key: note for key, note in parsed.items() if isinstance(key, str) and isinstance(note, str)}

"""What sub-models said about chunks in earlier runs: an edited context pays only for the chunks that changed.

All notes for one owner, query and model lie under one key, so that a run reads and writes the cache once.
"""

from __future__ import annotations

import hashlib
import json

from rlm_worker.messages import ModelRequest
from rlm_worker.ports import ResultCache

from .prompts import PROMPT_VERSION

# The notes are read and written as one value, which an isolate of 128 MB holds several times over beside the run.
MAX_CHARACTERS = 2_000_000


class NoteCache:
    """Notes by the digest of the call that made them."""

    def __init__(self, cache: ResultCache, key: str, notes: dict[str, str]) -> None:
        self._cache = cache
        self._key = key
        self._known = notes
        self._current: dict[str, str] = {}

    @staticmethod
    def key_of(owner: str, query: str, model: str) -> str:
        digest = hashlib.sha256(json.dumps([owner, query, model, PROMPT_VERSION]).encode()).hexdigest()
        return f"map:{digest}"

    @classmethod
    async def load(cls, cache: ResultCache, key: str) -> NoteCache:
        return cls(cache, key, _notes(await cache.get(key)))

    def recall(self, request: ModelRequest) -> str | None:
        """What the model said to exactly this prompt, None where it was not asked."""
        digest = request.call_key()
        note = self._known.get(digest)
        if note is not None:
            self._current[digest] = note
        return note

    def remember(self, request: ModelRequest, note: str) -> None:
        self._current[request.call_key()] = note

    async def save(self) -> None:
        """Keeps the notes of this run, and the earlier ones that it did not meet as long as there is room."""
        if self._current.keys() <= self._known.keys():
            return
        kept = {**self._known, **self._current}
        characters = sum(map(len, kept.values()))
        while characters > MAX_CHARACTERS:
            characters -= len(kept.pop(next(iter(kept))))
        await self._cache.put(self._key, json.dumps(kept, ensure_ascii=False))


def _notes(stored: str | None) -> dict[str, str]:
    try:
        parsed = json.loads(stored) if stored else {}
    except ValueError:
        return {}
    if not isinstance(parsed, dict):
        return {}
    return {key: note for key, note in parsed.items() if isinstance(key, str) and isinstance(note, str)}

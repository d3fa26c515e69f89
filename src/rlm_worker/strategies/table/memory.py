"""What earlier runs over the same text have read: by tables and chunks, not by question.

Replies lie in the shards of a `NoteCache`; beside them the chunks' size, without which the same text would be cut
otherwise, and for a text that begins alike the tables that it was read into last.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from dataclasses import dataclass

from rlm_worker.journal.tables import CACHE_KEY, KNOWN_KEY, RowTable
from rlm_worker.messages import ModelRequest
from rlm_worker.ports import ResultCache
from rlm_worker.runs.run import Run
from rlm_worker.strategies.note_cache import NoteCache
from rlm_worker.tables.prompts import TABLE_PROMPT_VERSION

from .extraction import Extraction

# The bytes by which a text is known again, more documents behind it or not.
_BEGINNING = 4_096
_CUT, _WHOLE = "cut\n", "whole\n"
_STATE = "memory"


@dataclass(frozen=True, slots=True)
class Known:
    """Tables that a text was read into before, and what the root model was shown of them."""

    extraction: Extraction
    samples: tuple[str, ...]
    counts: str

    def to_json(self) -> str:
        kept = {"extraction": self.extraction.to_json(), "samples": self.samples, "counts": self.counts}
        return json.dumps(kept, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, owner: str) -> Known:
        kept = json.loads(text)
        return cls(Extraction.from_json(kept["extraction"], owner), tuple(kept["samples"]), kept["counts"])


class ExtractionMemory:
    """What one extraction has brought, by the digests of its calls."""

    def __init__(self, cache: ResultCache, key: str) -> None:
        self.key = key
        self._cache = cache
        self._replies = NoteCache(cache, key)

    @classmethod
    async def of(cls, run: Run, extraction: Extraction) -> ExtractionMemory | None:
        """The memory of a run; None where it is to remember nothing.

        It is that of one text, however that goes on: runs that read others into the same tables, as a batch does, would
        write the same keys at once, and a key takes one write a second.
        """
        if not run.job.config.use_cache:
            return None
        decides = [run.job.owner, extraction.to_json(), run.sub.id, run.job.config.chunk_overlap, TABLE_PROMPT_VERSION]
        return cls(run.ports.cache, f"rows:{_digest([*decides, await _beginning(run)])}")

    async def recall(self, request: ModelRequest) -> tuple[str, bool] | None:
        """What the model has said to exactly this prompt, and whether that was cut."""
        kept = await self._replies.recall(request)
        if kept is None:
            return None
        return _unpacked(kept.partition("\n")[2]), kept.startswith(_CUT)

    def remember(self, request: ModelRequest, reply: str, *, cut: bool) -> None:
        self._replies.remember(request, (_CUT if cut else _WHOLE) + _packed(reply))

    async def characters(self) -> int:
        """The size of the chunks; 0 where it is not known."""
        text = await self._cache.get(f"{self.key}:size")
        return int(text) if text and text.isdigit() else 0

    async def save(self, characters: int) -> None:
        await self._replies.save()
        await _put_once(self._cache, f"{self.key}:size", str(characters))


def _packed(reply: str) -> str:
    """Rows say the same words again and again: so 50,000 of them fit the shards."""
    return base64.b85encode(zlib.compress(reply.encode("utf-8", "surrogatepass"))).decode()


def _unpacked(packed: str) -> str:
    return zlib.decompress(base64.b85decode(packed)).decode("utf-8", "surrogatepass")


async def known_tables(run: Run) -> Known | None:
    """The tables that a text with this beginning was read into last."""
    if not run.job.config.use_cache:
        return None
    kept = await run.ports.cache.get(await _beginning_key(run))
    try:
        return Known.from_json(kept, run.job.owner) if kept else None
    except (ValueError, KeyError, TypeError):  # another version's
        return None


async def keep_tables(run: Run, known: Known) -> None:
    """Remembers the tables of a text, for the next question about it."""
    if run.job.config.use_cache and run.ports.rows is not None:
        key = await _beginning_key(run)
        run.ports.rows.set_state(KNOWN_KEY, key)
        await _put_once(run.ports.cache, key, known.to_json())


async def _put_once(cache: ResultCache, key: str, value: str) -> None:
    """Keeps a value; what is there already is not written again: a key takes one write a second."""
    if await cache.get(key) != value:
        await cache.put(key, value)


async def forget_memory(cache: ResultCache, rows: RowTable) -> None:
    """Deletes what a session's tables have left in the cache."""
    if key := rows.state(CACHE_KEY):
        await NoteCache.delete(cache, key)
        await cache.delete(f"{key}:size")
    if known := rows.state(KNOWN_KEY):
        await cache.delete(known)


async def _beginning_key(run: Run) -> str:
    models = [run.root.id, run.sub.id, TABLE_PROMPT_VERSION]
    told = run.job.table.instructions if run.job.table is not None else None
    return f"tables:{_digest([run.job.owner, await _beginning(run), *models, told])}"


async def _beginning(run: Run) -> str:
    """The digest of what a text begins with."""
    return hashlib.sha256(await run.reader.read(0, min(_BEGINNING, run.reader.manifest.bytes))).hexdigest()


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode("utf-8", "surrogatepass")).hexdigest()

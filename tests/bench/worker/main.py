"""A Worker that splits text as often as it is told: the benchmark's, and no part of the product.

PUT / keeps a text; POST /?by=NAME&size=N&times=N splits it and says how many chunks that made. The clock stands still
inside, so whoever calls takes the time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs, urlsplit

import js
from workers import WorkerEntrypoint

_kept: dict[str, str] = {}


def _ours(size: int) -> Callable[[str], int]:
    chunking = import_module("rlm_worker.text.chunker")
    return lambda text: sum(1 for _ in chunking.chunk_documents([(None, text)], chunking.ChunkBudget(size)))


def _semchunk(size: int) -> Callable[[str], int]:
    semchunk = import_module("semchunk")
    return lambda text: len(semchunk.chunk(text, size, len, memoize=False))


def _langchain(size: int) -> Callable[[str], int]:
    splitters = import_module("langchain_text_splitters.character")
    splitter = splitters.RecursiveCharacterTextSplitter(chunk_size=size, chunk_overlap=0)
    return lambda text: len(splitter.split_text(text))


_SPLITTERS = {"ours": _ours, "semchunk": _semchunk, "langchain": _langchain}


class Default(WorkerEntrypoint):
    """Answers with JSON; what fails says so as `error`."""

    async def fetch(self, request: Any) -> Any:
        if request.method == "PUT":
            _kept["text"] = await request.text()
            return _answer({"characters": len(_kept["text"])})
        asked = {name: values[0] for name, values in parse_qs(urlsplit(request.url).query).items()}
        try:
            split = _SPLITTERS[asked["by"]](int(asked["size"]))
            chunks = 0
            for _ in range(int(asked["times"])):
                chunks = split(_kept["text"])
        except Exception as error:  # noqa: BLE001 - a peer that cannot do it is a result too
            return _answer({"error": f"{type(error).__name__}: {error}"})
        return _answer({"chunks": chunks})


def _answer(said: dict[str, object]) -> Any:
    return js.Response.new(json.dumps(said))

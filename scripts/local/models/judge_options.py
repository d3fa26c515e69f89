"""`--judge NAME=URL`: a server on this machine that judges which chunks are worth reading, behind the AI binding."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from rlm_worker.models.catalog import Catalog
from scripts.local.models.answering import local_id
from scripts.local.runtime.run_config import Upstream

_FORM = re.compile(r"(?P<name>reranker|embeddings)=(?P<url>https?://\S+)")
# What such servers mostly hold, each in its own words: `POST URL/rerank` (Jina, llama.cpp), `POST URL/embeddings`.
_WINDOW = 512


def judge_upstreams(options: Iterable[str]) -> dict[str, Upstream]:
    """Where each judge's local model is asked, by its id; ValueError for an option of another form."""
    found: dict[str, Upstream] = {}
    for option in options:
        match = _FORM.fullmatch(option)
        if match is None:
            raise ValueError(f"reranker=URL or embeddings=URL is the form, not {option!r}")
        found[local_id(match["name"])] = Upstream(match["url"].rstrip("/"))
    return found


def judge_variables(upstreams: Mapping[str, Upstream]) -> dict[str, str]:
    """What the Worker's catalogue is told: who really judges, and that it charges nothing."""
    models: dict[str, object] = {}
    for model_id in upstreams:
        judge = Catalog.standard().judge("reranker" if model_id == local_id("reranker") else "embeddings")
        if judge is not None:
            free = {"window": _WINDOW, "input_price": 0.0, "output_price": 0.0, "source": "this machine"}
            models[model_id] = {**free, "task": judge.task, "aliases": [judge.id]}
    return {"MODEL_OVERRIDES": json.dumps(models)} if models else {}

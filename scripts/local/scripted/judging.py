"""How the scripted model judges texts: by the words that query and text share, or whose meanings they do."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence

from .calls import count_tokens

_DIMENSIONS = 64
_WORD = re.compile(r"\w+")


def judged_messages(body: Mapping[str, object]) -> tuple[tuple[str, object], ...]:
    """What a judge is asked, as the log shows it: the query and the texts; embeddings do not tell them apart."""
    questions = body.get("questions")
    asked = [str(question["instructions"]) for question in questions.values()] if isinstance(questions, dict) else []
    query = [str(body["query"])] if "query" in body else asked
    listed = body.get("documents", body.get("input", [body.get("state", "")]))
    texts = listed if isinstance(listed, list) else [listed]
    return (*(("query", text) for text in query), *(("text", str(text)) for text in texts))


def judgement(route: str, body: Mapping[str, object], meanings: Mapping[str, str]) -> dict[str, object]:
    """The answer to a body that was posted to `rerank`, `embeddings` or `decisions`, in the shape of that route."""
    messages = judged_messages(body)
    query = " ".join(str(text) for kind, text in messages if kind == "query")
    texts = [str(text) for kind, text in messages if kind == "text"]
    tokens = sum(count_tokens(text) for text in texts) + count_tokens(query) * (len(texts) if route == "rerank" else 1)
    return {**_answer(route, query, texts, body, meanings), "usage": {"prompt_tokens": tokens, "input_tokens": tokens}}


def _answer(
    route: str, query: str, texts: Sequence[str], body: Mapping[str, object], meanings: Mapping[str, str]
) -> dict[str, object]:
    if route == "embeddings":
        vectors = [vector(text, meanings) for text in texts]
        return {"data": [{"index": index, "embedding": embedding} for index, embedding in enumerate(vectors)]}
    scores = [likeness(query, text, meanings) for text in texts]
    if route == "rerank":
        return {"results": [{"index": index, "relevance_score": score} for index, score in enumerate(scores)]}
    questions = body.get("questions")
    names = list(questions) if isinstance(questions, dict) else []
    return {"answers": {name: {"noul": round(max(scores, default=0.0), 4)} for name in names}}


def likeness(query: str, text: str, meanings: Mapping[str, str]) -> float:
    """The share of a query's words, from 0 to 1, whose meaning a text has too."""
    asked = _meant(query, meanings)
    return len(asked & _meant(text, meanings)) / max(1, len(asked))


def vector(text: str, meanings: Mapping[str, str]) -> list[float]:
    """A vector of length 1 that says which words stand in a text."""
    found = [0.0] * _DIMENSIONS
    for word in _meant(text, meanings):
        digest = hashlib.sha256(word.encode()).digest()
        found[digest[0] % _DIMENSIONS] += 1.0 if digest[1] % 2 else -1.0
    length = math.hypot(*found) or 1.0
    return [round(number / length, 6) for number in found]


def _meant(text: str, meanings: Mapping[str, str]) -> set[str]:
    return {meanings.get(word, word) for word in _WORD.findall(text.lower()) if len(word) > 3}

"""What the fake Worker answers."""

from __future__ import annotations

from collections.abc import Mapping


def played(session_id: str, query: str, strategy: object = "map_reduce") -> list[tuple[str, object]]:
    if strategy == "repl":
        return [("session", {"sessionId": session_id}), *REPL, ("result", run_result(session_id, query))]
    plan = {"strategy": "map_reduce", "characters": 200_000, "chunks": 4, "chunkSize": 50_000}
    plan |= {"rootModel": "@cf/meta/llama-3.3-70b-instruct-fp8-fast", "subModel": "@cf/meta/llama-3.1-8b"}
    calls = [
        {"chunk": n, "chunks": 4, "done": n + 1, "status": "ok", "costUsd": 0.0001, "inputTokens": 12_000, "new": 1}
        for n in range(4)
    ]
    words = [("answer", {"delta": piece}) for piece in ("The answer to ", f"“{query}” ", "is **42**.")]
    result = run_result(session_id, query)
    return [
        ("session", {"sessionId": session_id}),
        ("plan", plan),
        *(("subcall", call) for call in calls),
        ("weather", {"sun": True}),
        *words,
        ("result", result),
    ]


def retried(events: list[tuple[str, object]]) -> list[tuple[str, object]]:
    """Return a run whose first answer broke off, so that the root model was asked again."""
    at = next(number for number, (kind, _) in enumerate(events) if kind == "answer")
    broken_off = [("answer", {"delta": "A broken attempt"}), ("answer", {"delta": "", "restart": True})]
    return [*events[:at], *broken_off, *events[at:]]


CITATIONS = [
    {
        "type": "char_location",
        "citedText": "Forty-two, said Deep Thought, with infinite majesty and calm, and nobody who had waited spoke.",
        "documentIndex": 0,
        "documentTitle": "documents/a very long folder/a.txt",
        "startCharIndex": 1_204,
        "endCharIndex": 1_297,
        "verified": True,
        "match": "exact",
        "answerStart": 0,
        "answerEnd": 12,
    },
    {
        "type": "char_location",
        "citedText": "six by nine",
        "documentIndex": 1,
        "startCharIndex": 7,
        "endCharIndex": 18,
        "verified": False,
        "match": "approximate",
    },
]


CHOSEN = {"task": "lookup", "taskBy": "rule", "language": "en", "reason": "the context is longer than chunkSize"}


def run_result(session_id: str, query: str) -> dict[str, object]:
    tokens = {"inputTokens": 48_000, "outputTokens": 400}
    usage = {"model": "@cf/meta/llama-3.1-8b", "calls": 4, **tokens, "costUsd": 0.0004}
    return {
        "success": True,
        "answer": f"The answer to “{query}” is **42**.",
        "citations": CITATIONS,
        "unlocated": [{"quote": '"so long, and thanks for all the fish"', "reason": "not_found"}],
        "iterations": 1,
        "subCalls": 4,
        "cachedSubCalls": 0,
        "totalInputTokens": 50_000,
        "totalOutputTokens": 500,
        "neurons": 91.5,
        "costUsd": 0.0009,
        "durationMs": 8_400,
        "cacheHit": False,
        "sessionId": session_id,
        "strategy": "map_reduce",
        "rootModel": "@cf/meta/llama-3.3-70b-instruct-fp8-fast",
        "subModel": "@cf/meta/llama-3.1-8b",
        "chunks": 4,
        "coverage": 1.0,
        "truncated": False,
        "warnings": [],
        "models": [{**usage, "estimated": False}],
        "routing": {**CHOSEN, "policy": "cheapest", "rule": "cheapest", "fallbacks": [ROOT]},
    }


ROOT = "@cf/meta/llama-3.3-70b-instruct-fp8-fast"
CELL = """for name, text in context.documents():
    if "needle" in text:
        print(name, text.find("needle"))
        break"""
REPL: list[tuple[str, object]] = [
    ("plan", {"strategy": "repl", "characters": 200_000, "rootModel": ROOT, "subModel": "@cf/meta/llama-3.1-8b"}),
    (
        "iteration",
        {"iteration": 1, "code": CELL, "output": "src/hay.py 1207\n", "costUsd": 0.0004, "durationMs": 1_200},
    ),
    ("subcall", {"chunk": 0, "chunks": 0, "done": 1, "status": "ok", "costUsd": 0.0001}),
    ("iteration", {"iteration": 1, "code": "FINAL(6)", "output": "", "costUsd": 0, "durationMs": 8, "parent": "1.1"}),
    ("iteration", {"iteration": 2, "code": "FINAL(42)", "output": "", "costUsd": 0.0003, "durationMs": 900}),
]
HEALTHY = {"status": "ok", "service": "rlm-worker", "version": "1.2.3"}


def previewed(config: Mapping[str, object]) -> dict[str, object]:
    """What a Worker would choose: by `cheapest` its second model alone, else its first and its second."""
    root, sub = str(MODELS[0]["id"]), str(MODELS[1]["id"])
    usual = {"policy": "default", "strategy": "auto", "rootModel": root, "subModel": sub}
    cheap = {**usual, "policy": "cheapest", "rule": "cheapest", "rootModel": sub}
    chosen = cheap if config.get("routing") == "cheapest" else usual
    return {"routing": chosen, "alternatives": {"cheapest": cheap, "best": {**usual, "policy": "best", "rule": "best"}}}


MODELS = [
    {
        "id": "@cf/meta/llama-3.3-70b-instruct-fp8-fast",
        "object": "model",
        "window": 24_000,
        "inputPrice": 0.293,
        "outputPrice": 2.253,
        "aliases": ["llama-3.1-70b"],
        "dated": "2026-10-01",
    },
    {
        "id": "@cf/meta/llama-3.1-8b",
        "object": "model",
        "window": 32_000,
        "inputPrice": 0.045,
        "outputPrice": 0.384,
        "aliases": ["llama-3.1-8b"],
        "dated": "2026-10-01",
    },
]

SANDBOXES = [{"parent": None, "openedAt": "2026-10-01T12:00:00Z", "costUsd": 0.002}]
FAILED_ATTEMPTS = [
    {
        "role": "sub",
        "model": "@cf/meta/llama-3.1-8b-instruct-fp8-fast",
        "reason": "3007: no answer in 120 s",
        "inputTokens": 900,
        "outputTokens": 512,
        "estimated": True,
        "costUsd": 0.00024,
    }
]
TRAJECTORY = [
    {
        "id": "c1",
        "parent": None,
        "kind": "sub",
        "model": "@cf/meta/llama-3.1-8b",
        "prompt": "Copy out what helps.",
        "response": "forty-two",
        "inputTokens": 12_000,
        "outputTokens": 9,
        "costUsd": 0.0001,
        "durationMs": 900,
        "startedAt": "2026-10-01T12:00:01Z",
    },
    {
        "id": "c2",
        "parent": "c1",
        "kind": "root",
        "model": "@cf/meta/llama-3.3-70b-instruct-fp8-fast",
        "prompt": [{"role": "user", "content": "Answer."}],
        "response": "42",
        "inputTokens": 200,
        "outputTokens": 3,
        "costUsd": 0.0005,
        "durationMs": 2_100,
        "startedAt": "2026-10-01T12:00:03Z",
    },
]

"""`POST /rlm` from end to end in the real runtime: R2, chunks, fan-out, synthesis, cache, log."""

from __future__ import annotations

import json
import unicodedata

import httpx
import pytest

from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.model import ScriptedModel
from scripts.local.scripted.rules import counter, fixed
from tests.worker.conftest import StartWorker
from tests.worker.texts import NOISE, haystack, needle

pytestmark = pytest.mark.worker
ROOT = "@cf/meta/llama-3.3-70b-instruct-fp8-fast"
SUB = "@cf/meta/llama-3.1-8b-instruct-fp8-fast"
QUESTION = "What is the special magic number for amber-fox?"


def ask(http: httpx.Client, context: object, query: str = QUESTION, **config: object) -> dict[str, object]:
    answer = http.post("/rlm", json={"context": context, "query": query, "config": config})
    assert answer.status_code == 200, answer.text
    result: dict[str, object] = answer.json()
    return result


def test_small_context_is_one_call(http: httpx.Client, scripted: ScriptedModel) -> None:
    result = ask(http, haystack(5_000, needle(), at=0.5))
    assert "7481932" in str(result["answer"])
    assert (result["strategy"], result["iterations"], result["subCalls"], result["chunks"]) == ("direct", 1, 0, 1)
    assert [entry.call.model for entry in scripted.calls] == [ROOT]


def test_needle_in_last_chunk(http: httpx.Client, scripted: ScriptedModel) -> None:
    result = ask(http, haystack(2_000_000, needle()))
    assert "7481932" in str(result["answer"])
    assert result["strategy"] == "map_reduce"
    assert result["coverage"] == 1
    assert result["chunks"] == result["subCalls"] == len([e for e in scripted.calls if e.call.model == SUB])
    assert result["chunks"] in range(40, 60)
    assert result["warnings"] == []


def test_numbers_match_the_models_log(http: httpx.Client, scripted: ScriptedModel) -> None:
    result = ask(http, haystack(180_000, needle()))
    assert result["totalInputTokens"] == sum(entry.call.prompt_tokens for entry in scripted.answered)
    prices = {ROOT: (0.293, 2.253), SUB: (0.045, 0.384)}
    usage = {u["model"]: u for u in result["models"]}  # type: ignore[attr-defined]
    expected = sum((u["inputTokens"] * prices[m][0] + u["outputTokens"] * prices[m][1]) / 1e6 for m, u in usage.items())
    assert result["costUsd"] == pytest.approx(expected, rel=1e-6)
    assert result["estimated"] is False


def test_characters_stay_whole(http: httpx.Client, scripted: ScriptedModel) -> None:
    family, flag, letter = "👩‍👩‍👧‍👦", "🇨🇭", "e\u0301"
    # Numbered, because equal chunks would be sent once.
    text = "".join(f"{number}{family}漢字かな{flag}한국어{letter}。" for number in range(9_000))[:130_000] + needle()
    result = ask(http, text, chunkSize=7_001)
    assert result["coverage"] == 1
    sent = [entry.call.user for entry in scripted.calls if entry.call.model == SUB]
    bodies = [prompt.split("\n", 1)[1].rsplit("\n", 4)[0] for prompt in sent]
    bodies.sort(key=text.index)
    assert "".join(bodies) == text
    for body in bodies:
        assert not unicodedata.combining(body[0])
        assert body[0] not in ("\u200d", "\ufe0f")
        assert not body.endswith("\u200d")


def test_documents_keep_their_names(http: httpx.Client, scripted: ScriptedModel) -> None:
    documents = [{"name": f"notes/{n}.md", "text": haystack(30_000)} for n in range(4)]
    documents.append({"name": "keys/secret plans.md", "text": needle()})
    result = ask(http, documents)
    assert "7481932" in str(result["answer"])
    prompts = "".join(entry.call.user for entry in scripted.calls)
    assert '"keys/secret plans.md"' in prompts


def test_list_of_strings_is_read(http: httpx.Client) -> None:
    assert "7481932" in str(ask(http, [haystack(500), needle(), haystack(500)])["answer"])


def test_snake_case_is_accepted(http: httpx.Client) -> None:
    result = ask(http, haystack(60_000, needle()), max_sub_calls=50, chunk_size=10_000)
    assert result["subCalls"] == result["chunks"]
    assert int(str(result["chunks"])) >= 6


def test_same_request_is_cached(http: httpx.Client, scripted: ScriptedModel) -> None:
    context = haystack(120_000, needle("grey-owl", "11"))
    first = ask(http, context)
    calls = len(scripted.calls)
    second = ask(http, context)
    assert (first["cacheHit"], second["cacheHit"]) == (False, True)
    assert second["answer"] == first["answer"]
    assert second["costUsd"] == 0
    assert len(scripted.calls) == calls


def test_cache_can_be_bypassed(http: httpx.Client, scripted: ScriptedModel) -> None:
    context = haystack(3_000, needle("red-hen", "12"))
    ask(http, context)
    again = ask(http, context, useCache=False)
    assert again["cacheHit"] is False
    assert len(scripted.calls) == 2


def test_shared_beginnings_do_not_collide(http: httpx.Client) -> None:
    beginning = haystack(60_000)
    one = ask(http, beginning + needle("amber-fox", "1"))
    other = ask(http, beginning + needle("amber-fox", "2"))
    assert one["sessionId"] != other["sessionId"]
    assert other["cacheHit"] is False
    assert "is: 2." in str(other["answer"])


def test_config_changes_the_session(http: httpx.Client) -> None:
    context = haystack(2_000, needle())
    assert ask(http, context)["sessionId"] != ask(http, context, temperature=0.5)["sessionId"]


def test_notes_are_reduced_in_a_tree(http: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.rules = [lambda call: "evidence " * 350 if call.model == SUB else "merged " * 60]
    result = ask(http, haystack(1_500_000), "everything?", chunkSize=30_000, maxOutputTokens=800)
    roots = [entry.call for entry in scripted.calls if entry.call.model == ROOT]
    assert result["iterations"] == len(roots)
    assert len(roots) > 2
    assert all(call.prompt_tokens + (call.max_tokens or 0) <= 24_000 for call in roots)


def test_window_bounds_the_chunks(start_worker: StartWorker, scripted: ScriptedModel) -> None:
    scripted.window = 4_000
    worker = start_worker(vars={"MODEL_OVERRIDES": json.dumps({SUB: {"window": 4_000}})})
    with httpx.Client(base_url=worker.url, timeout=60) as http:
        result = ask(http, haystack(120_000, needle()))
    assert result["coverage"] == 1
    assert all(entry.outcome == "ok" for entry in scripted.calls)


def test_unknown_window_is_survived(http: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.window = 6_000
    result = ask(http, haystack(120_000, needle()))
    assert result["coverage"] == 1
    assert "7481932" in str(result["answer"])


def test_missing_usage_is_marked(http: httpx.Client, scripted: ScriptedModel) -> None:
    from scripts.local.scripted.calls import Reply

    scripted.rules = [lambda call: Reply("blue", usage={})]
    result = ask(http, haystack(900), "what colour is the sky here?")
    assert result["estimated"] is True
    assert int(str(result["totalInputTokens"])) > 0


def test_newer_answer_shape_is_read(http: httpx.Client) -> None:
    result = ask(http, haystack(900, needle()), rootModel="gpt-oss-20b")
    assert result["rootModel"] == "@cf/openai/gpt-oss-20b"
    assert "7481932" in str(result["answer"])


def test_counts_add_up(http: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.rules = [counter(r"everybody has known")]
    context = haystack(200_000)
    result = ask(http, context, "how often is it said?")
    assert result["answer"] == f"count: {context.count(NOISE)}"


def test_root_failure_is_no_500(http: httpx.Client, scripted: ScriptedModel) -> None:
    from scripts.local.scripted.faults import Fault

    scripted.faults = [Fault(5016, model=ROOT)]
    answer = http.post("/rlm", json={"context": haystack(1_200), "query": "what?"})
    assert answer.status_code == 502
    assert answer.json()["error"]["type"] == "model_refused"
    assert answer.json()["success"] is False


def test_log_tells_no_secrets(worker: DevProcess, http: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.rules = [fixed("the answer nobody logs")]
    result = ask(http, "a context that nobody logs " * 5_000, "a query that nobody logs")
    lines = [line for line in worker.log().splitlines() if str(result["sessionId"]) in line]
    entry = json.loads(lines[-1])
    assert entry["event"] == "request"
    assert {"sessionId", "status", "strategy", "subCalls", "costUsd", "durationMs"} <= entry.keys()
    assert "nobody logs" not in worker.log()

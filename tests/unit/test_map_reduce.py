"""Reading chunk by chunk, and the answer from what was found."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from rlm_worker.errors import InputTooLarge, RetryableError, TerminalError
from rlm_worker.messages import ModelReply, ModelRequest
from rlm_worker.models.catalog import Catalog
from rlm_worker.ports import Deployment
from rlm_worker.testing import FunctionModel, ManualClock, MemoryCache, MemoryEvents, memory_ports, reply_of
from rlm_worker.wire.results import RunResult

NEEDLE = "One of the special magic numbers for amber-fox is: 7481932."
NOISE = "The grass is green and the sky is blue, as everybody has known for a long time. "
RunOn = Callable[..., Awaitable[RunResult]]


def haystack(characters: int, *, at: float = 0.99) -> str:
    sentences = [f"{number}. {NOISE}" for number in range(characters // (len(NOISE) + 5))]
    sentences.insert(int(len(sentences) * at), NEEDLE + " ")
    return "".join(sentences)


def finder(request: ModelRequest) -> ModelReply:
    """Quotes needles as a reader, repeats them as the one who answers."""
    data = request.messages[-1].content
    found = re.findall(r"One of the special magic numbers for [\w-]+ is: \d+\.", data)
    return reply_of(request, " ".join(dict.fromkeys(found)) or "NONE")


async def test_needle_is_found(run_on: RunOn) -> None:
    model = FunctionModel(finder)
    result = await run_on(memory_ports(model), haystack(400_000), "What is the number for amber-fox?")
    assert result.success
    assert "7481932" in (result.answer or "")
    assert result.strategy == "map_reduce"
    assert result.sub_calls == result.chunks == len(model.asked("map"))
    assert result.iterations == 1
    assert result.coverage == 1
    assert not result.warnings


async def test_numbers_are_reported_ones(run_on: RunOn) -> None:
    model = FunctionModel(finder)
    ports = memory_ports(model)
    result = await run_on(ports, haystack(200_000), "number for amber-fox?")
    assert result.total_input_tokens == sum(request.characters() // 4 + 1 for request in model.requests)
    assert result.cost_usd == pytest.approx(sum(usage.cost_usd for usage in result.models))
    assert not result.estimated


async def test_missing_usage_is_marked(run_on: RunOn) -> None:
    model = FunctionModel(lambda request: reply_of(request, "NONE", usage=False))
    result = await run_on(memory_ports(model), haystack(120_000), "anything?")
    assert result.estimated
    assert result.total_input_tokens > 0


async def test_empty_chunks_cost_no_synthesis(run_on: RunOn) -> None:
    model = FunctionModel(finder)
    await run_on(memory_ports(model), haystack(500_000), "number for amber-fox?")
    (final,) = model.asked("synthesize")
    assert final.messages[-1].content.count("[note ") == 1


async def test_reduce_is_a_tree(run_on: RunOn) -> None:
    def verbose(request: ModelRequest) -> ModelReply:
        words = "evidence " * 400 if request.kind == "map" else "merged " * 40
        return reply_of(request, words)

    model = FunctionModel(verbose)
    result = await run_on(memory_ports(model), haystack(2_400_000), "what?", chunkSize=40_000, maxOutputTokens=900)
    assert result.success
    assert len(model.asked("reduce")) > 1
    assert result.iterations == len(model.asked("reduce")) + 1
    window = Catalog.standard().find("llama-3.1-70b")
    assert window is not None
    for request in model.asked("reduce") + model.asked("synthesize"):
        assert request.characters() // 4 + request.max_output_tokens <= window.window


async def test_paid_merges_need_no_turns(run_on: RunOn) -> None:
    """A run that goes on counts only the merges that are still to be paid against its iterations."""

    def answer(request: ModelRequest) -> ModelReply:
        if request.kind == "synthesize" and model.asked("synthesize") == [request] and dies:
            raise SystemError
        words = {"map": "evidence " * 400, "reduce": "merged " * 40}
        return reply_of(request, words.get(request.kind, "done"))

    text, dies = haystack(2_400_000), False
    model = FunctionModel(answer)
    config: dict[str, object] = {"chunkSize": 40_000, "maxOutputTokens": 900}
    turns = (await run_on(memory_ports(model), text, "what?", **config)).iterations
    model.requests.clear()
    ports, dies = memory_ports(model), True
    with pytest.raises(SystemError):
        await run_on(ports, text, "what?", maxIterations=turns, **config)
    assert len(model.asked("reduce")) == turns - 1
    model.requests.clear()
    dies = False
    result = await run_on(ports, text, "what?", maxIterations=turns, **config)
    assert not result.truncated
    assert [request.kind for request in model.requests] == ["synthesize"]


async def test_iteration_limit_still_answers(run_on: RunOn) -> None:
    model = FunctionModel(lambda request: reply_of(request, "evidence " * 400 if request.kind == "map" else "done"))
    result = await run_on(
        memory_ports(model), haystack(2_400_000), "what?", chunkSize=40_000, maxOutputTokens=900, maxIterations=1
    )
    assert result.success
    assert result.truncated
    assert any("maxIterations" in warning for warning in result.warnings)


async def test_chunks_grow_to_keep_calls(run_on: RunOn) -> None:
    model = FunctionModel(finder)
    result = await run_on(memory_ports(model), haystack(300_000), "amber-fox?", chunkSize=5_000, maxSubCalls=10)
    assert result.sub_calls <= 10
    assert result.coverage == 1
    assert "7481932" in (result.answer or "")


async def test_relevant_chunks_come_first(run_on: RunOn) -> None:
    model = FunctionModel(finder)
    result = await run_on(memory_ports(model), haystack(3_000_000, at=0.7), "number for amber-fox?", maxSubCalls=3)
    assert result.sub_calls == 3
    assert "7481932" in (result.answer or "")
    assert result.coverage < 1
    assert result.truncated
    assert result.chunk_order is not None
    assert len(result.chunk_order) == 3
    assert any("characters were read" in warning for warning in result.warnings)


async def test_failed_chunks_are_reported(run_on: RunOn) -> None:
    def failing(request: ModelRequest) -> ModelReply:
        if request.kind == "map" and request.span and request.span.index == 2:
            raise TerminalError("bad input", 5004)
        return finder(request)

    result = await run_on(memory_ports(FunctionModel(failing)), haystack(400_000), "amber-fox?")
    assert result.success
    assert result.coverage < 1
    assert any("chunk 2" in warning and "5004" in warning for warning in result.warnings)


async def test_nothing_read_is_failure(run_on: RunOn) -> None:
    def failing(request: ModelRequest) -> ModelReply:
        raise TerminalError("not allowed", 5016)

    result = await run_on(memory_ports(FunctionModel(failing)), haystack(200_000), "what?")
    assert not result.success
    assert result.error is not None
    assert result.error.type == "model_refused"
    assert result.cost_usd == 0


async def test_capacity_goes_to_fallback(run_on: RunOn) -> None:
    def full(request: ModelRequest) -> ModelReply:
        if request.model.id.endswith("fp8-fast") and request.role == "sub":
            raise RetryableError("no capacity", 3040, capacity=True, fallback=True)
        return finder(request)

    result = await run_on(memory_ports(FunctionModel(full)), haystack(200_000), "amber-fox?")
    assert result.success
    assert "@cf/meta/llama-3.1-8b-instruct-fp8" in {usage.model for usage in result.models}


async def test_large_chunk_is_split(run_on: RunOn) -> None:
    def narrow(request: ModelRequest) -> ModelReply:
        if request.kind == "map" and request.characters() > 30_000:
            raise InputTooLarge("prompt too long", 3006)
        return finder(request)

    result = await run_on(memory_ports(FunctionModel(narrow)), haystack(200_000), "number for amber-fox?")
    assert result.coverage == 1
    assert "7481932" in (result.answer or "")


async def test_cost_limit_holds(run_on: RunOn) -> None:
    for limit in (0.0003, 0.001, 0.005, 0.02):
        model = FunctionModel(finder)
        result = await run_on(memory_ports(model), haystack(2_000_000), "number for amber-fox?", maxCostUsd=limit)
        assert result.cost_usd <= limit
        assert result.success
        assert result.truncated
        assert result.sub_calls > 0
        assert any("maxCostUsd" in warning for warning in result.warnings)


async def test_deadline_answers_from_read(run_on: RunOn) -> None:
    ports = memory_ports(FunctionModel(finder))
    ports = replace(ports, clock=RealClock(), deployment=replace(ports.deployment, max_concurrency=2))

    async def slow(request: ModelRequest) -> ModelReply:
        await asyncio.sleep(0.05)
        return finder(request)

    ports = replace(ports, model=FunctionModel(slow))
    result = await run_on(ports, haystack(2_000_000, at=0.0), "amber-fox?", timeoutSeconds=0.6, maxSubCalls=60)
    assert result.success
    assert result.truncated
    assert 0 < result.coverage < 1
    assert any("timeoutSeconds" in warning for warning in result.warnings)


async def test_edit_pays_only_changes(run_on: RunOn) -> None:
    documents: list[tuple[str | None, str]] = [(f"doc-{n}.txt", f"{n} " + haystack(2_000)) for n in range(200)]
    cache = MemoryCache()
    first = await run_on(
        replace(memory_ports(FunctionModel(finder)), cache=cache), documents, "amber-fox?", chunkSize=20_000
    )
    documents[100] = ("doc-100.txt", "edited " + documents[100][1])
    second = await run_on(
        replace(memory_ports(FunctionModel(finder)), cache=cache), documents, "amber-fox?", chunkSize=20_000
    )
    assert first.sub_calls > 15
    assert second.sub_calls <= 3
    assert second.cached_sub_calls + second.sub_calls == second.chunks


async def test_events_tell_progress(run_on: RunOn) -> None:
    ports = memory_ports(FunctionModel(finder))
    await run_on(ports, haystack(300_000), "amber-fox?")
    events = ports.events
    assert isinstance(events, MemoryEvents)
    (plan,) = events.of_kind("plan")
    subcalls = events.of_kind("subcall")
    assert [event["done"] for event in subcalls] == list(range(1, len(subcalls) + 1))
    assert plan["strategy"] == "map_reduce"
    assert {event["status"] for event in subcalls} == {"ok", "none"}


async def test_progress_never_exceeds_total(run_on: RunOn) -> None:
    """There may be more chunks than was estimated, and the last ones may be read first."""

    async def backwards(request: ModelRequest) -> ModelReply:
        await asyncio.sleep(0.02 / (request.span.index + 1) if request.span else 0)
        return finder(request)

    ports = memory_ports(FunctionModel(backwards))
    result = await run_on(ports, haystack(70_000), "amber-fox?", chunkSize=9_000)
    assert isinstance(ports.events, MemoryEvents)
    (plan,) = ports.events.of_kind("plan")
    assert result.chunks > int(str(plan["chunks"]))
    told = [(int(str(event["done"])), int(str(event["chunks"]))) for event in ports.events.of_kind("subcall")]
    assert all(done <= chunks for done, chunks in told)
    assert [chunks for _, chunks in told] == sorted(chunks for _, chunks in told)


async def test_passing_faults_are_retried(run_on: RunOn) -> None:
    failures = {"left": 40}

    def flaky(request: ModelRequest) -> ModelReply:
        if failures["left"] and request.characters() % 2:
            failures["left"] -= 1
            raise RetryableError("time-out", 3007, fallback=True, work="unfinished")
        return finder(request)

    clock = ManualClock()
    ports = replace(memory_ports(FunctionModel(flaky), deployment=replace(Deployment(), attempts=50)), clock=clock)
    result = await run_on(ports, haystack(300_000), "amber-fox?")
    assert result.coverage == 1
    assert failures["left"] < 40


class RealClock:
    """The machine's time, for what waits for real."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

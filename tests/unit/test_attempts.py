"""Every attempt that was sent is booked, whatever came of it; nothing is sent that the budget does not cover."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest

from rlm_worker.budget.funding import UNLIMITED_USD, Funds, Grant, Unlimited
from rlm_worker.budget.ledger import Ledger, UsageLimits
from rlm_worker.errors import RetryableError, TerminalError
from rlm_worker.journal.session import SessionJournal
from rlm_worker.messages import CallUsage, ModelReply, ModelRequest, OutputExhausted, UnusableReply
from rlm_worker.models.calls import Coalesced
from rlm_worker.models.catalog import Catalog
from rlm_worker.models.stack import ModelStack
from rlm_worker.ports import DeltaSink, Deployment
from rlm_worker.runs.run import RunPorts
from rlm_worker.testing import (
    FunctionModel,
    ManualClock,
    MemoryAccounts,
    SqliteDatabase,
    memory_ports,
    reply_of,
    unpaced,
)
from rlm_worker.wire.results import RunResult
from tests.unit.test_funding import accounts
from tests.unit.test_map_reduce import RealClock, finder, haystack
from tests.unit.test_session import Storage, a_job, answering, open_session

RunOn = Callable[..., Awaitable[RunResult]]
USAGE = CallUsage(1_000, 10)


@dataclass
class Till:
    """What a provider would have billed."""

    usd: float = 0.0
    calls: Counter[str] = field(default_factory=Counter)

    def bill(self, request: ModelRequest, usage: CallUsage) -> None:
        self.usd += request.model.cost(usage.input_tokens, usage.output_tokens)
        self.calls[request.key()] += 1


def journal_of(ports: RunPorts) -> SessionJournal:
    assert isinstance(ports.journal, SessionJournal)
    return ports.journal


def patient(model: FunctionModel, attempts: int = 9) -> RunPorts:
    return memory_ports(model, deployment=replace(Deployment(), attempts=attempts, call_timeout_seconds=5.0))


def failing_first(till: Till, times: int, error: Callable[[], Exception]) -> Callable[[ModelRequest], ModelReply]:
    """Fails so many times at each prompt, billed, and answers then."""

    def answer(request: ModelRequest) -> ModelReply:
        if request.role == "sub" and till.calls[request.key()] < times:
            till.bill(request, USAGE)
            raise error()
        reply = finder(request)
        assert reply.usage is not None
        till.bill(request, reply.usage)
        return reply

    return answer


async def test_empty_replies_are_booked(run_on: RunOn) -> None:
    till = Till()
    ports = patient(FunctionModel(failing_first(till, 2, lambda: UnusableReply("nothing", usage=USAGE))))
    result = await run_on(ports, haystack(200_000), "number for amber-fox?")
    assert result.coverage == 1
    assert result.cost_usd == pytest.approx(till.usd)
    assert journal_of(ports).paid_usd() == pytest.approx(till.usd)
    assert sum(usage.cost_usd for usage in result.models) == pytest.approx(till.usd)
    assert result.sub_calls == result.chunks
    assert not result.estimated


async def test_nothing_but_empty_replies(run_on: RunOn) -> None:
    """What was paid is told although nothing came of it, and never more than allowed."""
    till = Till()
    ports = patient(FunctionModel(failing_first(till, 99, lambda: UnusableReply("nothing", usage=USAGE))))
    result = await run_on(ports, haystack(200_000), "number for amber-fox?", maxCostUsd=0.004)
    assert not result.success
    assert result.cost_usd == pytest.approx(till.usd)
    assert 0 < till.usd <= 0.004


async def test_unreported_failures_are_estimated(run_on: RunOn) -> None:
    till = Till()
    ports = patient(FunctionModel(failing_first(till, 1, lambda: UnusableReply("broke off", text="One of the"))))
    result = await run_on(ports, haystack(120_000), "number for amber-fox?")
    assert result.coverage == 1
    assert result.estimated
    assert result.total_input_tokens > sum(request.characters() // 4 for request in ports.model.requests) * 0.8  # type: ignore[attr-defined]


async def test_timed_out_attempts_count(run_on: RunOn) -> None:
    slow: Counter[str] = Counter()

    async def sluggish(request: ModelRequest) -> ModelReply:
        slow[request.call] += 1
        if request.role == "sub" and slow[request.call] == 1:
            await asyncio.sleep(3_600)
        return finder(request)

    model = FunctionModel(sluggish)
    ports = memory_ports(model, deployment=replace(Deployment(), call_timeout_seconds=0.05))
    result = await run_on(ports, haystack(120_000), "number for amber-fox?")
    sub = Catalog.standard().find("llama-3.1-8b")
    assert sub is not None
    assert result.coverage == 1
    assert result.estimated
    assert result.cost_usd > len(model.asked("map")) / 2 * sub.cost(0, 512)
    calls = {totals.model: totals.calls for totals in result.models}
    assert calls[sub.id] == calls[sub.fallback or ""] == len(model.asked("map")) / 2 == result.sub_calls


async def test_refused_attempts_are_free(run_on: RunOn) -> None:
    till = Till()

    def refusing(request: ModelRequest) -> ModelReply:
        till.calls[request.key()] += 1
        if till.calls[request.key()] < 3 and request.role == "sub":
            raise RetryableError("too many requests", 3021, capacity=True)
        return finder(request)

    result = await run_on(patient(FunctionModel(refusing)), haystack(120_000), "number for amber-fox?")
    assert result.cost_usd == pytest.approx(sum(usage.cost_usd for usage in result.models))
    assert sum(usage.calls for usage in result.models) == result.sub_calls + result.iterations
    assert not result.estimated


async def test_retries_reserve_anew(run_on: RunOn) -> None:
    """Of nine attempts only as many are sent as the budget covers."""
    till = Till()

    def empty(request: ModelRequest) -> ModelReply:
        usage = CallUsage(len(request.messages[-1].content), request.max_output_tokens)
        till.bill(request, usage)
        raise UnusableReply("nothing", usage=usage)

    result = await run_on(patient(FunctionModel(empty)), haystack(45_000), "?", maxCostUsd=0.006)
    assert result.error is not None
    assert till.usd <= 0.006
    assert result.cost_usd == pytest.approx(till.usd)


async def test_fallback_reserves_anew(run_on: RunOn) -> None:
    """The dearer model is not asked where only the cheaper one is covered."""
    till = Till()

    def full(request: ModelRequest) -> ModelReply:
        if request.model.id.endswith("fp8-fast") and request.role == "sub":
            raise RetryableError("no capacity", 3040, capacity=True, fallback=True)
        till.bill(request, CallUsage(request.characters() + 50, request.max_output_tokens))
        return ModelReply("NONE", request.model.id, CallUsage(request.characters() + 50, request.max_output_tokens))

    result = await run_on(patient(FunctionModel(full)), haystack(300_000), "?", maxCostUsd=0.01)
    assert till.usd <= 0.01
    assert result.cost_usd == pytest.approx(till.usd)


async def test_failed_attempts_survive_crash() -> None:
    """A resumed run tells what its earlier life has paid in vain."""
    storage = Storage(SqliteDatabase())
    till = Till()
    broken = True

    def answer(request: ModelRequest) -> ModelReply:
        if broken and request.role == "root":
            till.bill(request, USAGE)
            raise UnusableReply("nothing", usage=USAGE)
        reply = answering(request)
        assert reply.usage is not None
        till.bill(request, reply.usage)
        return reply

    session = open_session(storage, FunctionModel(answer))
    await session.start(await a_job(), context_stored=True)
    first = await session.wait()
    assert first.error is not None
    assert first.cost_usd == pytest.approx(till.usd)
    broken = False
    again = open_session(Storage(storage.database.copy()), FunctionModel(answer))
    await again.start(await a_job(), context_stored=True)
    second = await again.wait()
    assert second.answer == "blue"
    assert second.cost_usd == pytest.approx(till.usd)
    assert second.iterations == 1
    assert again.state().iterations == 1


async def test_failed_attempts_burden_key() -> None:
    purse = accounts(5.0)
    till = Till()
    model = FunctionModel(failing_first(till, 2, lambda: UnusableReply("nothing", usage=USAGE)))
    session = open_session(Storage(SqliteDatabase()), model, accounts=purse)
    await session.start(await a_job(), context_stored=True)
    result = await session.wait()
    assert result.cost_usd == pytest.approx(till.usd)
    assert (await purse.state("tester"))["spentTodayUsd"] == pytest.approx(till.usd)


async def test_daily_cap_covers_failures() -> None:
    purse: MemoryAccounts = accounts(0.004)
    till = Till()
    model = FunctionModel(failing_first(till, 99, lambda: UnusableReply("nothing", usage=USAGE)))
    session = open_session(Storage(SqliteDatabase()), model, accounts=purse)
    await session.start(await a_job(), context_stored=True)
    await session.wait()
    assert 0 < till.usd <= 0.004
    assert (await purse.state("tester"))["spentTodayUsd"] == pytest.approx(till.usd)


async def test_exhausted_output_gets_room(run_on: RunOn) -> None:
    """A model that thinks longer than it may write is asked once more, with room for more."""

    def thinking(request: ModelRequest) -> ModelReply:
        if request.max_output_tokens < 2_000:
            raise OutputExhausted("no word", CallUsage(100, request.max_output_tokens))
        return ModelReply("blue", request.model.id, CallUsage(100, 1_800))

    model = FunctionModel(thinking)
    result = await run_on(patient(model), haystack(3_000), "what colour is the sky?")
    assert result.answer == "blue"
    assert [request.max_output_tokens for request in model.requests] == [1_024, 4_096]
    assert result.total_output_tokens == 1_024 + 1_800
    assert not result.truncated
    assert result.iterations == 1


async def test_exhausted_output_ends_clearly(run_on: RunOn) -> None:
    def thinking(request: ModelRequest) -> ModelReply:
        raise OutputExhausted("used all tokens: raise maxOutputTokens", CallUsage(100, request.max_output_tokens))

    model = FunctionModel(thinking)
    result = await run_on(patient(model), haystack(3_000), "what colour is the sky?")
    assert len(model.requests) == 2
    assert result.error is not None
    assert (result.error.type, "maxOutputTokens" in result.error.message) == ("model_refused", True)
    poor = FunctionModel(thinking)
    result = await run_on(patient(poor), haystack(3_000), "what colour is the sky?", maxCostUsd=0.004)
    assert result.error is not None
    assert "maxOutputTokens" in result.error.message
    assert 0 < result.cost_usd <= 0.004


async def test_equal_prompts_are_one_call(run_on: RunOn) -> None:
    documents: list[tuple[str | None, str]] = [("same.txt", haystack(9_000)) for _ in range(10)]

    async def slow(request: ModelRequest) -> ModelReply:
        await asyncio.sleep(0.01)
        return finder(request)

    model = FunctionModel(slow)
    result = await run_on(memory_ports(model), documents, "amber-fox?", chunkSize=9_100, strategy="map_reduce")
    distinct = {request.key() for request in model.requests}
    assert len(model.requests) == len(distinct)
    assert result.coverage == 1
    assert result.chunks >= 10
    assert result.sub_calls == len(model.asked("map"))
    assert result.sub_calls + result.cached_sub_calls == result.chunks
    assert result.cost_usd == pytest.approx(
        sum(request.model.cost(*_tokens(finder(request))) for request in model.requests)
    )


def _tokens(reply: ModelReply) -> tuple[int, int]:
    assert reply.usage is not None
    return reply.usage.input_tokens, reply.usage.output_tokens


async def test_equal_prompts_share_failure(run_on: RunOn) -> None:
    documents: list[tuple[str | None, str]] = [("same.txt", haystack(9_000)) for _ in range(10)]

    async def refusing(request: ModelRequest) -> ModelReply:
        await asyncio.sleep(0.01)
        raise TerminalError("bad input", 5004)

    model = FunctionModel(refusing)
    await run_on(memory_ports(model), documents, "amber-fox?", chunkSize=9_100, strategy="map_reduce")
    assert len(model.requests) == len({request.key() for request in model.requests})


async def test_cancelled_leader_is_followed() -> None:
    """Who waits for an equal call asks it where that one is given up."""

    async def slow(request: ModelRequest) -> ModelReply:
        await asyncio.sleep(0.01)
        return reply_of(request, "blue")

    sub = Catalog.standard().find("llama-3.1-8b")
    assert sub is not None
    model = FunctionModel(slow)
    coalesced = Coalesced(model)
    request = ModelRequest(sub, (), 10)
    leader = asyncio.create_task(coalesced.complete(request))
    followers = [asyncio.create_task(coalesced.complete(request)) for _ in range(2)]
    await asyncio.sleep(0)
    leader.cancel()
    assert [reply.text for reply in await asyncio.gather(*followers)] == ["blue", "blue"]


@dataclass
class Heard(DeltaSink):
    text: str = ""

    def write(self, delta: str) -> None:
        self.text += delta

    def restart(self) -> None:
        self.text = ""


async def test_repeated_answer_is_streamed() -> None:
    """Whoever streams hears an answer too that the journal gives."""

    async def slow(request: ModelRequest) -> ModelReply:
        await asyncio.sleep(0.01)
        return reply_of(request, "blue")

    model, clock = FunctionModel(slow), ManualClock()
    journal, ledger = SessionJournal(SqliteDatabase()), Ledger(UsageLimits(), clock.now)
    stack = ModelStack(model, journal, clock, Catalog.standard(), Deployment(), ledger, unpaced(clock))
    calls = stack.build(Funds(ledger, Grant(Unlimited(), "tester", "run", UNLIMITED_USD)))
    root = Catalog.standard().find("llama-3.1-70b")
    assert root is not None
    request = ModelRequest(root, (), 10, role="root")
    silent, streamed = asyncio.create_task(calls.complete(request)), Heard()
    await asyncio.sleep(0)
    assert (await calls.complete(request, streamed)).text == streamed.text == "blue"
    await silent
    assert len(model.requests) == 1


async def test_cut_answer_is_told(run_on: RunOn) -> None:
    def cut(request: ModelRequest) -> ModelReply:
        return ModelReply("blue and", request.model.id, CallUsage(100, 7), finish_reason="length")

    result = await run_on(memory_ports(FunctionModel(cut)), haystack(3_000), "what colour is the sky?")
    assert result.truncated
    assert any("cut at 7 tokens" in warning for warning in result.warnings)


async def test_short_answers_may_be_asked_for(run_on: RunOn) -> None:
    model = FunctionModel(lambda request: reply_of(request, "blue"))
    result = await run_on(memory_ports(model), haystack(3_000), "colour?", maxOutputTokens=10)
    assert result.answer == "blue"
    assert model.requests[0].max_output_tokens == 10


async def test_cut_note_is_not_kept(run_on: RunOn) -> None:
    def cut(request: ModelRequest) -> ModelReply:
        reply = finder(request)
        late = request.role == "sub" and request.span is not None and request.span.index == 1
        return replace(reply, finish_reason="length" if late else "stop")

    ports = memory_ports(FunctionModel(cut))
    first = await run_on(ports, haystack(200_000), "number for amber-fox?")
    told = [warning for warning in first.warnings if "cut" in warning]
    assert len(told) == 1, "one sentence for all notes"
    assert re.fullmatch(r"1 of \d+ notes were cut at \d+ tokens \(chunks 1\)", told[0])
    model = FunctionModel(finder)
    second = await run_on(replace(memory_ports(model), cache=ports.cache), haystack(200_000), "number for amber-fox?")
    assert [request.span.index for request in model.asked("map") if request.span] == [1]
    assert second.cached_sub_calls == first.sub_calls - 1


async def test_cut_merge_is_told(run_on: RunOn) -> None:
    def verbose(request: ModelRequest) -> ModelReply:
        reply = reply_of(request, "evidence " * 300 if request.kind == "map" else "merged")
        return replace(reply, finish_reason="length" if request.kind == "reduce" else "stop")

    config = {"chunkSize": 40_000, "maxOutputTokens": 900}
    result = await run_on(memory_ports(FunctionModel(verbose)), haystack(2_400_000), "what?", **config)
    assert any("merged notes" in warning and "cut" in warning for warning in result.warnings)


def sleeper(seconds: float, answer: Callable[[ModelRequest], ModelReply]) -> FunctionModel:
    async def slow(request: ModelRequest) -> ModelReply:
        await asyncio.sleep(seconds)
        return answer(request)

    return FunctionModel(slow)


def hurried(model: FunctionModel) -> RunPorts:
    return replace(memory_ports(model), clock=RealClock())


async def test_last_word_has_its_time(run_on: RunOn) -> None:
    """A model that takes two fifths of the time that a run has: what was read is put into words."""
    model = sleeper(0.4, finder)
    result = await run_on(hurried(model), haystack(3_000_000, at=0.001), "number for amber-fox?", timeoutSeconds=1.0)
    assert result.success
    assert "7481932" in (result.answer or "")
    assert result.truncated
    assert 0 < result.coverage < 1
    assert model.asked("synthesize")


async def test_evidence_answers_when_late(run_on: RunOn) -> None:
    """Where no time is left for the last word, the evidence is the answer, and says so."""
    model = sleeper(0.7, finder)
    result = await run_on(hurried(model), haystack(3_000_000, at=0.001), "number for amber-fox?", timeoutSeconds=1.0)
    assert result.success
    assert "7481932" in (result.answer or "")
    assert result.truncated
    assert any("evidence as it was found" in warning for warning in result.warnings)
    assert any("timeoutSeconds" in warning for warning in result.warnings)


async def test_nothing_found_when_late(run_on: RunOn) -> None:
    model = sleeper(0.7, lambda request: reply_of(request, "NONE"))
    result = await run_on(hurried(model), haystack(3_000_000), "number for amber-fox?", timeoutSeconds=1.0)
    assert result.success
    assert 0 < result.coverage < 1
    assert any("evidence as it was found" in warning for warning in result.warnings)

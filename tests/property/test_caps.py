"""Whatever the models do and however they count, no run pays more than its cap, and each tells what it has paid."""

from __future__ import annotations

import asyncio
import base64
import random
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rlm_worker.errors import RetryableError, TerminalError
from rlm_worker.journal.session import SessionJournal
from rlm_worker.messages import CallUsage, Message, ModelReply, ModelRequest, ModelSpec, OutputExhausted, UnusableReply
from rlm_worker.models.pricing import max_prompt_tokens, max_tokens_of
from rlm_worker.ports import Deployment
from rlm_worker.strategies.execute import execute
from rlm_worker.testing import FunctionModel, memory_ports
from rlm_worker.text.context import InlineReader, gather_documents
from rlm_worker.wire.results import RunResult
from tests.unit.conftest import Texts, job_for

SUB_WITHOUT_FALLBACK = "@cf/meta/llama-3.2-1b-instruct"
DEPLOYMENT = replace(Deployment(), call_timeout_seconds=0.02, attempts=4)
_RANDOM = random.Random(11)
TEXTS = {
    "emoji": "👩🏽‍🚀🙂👍🏽" * 4_000,
    "thai": "แมวนั่งอยู่บนเสื่อ " * 2_500,
    "georgian": "კატა ზის ხალიჩაზე და ძინავს " * 1_700,
    "base64": base64.b64encode(_RANDOM.randbytes(60_000)).decode(),
    "bytes": _RANDOM.randbytes(60_000).decode("latin-1"),
    "prose": "The grass is green and the sky is blue, as everybody has known for a long time. " * 900,
}
CAPS = st.sampled_from([0.0002, 0.0007, 0.002, 0.006, 0.02, 0.1])
KINDS = ("answer", "none", "empty", "exhausted", "broken", "unreported", "hang", "full", "busy", "bad", "lost")


def bytes_of(request: ModelRequest) -> int:
    """The prompt of a model whose vocabulary is bytes, its template included."""
    return sum(len(message.content.encode()) + 8 for message in request.messages) + 24


@dataclass
class Provider:
    """A model that counts bytes and misbehaves by a schedule; keeps what it bills."""

    schedule: list[str]
    usd: float = 0.0
    reported_usd: float = 0.0
    asked: int = 0
    answered: dict[str, int] = field(default_factory=dict)

    async def complete(self, request: ModelRequest) -> ModelReply:
        kind = self.schedule[self.asked % len(self.schedule)]
        self.asked += 1
        if kind in ("full", "busy", "bad"):
            full = RetryableError("no", 3040 if kind == "full" else 3021, capacity=True, fallback=kind == "full")
            raise TerminalError("bad", 5004) if kind == "bad" else full
        written = request.max_output_tokens if kind in ("exhausted", "hang", "lost") else len(kind)
        usage = CallUsage(min(bytes_of(request), request.model.window), written)
        silent = kind in ("unreported", "hang", "lost")
        self._bill(request, usage, silent=silent)
        if kind == "hang":
            await asyncio.sleep(3_600)
        if kind == "lost":
            raise RetryableError("the connection broke")
        if kind in ("empty", "broken"):
            raise UnusableReply("nothing", usage=usage)
        if kind == "exhausted":
            raise OutputExhausted("no word", usage)
        self.answered[request.call] = self.answered.get(request.call, 0) + 1
        return ModelReply("NONE" if kind == "none" else "It is blue.", request.model.id, None if silent else usage)

    def _bill(self, request: ModelRequest, usage: CallUsage, *, silent: bool) -> None:
        usd = request.model.cost(usage.input_tokens, usage.output_tokens)
        self.usd += usd
        self.reported_usd += 0.0 if silent else usd


def run(provider: Provider, texts: Texts, config: dict[str, object]) -> tuple[RunResult, float]:
    """The result, and what the journal says was paid."""

    async def whole() -> tuple[RunResult, float]:
        ports = memory_ports(FunctionModel(provider.complete), deployment=DEPLOYMENT)
        job = await job_for(texts, "what colour is the sky?", dict(config), ports.clock.now())
        manifest, parts = gather_documents(texts)
        result = await execute(job, InlineReader(manifest, b"".join(parts)), ports)
        assert isinstance(ports.journal, SessionJournal)
        return result, ports.journal.paid_usd()

    return asyncio.run(whole())


@pytest.mark.parametrize("kind", TEXTS)
@given(
    cap=CAPS, sub=st.sampled_from(["llama-3.1-8b", SUB_WITHOUT_FALLBACK]), strategy=st.sampled_from(["auto", "direct"])
)
@settings(max_examples=12, deadline=None)
def test_caps_hold_for_bytes(kind: str, cap: float, sub: str, strategy: str) -> None:
    """A model may make a token of every byte: the cap holds all the same."""
    provider = Provider(["answer"])
    config: dict[str, object] = {"maxCostUsd": cap, "subModel": sub, "strategy": strategy, "chunkSize": 5_000}
    result, journalled = run(provider, [(None, TEXTS[kind])], config)
    assert provider.usd <= cap + 1e-12
    assert result.cost_usd == pytest.approx(provider.usd, abs=1e-9)
    assert journalled == pytest.approx(provider.usd, abs=1e-9)


@pytest.mark.parametrize("kind", TEXTS)
def test_caps_buy_something(kind: str) -> None:
    """Two cents read a good part of every text, and answer from it."""
    result, _ = run(Provider(["answer"]), [(None, TEXTS[kind])], {"maxCostUsd": 0.02, "chunkSize": 5_000})
    assert result.success
    assert result.coverage > 0.5
    assert result.iterations == 1


@given(
    schedule=st.lists(st.sampled_from(KINDS), min_size=1, max_size=12),
    cap=CAPS,
    equal=st.booleans(),
    sub=st.sampled_from(["llama-3.1-8b", SUB_WITHOUT_FALLBACK]),
)
@example(schedule=["hang"], cap=0.006, equal=False, sub="llama-3.1-8b")
@example(schedule=["empty"], cap=0.006, equal=True, sub="llama-3.1-8b")
@example(schedule=["exhausted", "answer"], cap=0.006, equal=False, sub="llama-3.1-8b")
@settings(max_examples=60, deadline=None)
def test_schedules_keep_caps(schedule: list[str], cap: float, equal: bool, sub: str) -> None:
    provider = Provider(schedule)
    text = TEXTS["prose"][:6_000] if equal else TEXTS["thai"]
    texts: Texts = [("same.txt", text) for _ in range(6)] if equal else [(None, text)]
    result, journalled = run(provider, texts, {"maxCostUsd": cap, "subModel": sub, "chunkSize": 6_000})
    assert provider.usd <= cap + 1e-12
    assert result.cost_usd <= cap + 1e-9
    assert journalled == pytest.approx(result.cost_usd, abs=1e-9)
    assert sum(totals.cost_usd for totals in result.models) == pytest.approx(result.cost_usd, abs=1e-9)
    if result.estimated:
        assert provider.reported_usd <= result.cost_usd + 1e-9
    else:
        assert result.cost_usd == pytest.approx(provider.usd, abs=1e-9)
        assert provider.usd == provider.reported_usd
    assert all(times == 1 for times in provider.answered.values())


@given(st.text(max_size=400), st.text(max_size=400))
def test_bytes_bound_tokens(one: str, other: str) -> None:
    messages = (Message("system", one), Message("user", other))
    spec = ModelSpec("m", 10_000_000, 1.0, 1.0, 1.0, 1.0)
    request = ModelRequest(spec, messages, 10)
    assert bytes_of(request) <= max_tokens_of(messages) == max_prompt_tokens(request)
    assert max_prompt_tokens(replace(request, model=replace(spec, window=64))) == 64
    unknown = replace(spec, window=64, window_published=False)
    assert max_prompt_tokens(replace(request, model=unknown)) == max_tokens_of(messages)

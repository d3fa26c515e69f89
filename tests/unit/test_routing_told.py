"""A result says how its context was read, and why; so do the plan and the trajectory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from rlm_worker.testing import FunctionModel, MemoryEvents, memory_ports, reply_of
from rlm_worker.wire.results import RunResult

RunOn = Callable[..., Awaitable[RunResult]]
SENTENCE = "The grass is green and the sky is blue. "


@pytest.mark.parametrize(
    ("characters", "config", "strategy", "reason"),
    [
        (400, {}, "direct", "the context is no longer than chunkSize"),
        (8_000, {"chunkSize": 4_000}, "map_reduce", "the context is longer than chunkSize"),
        (200_000, {"chunkSize": 300_000}, "map_reduce", "does not fit the root model's window"),
        (400, {"strategy": "map_reduce"}, "map_reduce", "the request names it"),
    ],
)
async def test_strategy_says_why(
    run_on: RunOn, characters: int, config: dict[str, object], strategy: str, reason: str
) -> None:
    ports = memory_ports(FunctionModel(lambda request: reply_of(request, "blue")))
    text = SENTENCE * (characters // len(SENTENCE))
    routing = (await run_on(ports, text, "which colour?", **config)).routing
    assert routing is not None
    assert (routing.strategy, reason in routing.reason) == (strategy, True)
    assert routing.root_model.startswith("@cf/meta/llama-3.3-70b")
    assert isinstance(ports.events, MemoryEvents)
    (plan,) = ports.events.of_kind("plan")
    assert plan["routing"] == routing.to_wire()

"""Another model answers where one has no room; only where there is one must a busy model say so at once."""

from __future__ import annotations

import pytest

from rlm_worker.errors import ModelError, RetryableError, TerminalError
from rlm_worker.journal.session import SessionJournal
from rlm_worker.messages import Message, ModelReply, ModelRequest, ModelSpec
from rlm_worker.models.calls import FallingBack
from rlm_worker.models.catalog import Catalog
from rlm_worker.models.chains import Chains
from rlm_worker.models.pricing import Pricing
from rlm_worker.testing import FunctionModel, ManualClock, SqliteDatabase, reply_of

BUSY = RetryableError("busy", 3040, capacity=True, fallback=True)


def spec(name: str, fallback: str | None = None) -> ModelSpec:
    return ModelSpec(name, 8_000, 1.0, 1.0, 1.0, 1.0, fallback=fallback)


MODELS = {model.id: model for model in (spec("first", "second"), spec("second", "third"), spec("third", "first"))}
CATALOG = Catalog(MODELS, {})


def asked(model: str) -> ModelRequest:
    return ModelRequest(CATALOG.find(model) or spec(model, "unknown"), (Message("user", "hello"),), 10)


def failing(error: ModelError, *names: str) -> FunctionModel:
    def answer(request: ModelRequest) -> ModelReply:
        if request.model.id in names:
            raise error
        return reply_of(request, "blue")

    return FunctionModel(answer)


def falling_back(model: FunctionModel) -> FallingBack:
    chains = Chains(CATALOG, ManualClock(), Pricing())
    return FallingBack(model, chains, SessionJournal(SqliteDatabase()))


def path(model: FunctionModel) -> list[tuple[str, bool]]:
    return [(request.model.id, request.reject_if_busy) for request in model.requests]


async def test_fallback_answers() -> None:
    model = failing(BUSY, "first")
    assert (await falling_back(model).complete(asked("first"))).model == "second"
    assert path(model) == [("first", True), ("second", True)]


async def test_last_may_queue() -> None:
    model = failing(BUSY, "first", "second", "third")
    with pytest.raises(RetryableError):
        await falling_back(model).complete(asked("first"))
    assert path(model) == [("first", True), ("second", True), ("third", False)]


async def test_unknown_fallback_is_none() -> None:
    model = failing(BUSY, "lonely")
    with pytest.raises(RetryableError):
        await falling_back(model).complete(asked("lonely"))
    assert path(model) == [("lonely", False)]


@pytest.mark.parametrize("error", [RetryableError("too many", 3021, capacity=True), TerminalError("bad input", 5004)])
async def test_other_errors_stay(error: ModelError) -> None:
    model = failing(error, "first")
    with pytest.raises(type(error)):
        await falling_back(model).complete(asked("first"))
    assert path(model) == [("first", True)]


async def test_fallback_begins_anew() -> None:
    class Heard:
        said = ""

        def write(self, delta: str) -> None:
            self.said += delta

        def restart(self) -> None:
            self.said = ""

    heard = Heard()

    async def answer(request: ModelRequest) -> ModelReply:
        if request.model.id == "first":
            heard.write("gre")
            raise RetryableError("no answer", fallback=True, work="unfinished")
        return reply_of(request, "blue")

    await falling_back(FunctionModel(answer)).complete(asked("first"), heard)
    assert heard.said == "blue"

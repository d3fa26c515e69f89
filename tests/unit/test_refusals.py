"""What a model refuses is in the log, by code; what was asked is not."""

from __future__ import annotations

import json

import pytest

from rlm_worker.errors import RetryableError
from rlm_worker.messages import Message, ModelReply, ModelRequest
from rlm_worker.models.catalog import Catalog
from rlm_worker.models.refusals import LoggedRefusals
from rlm_worker.testing import FunctionModel, reply_of

MODEL = Catalog.standard().find("llama-3.1-8b")


async def test_refusal_is_logged_by_code() -> None:
    assert MODEL is not None
    lines: list[str] = []
    request = ModelRequest(MODEL, (Message("user", "a secret question"),), 10)

    def refuse(_: ModelRequest) -> ModelReply:
        raise RetryableError("rate limit", 3021)

    with pytest.raises(RetryableError):
        await LoggedRefusals(FunctionModel(refuse), lines.append).complete(request)
    await LoggedRefusals(FunctionModel(lambda asked: reply_of(asked, "fine")), lines.append).complete(request)
    (line,) = lines
    assert json.loads(line)["code"] == 3021
    assert "secret" not in line

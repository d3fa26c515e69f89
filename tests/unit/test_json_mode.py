"""A model is held to a schema where it can be, and asked without one where it cannot."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rlm_worker.errors import NotConfigured, SchemaRefused
from rlm_worker.messages import Message, ModelReply, ModelRequest, ModelSpec
from rlm_worker.models.calls import SchemaOptional
from rlm_worker.models.catalog import Catalog
from rlm_worker.testing import FunctionModel, reply_of

SCHEMA = {"type": "object"}


def spec(name: str) -> ModelSpec:
    found = Catalog.standard().find(name)
    assert found is not None
    return found


def asked(name: str = "llama-3.3-70b") -> ModelRequest:
    return ModelRequest(spec(name), (Message("user", "hello"),), 10, response_schema=SCHEMA, call="the call")


def refusing(refusal: SchemaRefused) -> FunctionModel:
    def answer(request: ModelRequest) -> ModelReply:
        if request.response_schema is not None:
            raise refusal
        return reply_of(request, "{}")

    return FunctionModel(answer)


async def asked_with(model: FunctionModel, requests: Sequence[ModelRequest]) -> list[bool]:
    calls = SchemaOptional(model)
    for request in requests:
        assert (await calls.complete(request)).text == "{}"
    assert {request.call for request in model.requests} == {"the call"}
    return [request.response_schema is not None for request in model.requests]


async def test_unmet_schema_is_dropped() -> None:
    """The next prompt may well be met."""
    model = refusing(SchemaRefused("JSON Mode couldn't be met", 5024, work="unfinished"))
    assert await asked_with(model, [asked(), asked()]) == [True, False, True, False]


async def test_unknown_json_mode_is_remembered() -> None:
    model = refusing(SchemaRefused("This model doesn't support JSON Schema", 5025))
    requests = [asked(), asked(), asked("qwen3-30b")]
    assert await asked_with(model, requests) == [True, False, False, True, False]


@pytest.mark.parametrize(
    ("name", "mode"),
    [("llama-3.3-70b", "bare"), ("qwen3-30b", "bare"), ("glm-4.7-flash", "named"), ("llama-3.1-8b", "none")],
)
def test_catalogue_knows_shapes(name: str, mode: str) -> None:
    assert spec(name).json_mode == mode


def test_shape_may_be_overridden() -> None:
    catalog = Catalog.standard().with_overrides('{"@cf/openai/gpt-oss-20b": {"json_mode": "named"}}')
    found = catalog.find("gpt-oss-20b")
    assert found is not None
    assert found.json_mode == "named"


def test_unknown_shape_is_refused() -> None:
    with pytest.raises(NotConfigured, match="json_mode must be one of none, bare, named"):
        Catalog.standard().with_overrides('{"@cf/openai/gpt-oss-20b": {"json_mode": "loud"}}')

"""`/v1/messages` and `/v1/chat/completions` refuse by the names that were sent, before anything is asked."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from rlm_worker.anthropic.routes import AnthropicRoutes
from rlm_worker.errors import InvalidRequest
from rlm_worker.http import Call, HttpRequest, HttpResponse
from rlm_worker.log import RequestRecord
from rlm_worker.openai.routes import OpenAIRoutes
from rlm_worker.testing import FunctionModel, reply_of
from tests.unit.test_follow_ups import Town, echoing

LONG_WORD = "x" * 40_000


@pytest.fixture
def town() -> Town:
    return Town(FunctionModel(echoing))


def call(path: str, **body: object) -> Call:
    async def sent() -> AsyncIterator[bytes]:
        yield json.dumps(body).encode()

    headers = {"content-type": "application/json"}
    return Call(HttpRequest("POST", path, {}, headers, sent()), "ada", {}, RequestRecord("1", "POST", path, 0.0))


async def message(
    town: Town, *, cited: bool | None = False, schema: object = None, stream: bool = False
) -> HttpResponse:
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "n is 7"}}
    wanted = {} if cited is None else {"citations": {"enabled": cited}}
    content = [{**document, **wanted}, {"type": "text", "text": "Which n?"}]
    form = {} if schema is None else {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
    asked = call("/v1/messages", max_tokens=100, messages=[{"role": "user", "content": content}], stream=stream, **form)
    return await AnthropicRoutes(town.runner()).create(asked)


async def chat(town: Town, schema: object) -> HttpResponse:
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    asked = call("/v1/chat/completions", messages=[{"role": "user", "content": "Which n?"}], response_format=form)
    return await OpenAIRoutes(town.runner()).chat(asked)


@pytest.mark.parametrize(
    ("schema", "below"), [({"type": "strange"}, ".type"), ({"description": LONG_WORD}, "")], ids=["kind", "length"]
)
async def test_schema_named_as_sent(town: Town, schema: dict[str, object], below: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await message(town, schema=schema)
    assert [problem.path for problem in refused.value.problems] == [f"output_config.format.schema{below}"]
    with pytest.raises(InvalidRequest) as refused:
        await chat(town, schema)
    assert [problem.path for problem in refused.value.problems] == [f"response_format.json_schema.schema{below}"]
    assert not town.model.requests


@pytest.mark.parametrize("stream", [False, True])
async def test_cited_json_is_refused(town: Town, *, stream: bool) -> None:
    """Citations cut an answer into parts, and no part of a JSON text is JSON."""
    with pytest.raises(InvalidRequest, match=r"output_config\.format.*citations"):
        await message(town, cited=True, schema={"type": "object"}, stream=stream)
    assert not town.model.requests


@pytest.mark.parametrize("cited", [False, None])
async def test_json_is_one_block(town: Town, *, cited: bool | None) -> None:
    town.model.answer = lambda request: reply_of(request, '{"n": 7}')
    done = await message(town, cited=cited, schema={"type": "object"})
    assert isinstance(done.body, bytes)
    (block,) = json.loads(done.body)["content"]
    assert json.loads(block["text"]) == {"n": 7}

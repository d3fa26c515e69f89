"""Answers in a form: what the client sends for it, and what it makes of what comes back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import assert_type

import pydantic
import pytest
from click.testing import CliRunner

from rlm_client import AnswerInvalidError, AsyncRLMClient, RequestError, RLMClient, RLMResult, RunRequest
from rlm_client._cli.app import rlm
from rlm_client._structured import parsed_result
from tests.client.conftest import IMPATIENT
from tests.client.fake_worker import KEY, FakeWorker, Fault


class Invoice(pydantic.BaseModel):
    """What an invoice says."""

    number: str
    total: float


@dataclass
class Pair:
    """A class that is none of pydantic's."""

    left: int
    right: int


class Odd:
    """Nothing that pydantic knows."""


WRITTEN = '{"number": "A-7", "total": 12.50}'


def result(answer: str) -> RLMResult:
    return RLMResult(success=True, answer=answer, session_id="s1", cost_usd=0.5)


def test_model_becomes_schema(client: RLMClient, worker: FakeWorker) -> None:
    client.submit("text", "q", response_model=Invoice, instructions="In German.")
    client.batch([RunRequest("text", "q", response_model=Invoice), RunRequest("text", "q", response_schema={})])
    body = worker.received[0].json()
    assert body["responseSchema"] == Invoice.model_json_schema()
    assert body["instructions"] == "In German."
    first, second = json.loads(worker.received[1].body)
    assert (first["responseSchema"], second["responseSchema"]) == (Invoice.model_json_schema(), {})


def test_one_form_at_a_time(client: RLMClient) -> None:
    with pytest.raises(RequestError, match="either response_schema or response_model"):
        client.submit("text", "q", response_schema={}, response_model=Invoice)
    with pytest.raises(RequestError, match="has no JSON Schema"):
        client.submit("text", "q", response_model=Odd)


def test_answer_becomes_value() -> None:
    parsed = parsed_result(result(WRITTEN), Invoice)
    assert assert_type(parsed.parsed, Invoice) == Invoice(number="A-7", total=12.5)
    assert (parsed.answer, parsed.session_id) == (WRITTEN, "s1")
    assert parsed.to_json() == result(WRITTEN).to_json()
    assert result('{"left": 1, "right": 2}').parse_as(Pair) == Pair(1, 2)
    assert assert_type(result("[1, 2]").parse_as(list[int]), list[int]) == [1, 2]


def test_value_that_is_none(client: RLMClient) -> None:
    """A Worker that knows no schema answers in prose; and a class may refuse what its schema takes."""
    with pytest.raises(AnswerInvalidError, match="the answer is no Invoice") as refused:
        client.run("text", "what?", response_model=Invoice)
    assert refused.value.answer == "The answer to “what?” is **42**."
    assert refused.value.session_id


async def test_awaited_answer_is_parsed(async_client: AsyncRLMClient) -> None:
    with pytest.raises(AnswerInvalidError, match="the answer is no Invoice"):
        await async_client.run("text", "what?", response_model=Invoice)
    submitted = await async_client.submit("text", "q", response_model=Invoice)
    with pytest.raises(AnswerInvalidError):
        await async_client.wait(submitted.session_id, response_model=Invoice)


def invalid() -> Fault:
    error = {"type": "answer_invalid", "message": "the answer does not fit the schema: data must be object"}
    body = {"success": False, "error": error, "answer": "forty-two", "sessionId": "s9", "costUsd": 0.25}
    return Fault(502, json.dumps(body).encode(), {"content-type": "application/json"})


def test_invalid_answer_raises(client: RLMClient, worker: FakeWorker) -> None:
    worker.faults.append(invalid())
    with pytest.raises(AnswerInvalidError, match="data must be object") as refused:
        client.run("text", "q", response_schema={"type": "object"})
    assert (refused.value.answer, refused.value.session_id, refused.value.cost_usd) == ("forty-two", "s9", 0.25)


def test_command_takes_a_schema(worker: FakeWorker, tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text(json.dumps(Invoice.model_json_schema()))
    (tmp_path / "text.txt").write_text("text")
    runner = CliRunner(env={"RLM_BASE_URL": worker.url, "RLM_API_KEY": KEY})
    command = ["ask", "q", str(tmp_path / "text.txt"), "--instructions", "In German.", "--schema"]
    asked = runner.invoke(rlm, [*command, str(tmp_path / "schema.json")], obj=IMPATIENT)
    assert asked.exit_code == 0, asked.output
    body = worker.received[-1].json()
    assert (body["responseSchema"], body["instructions"]) == (Invoice.model_json_schema(), "In German.")
    for name, says in (("text.txt", "is not a JSON Schema"), ("missing.json", "cannot be read")):
        refused = runner.invoke(rlm, [*command, str(tmp_path / name)], obj=IMPATIENT)
        assert refused.exit_code == 2
        assert says in " ".join(refused.stderr.split())


def test_command_tells_the_last_answer(worker: FakeWorker, tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text("{}")
    (tmp_path / "text.txt").write_text("text")
    runner = CliRunner(env={"RLM_BASE_URL": worker.url, "RLM_API_KEY": KEY})
    command = ["ask", "-q", "q", str(tmp_path / "text.txt"), "--schema", str(tmp_path / "schema.json")]
    worker.faults.append(invalid())
    failed = runner.invoke(rlm, command, obj=IMPATIENT)
    assert (failed.exit_code, failed.stdout) == (1, "")
    assert "The last answer was: forty-two" in failed.stderr
    worker.faults.append(invalid())
    told = json.loads(runner.invoke(rlm, [*command, "--json"], obj=IMPATIENT).stdout)
    assert (told["error"]["type"], told["error"]["answer"]) == ("answer_invalid", "forty-two")

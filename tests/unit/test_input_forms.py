"""Input as people give it: lists of strings are documents, instructions say how to answer."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from rlm_worker.models.catalog import Catalog
from rlm_worker.openai.chat import run_request
from rlm_worker.openai.schemas import parse_chat
from rlm_worker.repl.passages import ContextText
from rlm_worker.repl.prompts import ReplFacts, system_message
from rlm_worker.runs.job import Job
from rlm_worker.sessions.contexts import JobContext
from rlm_worker.sessions.prepare import prepare_job
from rlm_worker.strategies.execute import execute
from rlm_worker.testing import FunctionModel, MemoryStore, memory_ports, reply_of
from rlm_worker.wire.requests import RunConfig, RunRequest, parse_request
from tests.unit.conftest import settings


async def job_of(request: RunRequest) -> Job:
    job, _ = await prepare_job(request, "tester", settings(), MemoryStore(), None, now=0)
    return job


async def prompts_of(**body: object) -> list[str]:
    """What the model is told: the rules, and the rest."""
    job = await job_of(parse_request(json.dumps({"query": "Which words?", **body})))
    model = FunctionModel(lambda request: reply_of(request, "alpha"))
    await execute(job, JobContext(MemoryStore()).reader(job), memory_ports(model))
    return [message.content for message in model.requests[-1].messages]


def chat(*messages: tuple[str, str]) -> RunRequest:
    body = {"messages": [{"role": role, "content": content} for role, content in messages]}
    return run_request(parse_chat(json.dumps(body).encode()), RunConfig(), Catalog.standard())


async def test_strings_are_documents() -> None:
    _, told = await prompts_of(context=["alpha", "beta"])
    assert "alphabeta" not in told
    assert told.index('"document 1"') < told.index("alpha") < told.index('"document 2"') < told.index("beta")


async def test_strings_beside_documents_are_numbered() -> None:
    job = await job_of(parse_request(json.dumps({"query": "?", "context": [{"name": "a", "text": "x"}, "y"]})))
    assert [row[0] for row in json.loads(job.manifest)["documents"]] == ["a", "document 2"]


async def test_one_string_needs_no_name() -> None:
    assert await prompts_of(context=["alpha"]) == await prompts_of(context="alpha")


async def test_instructions_are_rules() -> None:
    rules, told = await prompts_of(context="alpha", instructions="Answer in {French}.")
    assert rules.endswith("Answer in {French}.")
    assert "French" not in told


async def test_instructions_reach_syntheses() -> None:
    strategy = {"strategy": "map_reduce"}
    rules, _ = await prompts_of(context="alpha " * 30, instructions="Answer in French.", config=strategy)
    assert "Answer the question from the notes" in rules
    assert rules.endswith("Answer in French.")


async def test_instructions_name_sessions() -> None:
    asked = chat(("user", "alpha beta"), ("user", "?"))
    plain, french = await job_of(asked), await job_of(asked.model_copy(update={"instructions": "In French."}))
    assert plain.session_id != french.session_id


def test_system_messages_instruct() -> None:
    request = chat(("system", "Be brief."), ("user", "alpha"), ("developer", "In French."), ("user", "Which words?"))
    assert request.instructions == "Be brief.\n\nIn French."
    assert [document.name for document in request.context or [] if not isinstance(document, str)] == [
        "message 2 (user)"
    ]


@pytest.mark.parametrize("role", ["system", "developer"])
def test_texts_are_no_instructions(role: str) -> None:
    request = chat((role, "alpha " * 9_000), ("user", "Which words?"))
    assert request.instructions is None
    assert [document.name for document in request.context or [] if not isinstance(document, str)] == [
        f"message 1 ({role})"
    ]


async def test_repl_is_told_how() -> None:
    facts = ReplFacts(tools=[], output_limit=100, slice_limit=100, lazy=False, instructions="In French.")
    job = await job_of(parse_request(json.dumps({"query": "?", "context": "alpha"})))
    reader = JobContext(MemoryStore()).reader(job)
    plain = system_message(replace(facts, instructions=None), ContextText(reader)).content
    told = system_message(facts, ContextText(reader)).content
    assert told.startswith(plain)
    assert told.endswith("In French.")

"""Builders that several unit tests share."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from rlm_worker.models.catalog import Catalog
from rlm_worker.ports import Deployment
from rlm_worker.runs.job import Job
from rlm_worker.runs.run import RunPorts
from rlm_worker.sessions.prepare import prepare_job
from rlm_worker.settings import Settings
from rlm_worker.strategies.execute import execute
from rlm_worker.testing import MemoryStore
from rlm_worker.text.context import InlineReader, gather_documents
from rlm_worker.wire.requests import RunConfig, parse_request
from rlm_worker.wire.results import RunResult

Texts = list[tuple[str | None, str]]


def settings() -> Settings:
    return Settings(
        defaults=RunConfig(), deployment=Deployment(), catalog=Catalog.standard(), local=True, has_sandbox=True
    )


async def job_for(texts: Texts, query: str, config: dict[str, object], clock_now: float) -> Job:
    context: object = (
        texts[0][1]
        if len(texts) == 1 and texts[0][0] is None
        else [{"name": name, "text": text} if name is not None else text for name, text in texts]
    )
    schema = config.pop("response_schema", None)
    body = json.dumps({"context": context, "query": query, "config": config, "responseSchema": schema})
    job, _ = await prepare_job(parse_request(body), "tester", settings(), MemoryStore(), None, now=clock_now)
    timeout = job.config.timeout_seconds
    return job.model_copy(
        update={"started_at": clock_now, "deadline": None if timeout is None else clock_now + timeout}
    )


@pytest.fixture
def run_on() -> Callable[..., object]:
    """Runs a query over texts with given ports, context in memory."""

    async def run(ports: RunPorts, texts: Texts | str, query: str, **config: object) -> RunResult:
        documents: Texts = [(None, texts)] if isinstance(texts, str) else texts
        job = await job_for(documents, query, dict(config), ports.clock.now())
        manifest, parts = gather_documents(documents)
        return await execute(job, InlineReader(manifest, b"".join(parts)), ports)

    return run

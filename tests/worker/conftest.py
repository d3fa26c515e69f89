"""Fixtures that drive the real workerd, with a scripted model behind the AI binding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import httpx
import pytest

from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.model import ScriptedModel

_LOG_LINES = 40


class StartWorker(Protocol):
    """Starts a deployment of a test's own; `state` may be that of an earlier one, `ai` is the test's scripted model."""

    def __call__(
        self,
        *,
        state: Path | None = None,
        vars: Mapping[str, str] | None = None,  # noqa: A002 -- what wrangler.toml calls them
        ai: str | None = None,
    ) -> DevProcess: ...


@pytest.fixture(scope="session")
def scripted_server() -> Iterator[ScriptedModel]:
    with ScriptedModel() as model:
        yield model


@pytest.fixture
def scripted(scripted_server: ScriptedModel) -> Iterator[ScriptedModel]:
    """The scripted model with its default script and an empty log."""
    scripted_server.reset()
    yield scripted_server
    scripted_server.reset()


@pytest.fixture(scope="session")
def worker(scripted_server: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevProcess]:
    """The deployment that all tests share which need no vars or crashes of their own."""
    with DevProcess(tmp_path_factory.mktemp("state"), ai=scripted_server.url) as process:
        yield process


@pytest.fixture
def http(worker: DevProcess, scripted: ScriptedModel) -> Iterator[httpx.Client]:
    """An HTTP client of the shared deployment, with a fresh scripted model behind it."""
    with httpx.Client(base_url=worker.url, timeout=120) as client:
        yield client


@pytest.fixture
def start_worker(scripted: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartWorker]:
    started: list[DevProcess] = []

    def start(
        *,
        state: Path | None = None,
        vars: Mapping[str, str] | None = None,  # noqa: A002 -- the same
        ai: str | None = None,
    ) -> DevProcess:
        folder = state or tmp_path_factory.mktemp("state")
        process = DevProcess(folder, ai=ai or scripted.url, variables=vars)
        started.append(process)
        return process.start()

    yield start
    for process in started:
        process.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Iterator[Callable[..., pytest.TestReport]]:
    """Shows the end of the shared deployment's log below a test that failed."""
    report: pytest.TestReport = yield  # type: ignore[misc, assignment]
    process = getattr(item, "funcargs", {}).get("worker")
    if report.failed and isinstance(process, DevProcess):
        report.sections.append(("the Worker's log", "\n".join(process.log().splitlines()[-_LOG_LINES:])))
    return report  # type: ignore[return-value]

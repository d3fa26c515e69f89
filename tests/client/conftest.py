"""The fake Worker with clients of both kinds, and the real one with a scripted model behind it."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import pytest_asyncio

from rlm_client import AsyncRLMClient, RetryPolicy, RLMClient
from scripts.local.runtime.dev_process import DevProcess
from scripts.local.scripted.model import ScriptedModel
from tests.client.fake_worker import KEY, FakeServer, FakeWorker, serving

# A shell that puts the tests into the background has them ignore interrupts, and their children too, which are to be
# interrupted here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

IMPATIENT = RetryPolicy(attempts=3, resumptions=3, first_delay=0.001, longest_delay=2.0)


@pytest.fixture(scope="session")
def server() -> Iterator[FakeServer]:
    with serving() as running:
        yield running


@pytest.fixture
def worker(server: FakeServer) -> FakeWorker:
    return server.fresh()


# Loading the certificates that a loopback address does not have takes longer than most tests.
@pytest.fixture
def client(worker: FakeWorker) -> Iterator[RLMClient]:
    with RLMClient(worker.url, KEY, retries=IMPATIENT, transport=httpx.HTTPTransport(verify=False)) as made:
        yield made


@pytest_asyncio.fixture
async def async_client(worker: FakeWorker) -> AsyncIterator[AsyncRLMClient]:
    transport = httpx.AsyncHTTPTransport(verify=False)
    async with AsyncRLMClient(worker.url, KEY, retries=IMPATIENT, transport=transport) as made:
        yield made


@pytest.fixture(scope="session")
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel() as scripted:
        yield scripted


@pytest.fixture(scope="session")
def deployment(model: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevProcess]:
    with DevProcess(tmp_path_factory.mktemp("state"), ai=model.url) as process:
        yield process


@pytest.fixture
def scripted(model: ScriptedModel) -> Iterator[ScriptedModel]:
    model.reset()
    yield model
    model.reset()

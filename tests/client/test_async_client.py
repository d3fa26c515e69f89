"""The asynchronous client: the same promises, awaited, and the same methods."""

from __future__ import annotations

import inspect
from pathlib import Path

import anyio
import pytest

from rlm_client import AsyncRLMClient, ResultEvent, RLMClient, RLMResult, RunFailedError, RunRequest, arun_rlm
from tests.client.fake_worker import DROP, KEY, FakeWorker

RENAMED = {"close": "aclose"}


def _methods(kind: type) -> dict[str, inspect.Signature]:
    public = {name: method for name, method in vars(kind).items() if not name.startswith("_")}
    # What is no method, a property, is the same with and without waiting.
    return {name: inspect.signature(getattr(method, "fget", method)) for name, method in public.items()}


def test_clients_are_twins() -> None:
    blocking = {RENAMED.get(name, name): signature for name, signature in _methods(RLMClient).items()}
    awaited = _methods(AsyncRLMClient)

    assert blocking.keys() == awaited.keys()
    for name, signature in blocking.items():
        assert signature.parameters.keys() == awaited[name].parameters.keys(), name


async def test_function_awaited(worker: FakeWorker) -> None:
    result = await arun_rlm("text", "q", base_url=worker.url, api_key=KEY)

    assert result.cost_usd == 0.0009


async def test_many_at_once(async_client: AsyncRLMClient, worker: FakeWorker) -> None:
    results: list[RLMResult] = []

    async def ask(number: int) -> None:
        results.append(await async_client.run("text", f"q{number}"))

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(ask, number)

    assert {result.answer for result in results} == {f"The answer to “q{n}” is **42**." for n in range(20)}
    assert len(worker.sessions) == 20


async def test_stream_ends_in_result(async_client: AsyncRLMClient) -> None:
    events = [event async for event in async_client.stream("text", "q")]

    assert isinstance(events[-1], ResultEvent)
    assert events[-1].result.sub_calls == 4


async def test_stream_left_early(async_client: AsyncRLMClient, worker: FakeWorker) -> None:
    worker.next_visible = 2
    async with async_client.stream("text", "q") as stream:
        await anext(stream)

    assert (await async_client.status("s1")).status == "running"


async def test_stream_that_stops_when_left(async_client: AsyncRLMClient, worker: FakeWorker) -> None:
    async with async_client.stream("text", "q", cancel_on_disconnect=True) as stream:
        await anext(stream)

    assert worker.received[-1].json()["cancelOnDisconnect"] is True


async def test_cancelled_task_closes(async_client: AsyncRLMClient, worker: FakeWorker) -> None:
    worker.next_visible = 2
    seen = anyio.Semaphore(0)

    async def follow() -> None:
        async with async_client.stream("text", "q") as stream:
            async for _ in stream:
                seen.release()

    async with anyio.create_task_group() as group:
        group.start_soon(follow)
        for _ in range(2):
            await seen.acquire()
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()

    assert seen.value == 0
    worker.release("s1")
    assert (await async_client.wait("s1")).success


async def test_dropped_call_retried(async_client: AsyncRLMClient, worker: FakeWorker) -> None:
    worker.faults.append(DROP)

    assert (await async_client.run("text", "q")).success
    assert len(worker.sessions) == 1


async def test_failure_raised(async_client: AsyncRLMClient, worker: FakeWorker) -> None:
    worker.failure = {"type": "nothing_read", "message": "no chunk could be read"}

    with pytest.raises(RunFailedError, match="no chunk"):
        await async_client.run("text", "q")


async def test_upload_streams_file(async_client: AsyncRLMClient, worker: FakeWorker, tmp_path: Path) -> None:
    path = tmp_path / "context.txt"
    path.write_bytes(b"x" * 3_000_000)

    stored = await async_client.upload(path)

    assert len(worker.contexts[stored.context_id]) == 3_000_000


async def test_session_routes(async_client: AsyncRLMClient, worker: FakeWorker) -> None:
    session_id = (await async_client.submit("text", "q")).session_id

    assert (await async_client.status(session_id)).finished
    assert (await async_client.result(session_id)) is not None
    assert len((await async_client.trajectory(session_id)).calls) == 2
    assert [event.event_id async for event in async_client.events(session_id, after="9")] == ["10", "11"]
    await async_client.cancel(session_id)
    assert (await async_client.health()).ok
    assert len(await async_client.models()) == 2


async def test_batch_awaited(async_client: AsyncRLMClient, worker: FakeWorker) -> None:
    batch_id = (await async_client.batch([RunRequest("a", "one")])).batch_id

    assert (await async_client.wait_batch(batch_id)).done == 1
    assert (await async_client.batch_status(batch_id)).total == 1
    assert [item.index for item in await async_client.batch_results(batch_id)] == [0]
    await async_client.cancel_batch(batch_id)
    assert worker.batches == {}

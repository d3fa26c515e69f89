"""A model that costs next to nothing: one fixed answer to every chat completion, served by a process of its own.

Orchestration is measured against it. The scripted model of the tests reads, digests and logs every prompt, which takes
about as long as the orchestration that is to be measured. `python -m tests.bench.constant_model` prints its URL.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from scripts.local.processes import end_group, start_group

_BYTES_PER_TOKEN = 4
_ANSWER = "NONE"
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class ModelProcess:
    """The server: its process and the base URL that OpenAI clients take."""

    pid: int
    url: str


@contextmanager
def constant_model() -> Iterator[ModelProcess]:
    """Serves on a free port of the loopback interface for as long as the block lasts."""
    command = [sys.executable, "-P", "-m", "tests.bench.constant_model"]
    process = start_group(command, subprocess.PIPE, env={"PYTHONPATH": str(_ROOT)})
    try:
        assert process.stdout is not None
        yield ModelProcess(process.pid, process.stdout.readline().decode().strip())
    finally:
        end_group(process)
        if process.stdout is not None:
            process.stdout.close()


async def _complete(request: web.Request) -> web.Response:
    body = await request.read()
    return web.Response(body=_completion(len(body) // _BYTES_PER_TOKEN), content_type="application/json")


def _completion(prompt_tokens: int) -> bytes:
    message = {"role": "assistant", "content": _ANSWER}
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": 1, "total_tokens": prompt_tokens + 1}
    answer = {
        "id": "call",
        "object": "chat.completion",
        "created": 0,
        "model": "constant",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": usage,
    }
    return json.dumps(answer).encode()


async def _serve() -> None:
    app = web.Application(client_max_size=1 << 30)
    app.add_routes([web.post("/v1/chat/completions", _complete)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=2048).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve())

"""The same map over the same chunks by others: runs in the peers' environment, as a process of its own.

`python -m tests.bench.peers NAME URL TEXT SIZE ROUNDS` prints a JSON list of [wall seconds, CPU seconds] per round.
Each peer sends every chunk of TEXT with the same instruction to the model at URL, as its own documentation shows it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import httpx

# What the Worker allows too.
CONCURRENCY = 24
_QUESTION = "What does the entry say about the amber lighthouse?"
_RULE = "Quote the sentences that help to answer the question. If there are none, reply with the single word NONE."

Map = Callable[[list[str]], list[str]]


def prompts_of(text: str, size: int) -> list[str]:
    return [f"{_RULE}\n\nQuestion: {_QUESTION}\n\n{text[at : at + size]}" for at in range(0, len(text), size)]


def plain_asyncio(url: str) -> Map:
    """Nothing but httpx: JSON out, JSON in."""

    async def ask(client: httpx.AsyncClient, gate: asyncio.Semaphore, prompt: str) -> str:
        async with gate:
            messages = [{"role": "user", "content": prompt}]
            reply = await client.post("/chat/completions", json={"model": "m", "messages": messages, "max_tokens": 512})
        return str(reply.json()["choices"][0]["message"]["content"])

    async def everything(prompts: list[str]) -> list[str]:
        gate = asyncio.Semaphore(CONCURRENCY)
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            return await asyncio.gather(*(ask(client, gate, prompt) for prompt in prompts))

    loop = asyncio.Runner()
    return lambda prompts: loop.run(everything(prompts))


def bare_aiohttp(url: str) -> Map:
    """The least that a client can do, bodies made beforehand: what the model's server itself takes."""
    aiohttp = import_module("aiohttp")
    headers = {"content-type": "application/json"}

    async def everything(prompts: list[str]) -> list[str]:
        bodies = [json.dumps({"messages": [{"role": "user", "content": prompt}]}).encode() for prompt in prompts]
        gate = asyncio.Semaphore(CONCURRENCY)

        async def ask(body: bytes) -> str:
            async with gate, client.post(f"{url}/chat/completions", data=body, headers=headers) as reply:
                return str(await reply.text())

        async with aiohttp.ClientSession() as client:
            return await asyncio.gather(*(ask(body) for body in bodies))

    loop = asyncio.Runner()
    return lambda prompts: loop.run(everything(prompts))


def langchain(url: str) -> Map:
    """ChatOpenAI.abatch, as its guide shows it."""
    chat = import_module("langchain_openai").ChatOpenAI(model="m", base_url=url, api_key="none", max_tokens=512)

    async def everything(prompts: list[str]) -> list[str]:
        replies = await chat.abatch(prompts, config={"max_concurrency": CONCURRENCY})
        return [str(reply.content) for reply in replies]

    loop = asyncio.Runner()
    return lambda prompts: loop.run(everything(prompts))


def rlms(url: str) -> Map:
    """llm_query_batched of the local environment, through the socket server that a run of it starts.

    A new client and server each time: its batches open a new event loop each, which a client does not outlive.
    """
    clients, handlers = import_module("rlm.clients.openai"), import_module("rlm.core.lm_handler")
    environments = import_module("rlm.environments.local_repl")

    def everything(prompts: list[str]) -> list[str]:
        client = clients.OpenAIClient(api_key="none", model_name="m", base_url=url)
        handler = handlers.LMHandler(client, batch_max_concurrent=CONCURRENCY)
        repl = environments.LocalREPL(lm_handler_address=handler.start())
        repl.locals["prompts"] = prompts
        repl.execute_code("replies = llm_query_batched(prompts)")
        handler.stop()
        return [str(reply) for reply in repl.locals["replies"]]

    return everything


PEERS: dict[str, Callable[[str], Map]] = {
    "bare": bare_aiohttp,
    "asyncio": plain_asyncio,
    "langchain": langchain,
    "rlms": rlms,
}


def measure(apply: Map, text: str, size: int, rounds: int) -> list[tuple[float, float]]:
    times: list[tuple[float, float]] = []
    for _ in range(rounds + 1):
        began, cpu = time.perf_counter(), time.process_time()
        replies = apply(prompts_of(text, size))
        times.append((time.perf_counter() - began, time.process_time() - cpu))
        assert all("NONE" in reply for reply in replies), replies[0]
    return times[1:]  # the first round loads and connects


def main() -> None:
    name, url, file, size, rounds = sys.argv[1:]
    text = Path(file).read_text(encoding="utf-8")
    print(json.dumps(measure(PEERS[name](url), text, int(size), int(rounds))))


if __name__ == "__main__":
    main()

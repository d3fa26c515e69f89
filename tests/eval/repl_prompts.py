"""The REPL's prompt with a real model: `python -m tests.eval.repl_prompts URL [--cases N]`.

URL is that of a server of OpenAI's chat completions that holds the model, such as the one that `scripts/dev` starts.
The loop is the Worker's own, its REPL on a thread of this process, so that two versions of the prompt are compared by
running this in two checkouts. Prints for each case whether the answer is right, turns, prompt tokens, citations.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.request import Request, urlopen

from rlm_worker.messages import CallUsage, ModelReply, ModelRequest
from rlm_worker.runs.run import RunPorts
from rlm_worker.strategies.execute import execute
from rlm_worker.testing import FunctionModel, ThreadSandbox, memory_ports
from rlm_worker.text.context import InlineReader, gather_documents
from rlm_worker.wire.results import RunResult
from tests.unit.conftest import Texts, job_for

_MAX_TURNS, _MAX_TOKENS = 6, 220
_NAMES = ("Amber", "Birch", "Cedar", "Daisy", "Ember", "Fern", "Garnet", "Hazel", "Iris", "Jade", "Kestrel", "Linden")
_WORDS = ("the", "river", "ran", "past", "quiet", "gardens", "while", "old", "boats", "waited", "for", "rain")


@dataclass(frozen=True, slots=True)
class Case:
    """A question about documents, and what its answer must hold."""

    name: str
    documents: Texts
    query: str
    right: str


def cases() -> list[Case]:
    """Questions whose truth is planted, over 10,000 to 80,000 characters."""
    drawn = random.Random(7)
    return [_needle(drawn), _count(drawn), _which_document(drawn), _line(drawn), _definition(), _total(drawn)]


def _noise(drawn: random.Random, lines: int) -> list[str]:
    return [" ".join(drawn.choices(_WORDS, k=12)).capitalize() + "." for _ in range(lines)]


def _needle(drawn: random.Random) -> Case:
    lines = _noise(drawn, 400)
    lines.insert(250, "The access code of the Kestrel depot is 48213.")
    return Case("needle", [(None, "\n".join(lines))], "What is the access code of the Kestrel depot?", "48213")


def _count(drawn: random.Random) -> Case:
    rows = [f"2026-03-{drawn.randint(1, 28):02} user={drawn.choice(_NAMES)} status=ok" for _ in range(300)]
    failed = drawn.sample(range(300), 17)
    rows = [row.replace("ok", "failed") if at in failed else row for at, row in enumerate(rows)]
    return Case("count", [("access.log", "\n".join(rows))], "How many lines have the status failed?", r"\b17\b")


def _which_document(drawn: random.Random) -> Case:
    texts: Texts = [(f"reports/{name.lower()}.md", "\n".join(_noise(drawn, 60))) for name in _NAMES]
    name, text = texts[7]
    texts[7] = (name, f"{text}\nThe bridge at Hollow Creek was closed on 4 May.")
    return Case("document", texts, "Which document reports that a bridge was closed? Give its name.", "hazel")


def _line(drawn: random.Random) -> Case:
    rows = _noise(drawn, 200)
    rows[119] = "Delivery 77 went to the harbour of Larn."
    query = "On which line of notes.txt, counted from 1, is delivery 77 mentioned?"
    return Case("line", [("notes.txt", "\n".join(rows))], query, r"\b120\b")


def _definition() -> Case:
    parts = [f"def step_{n}(x):\n    y = x + {n}\n    return y * 2\n" for n in range(200)]
    parts[140] = "def collect_garbage(x):\n    y = x + 140\n    raise RuntimeError('pool is empty')\n"
    query = "Which function raises RuntimeError?"
    return Case("definition", [("pool.py", "\n".join(parts))], query, "collect_garbage")


def _total(drawn: random.Random) -> Case:
    rows = [f"Invoice {n}: customer {drawn.choice(_NAMES)}, amount {drawn.randint(10, 99)} EUR" for n in range(200)]
    total = sum(int(row.split()[-2]) for row in rows if "customer Hazel" in row)
    query = "What is the total amount of all invoices of the customer Hazel?"
    return Case("total", [("invoices.txt", "\n".join(rows))], query, rf"\b{total}\b")


class Server:
    """Asks a model over HTTP and counts its tokens."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self.tokens = 0

    def answer(self, request: ModelRequest) -> ModelReply:
        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        body = {"messages": messages, "temperature": 0, "max_tokens": _MAX_TOKENS, "model": "any"}
        asked = Request(
            f"{self._url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urlopen(asked, timeout=900) as response:
            told = json.load(response)
        usage = told["usage"]
        self.tokens += usage["prompt_tokens"]
        text = told["choices"][0]["message"]["content"]
        return ModelReply(text, request.model.id, CallUsage(usage["prompt_tokens"], usage["completion_tokens"]))


def _ports(model: FunctionModel) -> RunPorts:
    ports = memory_ports(model)
    assert hasattr(ports.journal, "cells")
    return replace(ports, sandbox=ThreadSandbox(), cells=ports.journal.cells(ports.clock.now))


async def _run(case: Case, model: FunctionModel) -> RunResult:
    ports = _ports(model)
    config: dict[str, object] = {"strategy": "repl", "maxIterations": _MAX_TURNS, "maxDepth": 0, "maxSubCalls": 4}
    config["maxOutputCharacters"] = 3_000
    job = await job_for(case.documents, case.query, config, ports.clock.now())
    manifest, parts = gather_documents(case.documents)
    return await execute(job, InlineReader(manifest, b"".join(parts)), ports)


def _report(case: Case, result: RunResult, model: FunctionModel, tokens: int, seconds: float) -> Iterator[str]:
    answer = result.answer or ""
    right = re.search(case.right, answer) is not None
    yield f"{case.name}: {'right' if right else 'wrong'}, {result.iterations} turns, {tokens:,} prompt tokens, "
    yield f"{len(result.citations)} citations, {seconds:.0f} s: {answer[:120]!r}\n"
    for request in model.requests[-1:]:
        yield from (f"    {said.role}: {said.content[:600]!r}\n" for said in request.messages[2:])


async def measure(url: str, names: list[str]) -> None:
    for case in cases():
        if names and case.name not in names:
            continue
        server = Server(url)
        model, started = FunctionModel(server.answer), time.monotonic()
        result = await _run(case, model)
        sys.stdout.writelines(_report(case, result, model, server.tokens, time.monotonic() - started))
        sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description="Tries the REPL's prompt with a real model.")
    parser.add_argument("url")
    parser.add_argument("cases", nargs="*")
    wanted = parser.parse_args()
    asyncio.run(measure(wanted.url, wanted.cases))


if __name__ == "__main__":
    main()

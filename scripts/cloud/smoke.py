"""`scripts/deploy --smoke`: the first hour on a real account as a checklist, run against a deployment and printed.

What it asks is what only the platform can answer: whether its bindings work, how many model calls it takes at once and
a minute, whether Dynamic Workers start, what a large body does to an isolate, how a reasoning model is cut. Against a
local `scripts/dev` it shows that the checklist itself works.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import click
import httpx

from rlm_client import IterationEvent, RLMClient, RLMConfig, RLMError, RLMResult, TrajectoryCall
from scripts.cloud.refusals import counted_refusals
from scripts.local.errors import LocalError
from scripts.local.processes import say

_PATIENCE_SECONDS = 1_200.0
_PARALLEL_CALLS = 24
_RUNS, _CHUNKS = 2, 100
_CHUNK_CHARACTERS = 2_000
_BODY_CHARACTERS = 4 * 1024 * 1024
_REASONING_MODEL, _REASONING_TOKENS = "gpt-oss-20b", 512
# What each part costs at the published prices, roughly; and what none of its runs may pass.
_ESTIMATES_USD = {"calls": 0.01, "repl": 0.02, "body": 0.05, "long": 0.12, "reasoning": 0.001}
_MAX_USD = {"calls": 0.1, "repl": 0.1, "body": 0.2, "long": 0.5, "reasoning": 0.05}
_WORDS = ("river", "stone", "lantern", "harbour", "meadow", "copper", "winter", "signal", "garden", "letter")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the checklist: what was asked, whether it went well, what was seen, what it cost in US dollars."""

    name: str
    good: bool
    seen: str
    cost_usd: float = 0.0
    seconds: float = 0.0


@dataclass(slots=True)
class Checklist:
    """Asks a deployment; every text is new, so that nothing is answered from a cache."""

    url: str
    key: str | None
    client: RLMClient
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(random.randrange(1 << 30)))

    def checks(self) -> Sequence[tuple[str, Callable[[], Finding]]]:
        """In the order in which they build on each other."""
        return (
            ("bindings", self.health),
            (f"{_PARALLEL_CALLS} model calls at once", self.parallel_calls),
            ("REPL", self.repl),
            ("4 MiB with an emoji", self.large_body),
            (f"{_RUNS} runs of {_CHUNKS} chunks at once", self.long_runs),
            (f"reasoning in {_REASONING_TOKENS} tokens", self.reasoning),
        )

    def health(self) -> Finding:
        try:
            headers = {"authorization": f"Bearer {self.key}"} if self.key else {}
            answer = httpx.get(f"{self.url}/health?deep=1", headers=headers, timeout=_PATIENCE_SECONDS).json()
        except (httpx.HTTPError, ValueError) as error:
            return Finding("", good=False, seen=f"no answer: {error}")
        bindings: dict[str, str] = answer.get("bindings") or {}
        broken = {name: problem for name, problem in bindings.items() if problem != "ok"}
        if broken or not bindings:
            return Finding("", good=False, seen=f"{broken or answer}")
        return Finding("", good=True, seen=f"{', '.join(bindings)}: ok")

    def parallel_calls(self) -> Finding:
        """One object sends them all: a run of as many chunks."""
        result = self._ask_in_chunks("calls", _PARALLEL_CALLS)
        calls = self.client.trajectory(result.session_id or "").calls
        return _whole(result, f"{result.sub_calls} sub-calls, {_most_at_once(calls)} at once")

    def repl(self) -> Finding:
        result = self._ask("repl", self._text(3_000), strategy="repl", max_iterations=4)
        with self.client.events(result.session_id or "") as events:
            cells = sum(isinstance(event, IterationEvent) and bool(event.code) for event in events)
        ran = _answered(result, f"{result.iterations} turns, {cells} cells run")
        return replace(ran, good=ran.good and cells > 0)

    def large_body(self) -> Finding:
        """An emoji makes a text of four bytes a character in Python's memory."""
        result = self._ask("body", "🙂" + self._text(_BODY_CHARACTERS), max_sub_calls=4)
        return _answered(result, f"{result.sub_calls} sub-calls, coverage {result.coverage or 0:.0%}")

    def long_runs(self) -> Finding:
        with ThreadPoolExecutor(_RUNS) as threads:
            results = list(threads.map(lambda _: self._ask_in_chunks("long", _CHUNKS), range(_RUNS)))
        read = ", ".join(f"{result.sub_calls} sub-calls, coverage {result.coverage or 0:.0%}" for result in results)
        vain = sum(len(self.client.trajectory(result.session_id or "").failed_attempts) for result in results)
        good = all(result.success and (result.coverage or 0) >= 1.0 for result in results)
        seen = f"{read}; {vain} attempts paid in vain"
        return Finding("", good, seen, sum(result.cost_usd for result in results))

    def reasoning(self) -> Finding:
        config = {"root_model": _REASONING_MODEL, "max_output_tokens": _REASONING_TOKENS}
        result = self._ask("reasoning", self._text(1_000), **config)
        return _answered(result, f"{result.total_output_tokens} tokens out{', cut' if result.truncated else ''}")

    def _ask(self, part: str, text: str, **config: object) -> RLMResult:
        whole = {"use_cache": False, "max_cost_usd": _MAX_USD[part], **config}
        return self.client.run(text, "Which places are named?", RLMConfig.model_validate(whole))

    def _ask_in_chunks(self, part: str, count: int) -> RLMResult:
        """About a text that is cut into about so many chunks."""
        text = self._text(count * _CHUNK_CHARACTERS - _CHUNK_CHARACTERS // 2)
        return self._ask(part, text, strategy="map_reduce", chunk_size=_CHUNK_CHARACTERS, max_sub_calls=2 * count)

    def _text(self, characters: int) -> str:
        number = next(self.numbers)
        source = random.Random(number)
        words = [source.choice(_WORDS) for _ in range(characters // 4)]
        return (f"Note {number}. " + " ".join(words))[:characters]


def smoke(url: str | None, key: str | None, *, yes: bool, log: Path | None = None) -> int:
    """Runs the checklist and prints it; gives the status: 1 where something is not well."""
    if not url:
        raise LocalError("no deployment is named", hint="--url URL --key KEY, or RLM_BASE_URL and RLM_API_KEY")
    most = sum(_MAX_USD.values()) + (_RUNS - 1) * _MAX_USD["long"]
    say(f"{url}: about ${sum(_ESTIMATES_USD.values()):.2f} of model calls, ${most:.2f} at most; a few minutes")
    if not yes:
        click.confirm("Go on?", abort=True)
    # Everything in the request itself: the 4 MiB are about what an isolate does with them.
    with RLMClient(url, api_key=key, timeout=_PATIENCE_SECONDS, inline_limit=4 * _BODY_CHARACTERS) as client:
        with counted_refusals(url, log) as refused:
            findings = [_found(name, check) for name, check in Checklist(url, key, client).checks()]
        findings.append(_shown(Finding("refusals by code", good=True, seen=refused.sentence())))
    print(f"\n{sum(finding.cost_usd for finding in findings):.4f} US dollars in all, by the results")
    return 0 if all(finding.good for finding in findings) else 1


def _found(name: str, check: Callable[[], Finding]) -> Finding:
    began = time.monotonic()
    try:
        found = check()
    except RLMError as error:
        found = Finding(name, good=False, seen=str(error))
    return _shown(Finding(name, found.good, found.seen, found.cost_usd, time.monotonic() - began))


def _shown(finding: Finding) -> Finding:
    figures = f"  ({finding.seconds:.1f} s, ${finding.cost_usd:.4f})" if finding.seconds else ""
    print(f"{'✓' if finding.good else '✗'} {finding.name}: {finding.seen}{figures}", flush=True)
    return finding


def _most_at_once(calls: Sequence[TrajectoryCall]) -> int:
    """How many of them were under way at the same time, at most."""
    began_and_took = [(call.started_at, (call.duration_ms or 0) / 1000) for call in calls]
    spans = [(began.timestamp(), took) for began, took in began_and_took if began is not None]
    return max((sum(began <= at < began + took for began, took in spans) for at, _ in spans), default=0)


def _whole(result: RLMResult, seen: str) -> Finding:
    coverage = result.coverage or 0.0
    return Finding(
        "", result.success and coverage >= 1.0, f"{seen}, coverage {coverage:.0%}{_trouble(result)}", result.cost_usd
    )


def _answered(result: RLMResult, seen: str) -> Finding:
    return Finding("", result.success, f"{seen}{_trouble(result)}", result.cost_usd)


def _trouble(result: RLMResult) -> str:
    said = [result.error.message] if result.error else []
    return "".join(f"; {warning}" for warning in [*said, *result.warnings][:3])

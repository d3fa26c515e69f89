"""Asks what has not been asked yet, and tells what came of it as a table."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from .chat import Chat
from .journal import Key, Measured, Results
from .scores import answer_score, mean_of, note_score
from .suites import Case, case
from .variants import VARIANTS

Task = Literal["read", "answer", "final"]
MAX_TOKENS = 128


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be compared: every variant on every suite, `count` cases each, on texts of so many characters."""

    task: Task
    model: str
    suites: Sequence[str]
    variants: Sequence[str]
    count: int
    characters: int
    first_seed: int = 0

    def measurements(self) -> Iterator[Key]:
        """All variants of one case come one after the other, so that a stop leaves each with about as many."""
        seeds = range(self.first_seed, self.first_seed + self.count)
        for seed, suite, variant in product(seeds, self.suites, self.variants):
            yield Key(self.task, suite, variant, self.model, seed, self.characters)


def evaluate(plan: Plan, chat: Chat, results: Results, seconds: float = math.inf) -> None:
    """Measures what of the plan is not known yet; begins nothing after that many seconds."""
    started = time.monotonic()
    for key in plan.measurements():
        if time.monotonic() - started >= seconds:
            return
        if key not in results:
            results.add(measure(key, chat))


def measure(key: Key, chat: Chat) -> Measured:
    asked = case(key.suite, key.seed, key.characters)
    variant = VARIANTS[key.variant]
    prompt = {"read": variant.reading, "answer": variant.answering, "final": variant.concluding}[key.task]
    started = time.monotonic()
    said = chat.ask(prompt(asked), MAX_TOKENS)
    seconds = time.monotonic() - started
    tokens = (said.input_tokens, said.output_tokens, said.cached_tokens)
    return Measured(key, said.text, score(key.task, asked, said.text), round(seconds, 3), *tokens)


def score(task: str, asked: Case, reply: str) -> float:
    return note_score(asked, reply) if task == "read" else answer_score(asked, reply)


def _score_now(measured: Measured) -> float:
    """What a reply scores by today's rules: a mended rule needs no new replies."""
    key = measured.key
    return score(key.task, case(key.suite, key.seed, key.characters), measured.reply)


def table(results: Results) -> str:
    """Scores in per cent with the half of their 95 % interval and n, a line for each task, model, suite and variant.

    `written` is the mean of the tokens of a reply: a reader that copies its whole part finds everything and tells
    nothing.
    """
    groups: dict[tuple[str, ...], list[Measured]] = defaultdict(list)
    for measured in results:
        key = measured.key
        groups[key.task, key.model, key.suite, key.variant].append(measured)
    lines = [
        "| task | model | suite | variant | n | score | written | seconds |",
        "|---|---|---|---|---:|---:|---:|---:|",
    ]
    for names, group in sorted(groups.items()):
        mean = mean_of([_score_now(one) for one in group])
        seconds = sum(one.seconds for one in group) / len(group)
        written = sum(one.output_tokens for one in group) / len(group)
        lines.append(f"| {' | '.join(names)} | {mean.count} | {mean} | {written:.0f} | {seconds:.1f} |")
    return "\n".join(lines)

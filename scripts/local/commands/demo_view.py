"""How the demo looks: a bar while it runs, a table when it is done."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from scripts.local.sse import Event


class DemoView:
    """Shows a run's events as they come: a bar on a terminal, one line each elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID = self._progress.add_task("storing the document", total=None)
        self._answering = False
        self._chunks = 0

    def show(self, event: Event) -> None:
        match event.name:
            case "plan":
                self._plan(event.data)
            case "subcall":
                self._subcall(event.data)
            case "answer" if not self._answering:
                self._answering = True
                self._say("the root model answers from the notes")
            case _:
                return

    def _plan(self, plan: Mapping[str, object]) -> None:
        self._say(
            f"strategy {plan.get('strategy')}: {plan.get('chunks')} chunks of up to {plan.get('chunkSize')} characters"
        )
        self._progress.update(self._task, description="the sub-model reads", total=_number(plan.get("chunks")))

    def _subcall(self, call: Mapping[str, object]) -> None:
        # A chunk that a window turns out to be too small for is split, so the total may grow.
        done = _number(call.get("done"))
        self._chunks = max(self._chunks, done, _number(call.get("chunks")))
        self._progress.update(self._task, completed=done, total=self._chunks)
        if done == self._chunks:
            self._progress.update(self._task, description="the root model reads the notes")
        if not self._console.is_terminal:
            self._say(f"{done} of {self._chunks} chunks read")

    def _say(self, line: str) -> None:
        self._console.print(f"[dim]{time.monotonic() - self._started:6.1f} s[/]  {line}")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


def show_result(console: Console, result: Mapping[str, object]) -> None:
    """The answer, and the run in figures."""
    console.print(Panel(Text(str(result.get("answer", "")).strip()), title="Answer", title_align="left"))
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for label, value in _figures(result):
        table.add_row(f"[bold]{label}[/]", value)
    console.print(table)
    for warning in _listed(result.get("warnings")):
        console.print(f"[yellow]warning[/]  {warning}")


def show_curl(console: Console, url: str, session: str) -> None:
    """What can be asked of it while it is kept."""
    question = '{"context": "Anna has 3 apples. Bob has 4.", "query": "Who has more apples?"}'
    console.print("\n[bold]Try it[/]")
    for line in (
        f"curl -s {url}/rlm -H 'content-type: application/json' -d '{question}'",
        f"curl -s {url}/session/{session}/trajectory",
        f"curl -s '{url}/health?deep=1'",
    ):
        console.print(f"  {line}", markup=False, soft_wrap=True)


def _figures(result: Mapping[str, object]) -> list[tuple[str, str]]:
    tokens = f"{_number(result.get('totalInputTokens')):,} in, {_number(result.get('totalOutputTokens')):,} out"
    cost = float(str(result.get("costUsd", 0)))
    return [
        ("strategy", str(result.get("strategy"))),
        ("chunks", str(result.get("chunks"))),
        ("coverage", f"{float(str(result.get('coverage', 0))):.0%}"),
        ("sub-calls", str(result.get("subCalls"))),
        ("tokens", tokens),
        (
            "cost",
            f"${cost:.6f} at Workers AI's prices ({float(str(result.get('neurons', 0))):,.0f} neurons); here: nothing",
        ),
        ("time", f"{_number(result.get('durationMs')) / 1000:.1f} s"),
        ("session", str(result.get("sessionId"))),
    ]


def _number(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0


def _listed(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []

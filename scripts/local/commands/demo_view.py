"""How the demo looks: a bar while it runs, a table when it is done."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from rlm_client import AnswerEvent, PlanEvent, RLMResult, RunEvent, SubcallEvent


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

    def show(self, event: RunEvent) -> None:
        match event:
            case PlanEvent():
                self._plan(event)
            case SubcallEvent():
                self._subcall(event)
            case AnswerEvent() if not self._answering:
                self._answering = True
                self._say("the root model answers from the notes")
            case _:
                return

    def _plan(self, plan: PlanEvent) -> None:
        self._say(f"strategy {plan.strategy}: {plan.chunks} chunks of up to {plan.chunk_size} characters")
        self._progress.update(self._task, description="the sub-model reads", total=plan.chunks)

    def _subcall(self, call: SubcallEvent) -> None:
        # A chunk that a window turns out to be too small for is split, so the total may grow.
        self._chunks = max(self._chunks, call.done, call.chunks)
        self._progress.update(self._task, completed=call.done, total=self._chunks)
        if call.done == self._chunks:
            self._progress.update(self._task, description="the root model reads the notes")
        if not self._console.is_terminal:
            self._say(f"{call.done} of {self._chunks} chunks read")

    def _say(self, line: str) -> None:
        self._console.print(f"[dim]{time.monotonic() - self._started:6.1f} s[/]  {line}")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


def show_result(console: Console, result: RLMResult) -> None:
    """The answer, and the run in figures."""
    console.print(Panel(Text((result.answer or "").strip()), title="Answer", title_align="left"))
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for label, value in _figures(result):
        table.add_row(f"[bold]{label}[/]", value)
    console.print(table)
    for warning in result.warnings:
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


def _figures(result: RLMResult) -> list[tuple[str, str]]:
    return [
        ("strategy", str(result.strategy)),
        ("chunks", str(result.chunks)),
        ("coverage", f"{result.coverage or 0:.0%}"),
        ("sub-calls", str(result.sub_calls)),
        ("tokens", f"{result.total_input_tokens:,} in, {result.total_output_tokens:,} out"),
        ("answered by", ", ".join(f"{usage.model} ({usage.calls} calls)" for usage in result.models)),
        ("cost", f"${result.cost_usd:.6f}" if result.cost_usd else "nothing: the models are this machine's own"),
        ("time", f"{result.duration_ms / 1000:.1f} s"),
        ("session", str(result.session_id)),
    ]

"""A run as it is watched: a live bar at a terminal, a few plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import time
from dataclasses import dataclass
from textwrap import indent
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.spinner import Spinner
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from rlm_client._context import UploadProgress
from rlm_client._events import AnswerEvent, IterationEvent, JudgeEvent, MendEvent, PlanEvent, RunEvent, SubcallEvent
from rlm_client._models import RLMResult
from rlm_client._stream import EventStream

from .console import count, money, roughly, seconds, short

MAX_OUTPUT_LINES = 16
"""How much of what a cell printed is shown."""
TAIL_LINES = 8
"""How much of an unfinished answer is shown under the bar."""


class Watcher(Protocol):
    """Shows a run while it happens; a context manager around it."""

    state: RunState

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def event(self, event: RunEvent) -> None:
        """Show an event."""

    def upload(self, progress: UploadProgress) -> None:
        """Show how much of a context has been sent."""


def watcher(console: Console, *, quiet: bool) -> Watcher:
    """Return the watcher that suits where the console writes."""
    if quiet:
        return SilentWatcher()
    return LiveWatcher(console) if console.is_terminal else PlainWatcher(console)


def follow(stream: EventStream, watching: Watcher) -> RLMResult:
    """Show a run's events to its end and return its result."""
    with watching, stream:
        for event in stream:
            watching.event(event)
    assert stream.result is not None
    return stream.result


@dataclass(slots=True)
class RunState:
    """What the events so far add up to; `answer` is the attempt under way, `voided` counts those before it."""

    chunks: int = 0
    done: int = 0
    calls: int = 0
    cost_usd: float = 0.0
    answer: str = ""
    voided: int = 0
    phase: str = "starting"

    def take(self, event: RunEvent) -> None:
        """Add an event."""
        match event:
            case PlanEvent():
                self.chunks, self.phase = event.chunks, _first_phase(event)
            case SubcallEvent():
                self._take_subcall(event)
            case IterationEvent():
                self._take_iteration(event)
            case AnswerEvent():
                self._take_answer(event)
            case MendEvent():
                self.phase = "mending the answer"
            case _:
                pass

    def _take_subcall(self, event: SubcallEvent) -> None:
        self.cost_usd += event.cost_usd
        self.calls += 1
        self.done = max(self.done, event.done)
        self.chunks = max(self.chunks, event.chunks)
        if self.chunks and self.done >= self.chunks:
            self.phase = "answering"

    def _take_iteration(self, event: IterationEvent) -> None:
        self.cost_usd += event.cost_usd
        # A child counts its own turns, beside those of the run.
        if event.parent is None:
            self.phase = f"iteration {event.iteration + 1}"

    def _take_answer(self, event: AnswerEvent) -> None:
        if event.restart:
            self.voided += bool(self.answer)
            self.answer = ""
        self.answer += event.delta
        self.phase = "answering"


def _first_phase(plan: PlanEvent) -> str:
    if plan.strategy == "repl":
        return "iteration 1"
    return "reading" if plan.chunks > 1 else "answering"


class SilentWatcher:
    """Keeps count and shows nothing."""

    def __init__(self) -> None:
        self.state = RunState()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def event(self, event: RunEvent) -> None:
        """Count an event."""
        self.state.take(event)

    def upload(self, progress: UploadProgress) -> None:
        """Pass over it."""


class PlainWatcher(SilentWatcher):
    """Prints a line now and then; fit for a log."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._last_line = ""

    def event(self, event: RunEvent) -> None:
        """Print what is new, at most about ten lines for all chunks together."""
        state, tenth = self.state, self._tenth()
        super().event(event)
        print_event(self._console, event)
        if isinstance(event, SubcallEvent) and state.chunks and self._tenth() != tenth:
            self._print_once(f"read {state.done} of {count(state.chunks, 'chunk')} · {money(state.cost_usd)}")
        elif isinstance(event, AnswerEvent):
            self._print_once("writing the answer anew" if state.voided else "writing the answer")

    def upload(self, progress: UploadProgress) -> None:
        """Print that an upload has ended."""
        if progress.sent == progress.total:
            self._print_once(f"uploaded {count(progress.sent, 'byte')}")

    def _tenth(self) -> int:
        return self.state.done * 10 // max(1, self.state.chunks)

    def _print_once(self, line: str) -> None:
        if line != self._last_line:
            self._console.print(line)
            self._last_line = line


class LiveWatcher(SilentWatcher):
    """A bar over the chunks, the cost so far, and the end of the answer while it is written."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._started = time.monotonic()
        self._spinner = Spinner("dots", style="cyan")
        self._sent: UploadProgress | None = None
        self._live = Live(console=console, transient=True, refresh_per_second=8, get_renderable=self._view)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def event(self, event: RunEvent) -> None:
        """Move the bar, and print what should stay."""
        super().event(event)
        print_event(self._live.console, event)

    def upload(self, progress: UploadProgress) -> None:
        """Move the bar over the bytes."""
        self._sent = progress
        self.state.phase = "uploading"

    def _view(self) -> RenderableType:
        tail = self.state.answer.splitlines()[-TAIL_LINES:]
        written = Padding(Text("\n".join(tail), style="dim"), (1, 0, 0, 2))
        return Group(self._bar(), written) if tail else self._bar()

    def _bar(self) -> RenderableType:
        state, elapsed = self.state, (time.monotonic() - self._started) * 1_000
        done, total, amount = self._amount()
        bar = ProgressBar(total, done, 32, pulse=total is None, complete_style="cyan", pulse_style="cyan")
        cost = money(state.cost_usd) if state.cost_usd else ""
        row = Table.grid(padding=(0, 1))
        row.add_row(
            self._spinner, state.phase, bar, amount, Text(cost, style="bold"), Text(_clock(elapsed), style="dim")
        )
        return row

    def _amount(self) -> tuple[float, float | None, str]:
        """Return how much is done, of how much if that is known, and both in words."""
        state = self.state
        if state.phase == "uploading" and self._sent is not None:
            return self._sent.sent, self._sent.total, f"{self._sent.sent / 1e6:.1f} MB"
        if state.chunks > 1:
            return state.done, state.chunks, f"{state.done:,}/{count(state.chunks, 'chunk')}"
        return 0, None, count(state.calls, "sub-call") if state.calls else ""


def _clock(milliseconds: float) -> str:
    # Whole seconds: tenths only flicker.
    return seconds(max(1_000, milliseconds // 1_000 * 1_000)).replace(".0", "")


def print_event(console: Console, event: RunEvent) -> None:
    """Print the events that should stay on the screen: the judge, the plan, failed chunks, iterations."""
    match event:
        case JudgeEvent():
            console.print(Text.assemble(("Judge    ", "bold"), _judge(event)))
        case PlanEvent():
            console.print(Text.assemble(("Plan     ", "bold"), _plan(event)))
        case SubcallEvent(status="failed"):
            console.print(Text(f"chunk {event.chunk} could not be read", style="yellow"))
        case IterationEvent():
            console.print(_iteration_block(event) if console.is_terminal else _iteration_text(event), soft_wrap=True)
        case MendEvent():
            console.print(Text(f"the answer does not fit, and is asked for again: {event.problem}", style="yellow"))
        case _:
            pass


def _judge(event: JudgeEvent) -> str:
    judge = event.judge if event.judge == event.asked else f"{event.judge} in place of {event.asked}"
    return " · ".join((judge, count(event.chunks, "chunk"), money(event.cost_usd)))


def _plan(plan: PlanEvent) -> str:
    # A window or a budget may cut smaller than the size that was asked for.
    each = f" of about {roughly(plan.characters // plan.chunks):,} characters" if plan.chunks > 1 else ""
    cut = count(plan.chunks, "chunk") + each if plan.chunks > 1 else ""
    sub = f" ← {short(plan.sub_model)}" if plan.strategy != "direct" and plan.sub_model else ""
    return " · ".join(part for part in (plan.strategy, cut, short(plan.root_model) + sub) if part)


def _iteration_text(event: IterationEvent) -> Text:
    code, printed = (event.code or "").rstrip(), _head_and_tail(event.output or "")
    return Text("\n".join(filter(None, [f"── {_turn(event)}", indent(code, "  "), indent(printed, "    ")])))


def _iteration_block(event: IterationEvent) -> RenderableType:
    parts: list[RenderableType] = [Rule(Text(_turn(event)), align="left", style="dim")]
    if event.code:
        code = Syntax(event.code.rstrip(), "python", theme="ansi_dark", background_color="default", word_wrap=True)
        parts.append(Padding(code, (0, 0, 0, 2)))
    if event.output and event.output.strip():
        parts.append(Padding(Text(_head_and_tail(event.output), style="dim"), (0, 0, 0, 4)))
    return Group(*parts)


def _turn(event: IterationEvent) -> str:
    number = event.iteration if event.parent is None else f"{event.parent}/{event.iteration}"
    return f"iteration {number} · {money(event.cost_usd)} · {seconds(event.duration_ms)}"


def _head_and_tail(text: str) -> str:
    """Return the first and last lines of a long output, and how many are between them."""
    lines = text.strip("\n").splitlines()
    if len(lines) <= MAX_OUTPUT_LINES:
        return "\n".join(lines)
    half = MAX_OUTPUT_LINES // 2
    return "\n".join([*lines[:half], f"… {count(len(lines) - 2 * half, 'line')} …", *lines[-half:]])

"""The parts of a run that stay on the screen: its plan, what failed, the root model's turns."""

from __future__ import annotations

from textwrap import indent

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.syntax import Syntax
from rich.text import Text

from rlm_client._cli._words import count, money, roughly, seconds, short
from rlm_client._events import IterationEvent, PlanEvent, RunEvent, SubcallEvent

OUTPUT_LINES = 16
"""How much of what a cell printed is shown."""


def print_event(console: Console, event: RunEvent) -> None:
    """Print the events that should stay on the screen: the plan, failed chunks, iterations."""
    match event:
        case PlanEvent():
            console.print(Text.assemble(("Plan     ", "bold"), plan_line(event)))
        case SubcallEvent(status="failed"):
            console.print(Text(f"chunk {event.chunk} could not be read", style="yellow"))
        case IterationEvent():
            console.print(iteration_block(event) if console.is_terminal else iteration_text(event), soft_wrap=True)
        case _:
            pass


def plan_line(plan: PlanEvent) -> str:
    """Return how the context will be read, on one line."""
    # A window or a budget may cut smaller than the size that was asked for.
    each = f" of about {roughly(plan.characters // plan.chunks):,} characters" if plan.chunks > 1 else ""
    cut = count(plan.chunks, "chunk") + each if plan.chunks > 1 else ""
    sub = f" ← {short(plan.sub_model)}" if plan.strategy != "direct" and plan.sub_model else ""
    return " · ".join(part for part in (plan.strategy, cut, short(plan.root_model) + sub) if part)


def iteration_text(event: IterationEvent) -> Text:
    """Return a turn of the root model as plain lines: its code, and what that printed."""
    code, printed = (event.code or "").rstrip(), head_and_tail(event.output or "")
    return Text("\n".join(filter(None, [f"── {_turn(event)}", indent(code, "  "), indent(printed, "    ")])))


def iteration_block(event: IterationEvent) -> RenderableType:
    """Return a turn of the root model for a terminal: the same, set apart and coloured."""
    parts: list[RenderableType] = [Rule(Text(_turn(event)), align="left", style="dim")]
    if event.code:
        code = Syntax(event.code.rstrip(), "python", theme="ansi_dark", background_color="default", word_wrap=True)
        parts.append(Padding(code, (0, 0, 0, 2)))
    if event.output and event.output.strip():
        parts.append(Padding(Text(head_and_tail(event.output), style="dim"), (0, 0, 0, 4)))
    return Group(*parts)


def _turn(event: IterationEvent) -> str:
    return f"iteration {event.iteration} · {money(event.cost_usd)} · {seconds(event.duration_ms)}"


def head_and_tail(text: str, limit: int = OUTPUT_LINES) -> str:
    """Return the first and last lines of a long output, and how many are between them."""
    lines = text.strip("\n").splitlines()
    if len(lines) <= limit:
        return "\n".join(lines)
    half = limit // 2
    return "\n".join([*lines[:half], f"… {count(len(lines) - 2 * half, 'line')} …", *lines[-half:]])

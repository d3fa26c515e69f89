"""Two consoles: answers go to standard output, everything about them to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

from rich.console import Console
from rich.markdown import Markdown
from rich.padding import Padding
from rich.text import Text

from rlm_client._cli._words import models_line, numbers
from rlm_client._models import RLMResult

# In a pipe nobody's window sets the width, and a table that breaks its lines there is of no use to the next program.
PIPE_WIDTH = 240


def output() -> Console:
    """Return the console on standard output."""
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)


def notes() -> Console:
    """Return the console on standard error."""
    return Console(stderr=True, width=None if sys.stderr.isatty() else PIPE_WIDTH, highlight=False)


def print_json(value: object) -> None:
    """Print a value as JSON on standard output."""
    print(json.dumps(value, ensure_ascii=False, indent=2))  # noqa: T201 - rich would wrap and colour it


def print_answer(answer: str) -> None:
    """Print an answer: laid out for a reader at a terminal, as it came for a program."""
    if sys.stdout.isatty():
        output().print(Padding(Markdown(answer, hyperlinks=False), (1, 0)))
    else:
        print(answer)  # noqa: T201 - byte for byte


def print_numbers(result: RLMResult) -> None:
    """Print what a run took, and whatever there is to warn of."""
    console = notes()
    for warning in result.warnings:
        console.print(Text(f"warning: {warning}", style="yellow"))
    console.print(Text(numbers(result), style="dim"))
    if models_line(result):
        console.print(Text(models_line(result), style="dim"))


def print_result(result: RLMResult, *, as_json: bool, quiet: bool) -> None:
    """Print a run's outcome on both consoles."""
    if as_json:
        print_json(result.to_json())
    elif result.answer is not None:
        print_answer(result.answer)
    if not quiet:
        print_numbers(result)


def print_facts(facts: Mapping[str, object]) -> None:
    """Print names and values in two columns on standard output."""
    width = max(map(len, facts), default=0)
    console = output()
    for name, value in facts.items():
        console.print(Text.assemble((f"{name:<{width}}  ", "bold"), str(value)), soft_wrap=True)

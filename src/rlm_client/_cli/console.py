"""Two consoles, and how facts read on them: answers go to standard output, everything about them to standard error."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from datetime import datetime

from rich.console import Console
from rich.markdown import Markdown
from rich.padding import Padding
from rich.text import Text

from rlm_client._models import BatchStatus, Citation, RLMResult

PIPE_WIDTH = 240
"""Columns of a pipe: it has no window, and a table that breaks its lines is of no use to the next program."""

MAX_SOURCES, MAX_NAME = 12, 28
"""Places that are shown below an answer, and characters of a document's name there."""


def output() -> Console:
    """Return the console on standard output."""
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)


def notes() -> Console:
    """Return the console on standard error."""
    return Console(stderr=True, width=None if sys.stderr.isatty() else PIPE_WIDTH, highlight=False)


def print_json(value: object) -> None:
    """Print a value as JSON on standard output."""
    print(json.dumps(value, ensure_ascii=False, indent=2))  # noqa: T201 - rich would wrap and colour it


def print_result(result: RLMResult, *, as_json: bool, quiet: bool, as_written: bool = False) -> None:
    """Print a run's outcome on both consoles; `as_written`: the answer is data, not a text to be laid out."""
    if as_json:
        print_json(result.to_json())
    elif result.answer is not None:
        _print_answer(result.answer, as_written=as_written)
    if not quiet:
        _print_sources(result, as_json=as_json)
        _print_numbers(result)


def print_facts(facts: Mapping[str, object]) -> None:
    """Print names and values in two columns on standard output."""
    width = max(map(len, facts), default=0)
    console = output()
    for name, value in facts.items():
        console.print(Text.assemble((f"{name:<{width}}  ", "bold"), str(value)), soft_wrap=True)


def money(dollars: float) -> str:
    """Return dollars to three digits that count, and to cents from a dollar up: $3.20, $0.0412, $0.000087."""
    if dollars <= 0:
        return "$0"
    if dollars >= 1:
        return f"${dollars:,.2f}"
    places = 2 - math.floor(math.log10(dollars))
    return f"${dollars:.{places}f}".rstrip("0").rstrip(".")


def roughly(number: int) -> int:
    """Return a number to three digits: more would claim to know."""
    return round(number, 3 - len(str(number))) if number >= 1_000 else number


def seconds(milliseconds: float) -> str:
    """Return a duration: 420 ms, 8.4 s, 3 min 5 s."""
    if milliseconds < 1_000:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1_000:.1f} s"
    minutes, rest = divmod(round(milliseconds / 1_000), 60)
    return f"{minutes} min {rest} s"


def moment(time: datetime | None) -> str:
    """Return a point in time, to the second, in this machine's zone."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z") if time else ""


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Return `1 chunk`, `1,200 chunks`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def short(model: str | None) -> str:
    """Return a model's name without the catalogue's prefix: `@cf/meta/llama-3.1-8b` is `llama-3.1-8b`."""
    return (model or "?").rpartition("/")[2] if (model or "").startswith("@") else model or "?"


def clipped(text: str, width: int) -> str:
    """Return the text on one line, cut with an ellipsis when longer."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"


def batch_line(status: BatchStatus) -> str:
    """Return how far a batch is, on one line."""
    failed = f", {status.failed:,} failed" if status.failed else ""
    done = f"{status.done:,} of {count(status.total, 'question')} done{failed}"
    return f"batch {status.batch_id} · {done} · {money(status.cost_usd)}"


def _print_answer(answer: str, *, as_written: bool) -> None:
    """Print an answer: laid out for a reader at a terminal, as it came for a program."""
    if sys.stdout.isatty() and not as_written:
        output().print(Padding(Markdown(answer, hyperlinks=False), (1, 0)))
    else:
        print(answer)  # noqa: T201 - byte for byte


def _print_sources(result: RLMResult, *, as_json: bool) -> None:
    """Print where the answer stands, a line each, and what it quotes that stands nowhere."""
    console = notes()
    shown = [] if as_json else result.citations[:MAX_SOURCES]
    places = [_place(citation) for citation in shown]
    width = max(map(len, places), default=0)
    if places:
        console.print(Text("Sources (document @ character)", style="dim"))
    for citation, place in zip(shown, places, strict=True):
        doubt = "" if citation.verified else " (not word for word)"
        quote = clipped(citation.cited_text, max(20, min(console.width, 120) - width - len(doubt) - 5))
        console.print(Text.assemble((f"  {place:<{width}}  ", "bold"), quote, (doubt, "yellow")), soft_wrap=True)
    if rest := len(result.citations) - len(shown) if shown else 0:
        console.print(Text(f"  and {count(rest, 'more place', 'more places')}; --json shows all", style="dim"))
    for lost in result.unlocated:
        quote = clipped(lost.quote.strip("\"'\u201c\u201d`"), 60)
        console.print(Text(f'warning: not found in the text: "{quote}"', style="yellow"), soft_wrap=True)


def _place(citation: Citation) -> str:
    """Return a document's name and the character there, as `report.md @ 1,204`."""
    name = citation.document_title or f"document {citation.document_index + 1}"
    shown = name if len(name) <= MAX_NAME else "…" + name[1 - MAX_NAME :]
    return f"{shown} @ {citation.start_char_index:,}"


def _print_numbers(result: RLMResult) -> None:
    """Print what a run took, and whatever there is to warn of."""
    console = notes()
    for warning in result.warnings:
        console.print(Text(f"warning: {warning}", style="yellow"))
    console.print(Text(_numbers(result), style="dim"))
    for line in (_models_line(result), _routing_line(result)):
        if line:
            console.print(Text(line, style="dim"))
    if result.previous_session_id:
        console.print(Text(f"follows session {result.previous_session_id}", style="dim"))


def _numbers(result: RLMResult) -> str:
    """Return what a run took, on one line."""
    parts = [
        money(result.cost_usd) + (" (estimated)" if result.estimated else ""),
        *(["from the cache"] if result.cache_hit else [seconds(result.duration_ms)]),
        result.strategy or "",
        *([] if result.cache_hit else _work(result)),
        *_reservations(result),
        f"session {result.session_id}" if result.session_id else "",
    ]
    return " · ".join(part for part in parts if part)


def _work(result: RLMResult) -> list[str]:
    cached = f" (and {result.cached_sub_calls:,} cached)" if result.cached_sub_calls else ""
    cached_tokens = f" ({result.cached_input_tokens:,} cached)" if result.cached_input_tokens else ""
    thought = f" ({result.reasoning_tokens:,} thought)" if result.reasoning_tokens else ""
    tokens = f"{result.total_input_tokens:,} tokens in{cached_tokens}, {result.total_output_tokens:,} out{thought}"
    return [count(result.iterations, "iteration"), count(result.sub_calls, "sub-call") + cached, tokens]


def _reservations(result: RLMResult) -> list[str]:
    partial = result.coverage is not None and result.coverage < 1
    return [
        f"read {(result.coverage or 0) * 100:.1f} % of the context" if partial else "",
        "ended early by a limit" if result.truncated else "",
        "incomplete: ask again for the rest" if result.incomplete else "",
    ]


def _routing_line(result: RLMResult) -> str:
    """Return which rule has chosen, on one line; empty where none has."""
    routing = result.routing
    if routing is None or routing.rule is None:
        return ""
    behind = f" · behind them {', '.join(map(short, routing.fallbacks))}" if routing.fallbacks else ""
    return f"routing: {routing.policy}, rule {routing.rule} · {routing.task} · {routing.reason}{behind}"


def _models_line(result: RLMResult) -> str:
    """Return who answered what, on one line; empty when the Worker did not say."""
    parts = [f"{short(usage.model)}: {count(usage.calls, 'call')}, {money(usage.cost_usd)}" for usage in result.models]
    if result.sandboxes:
        parts.append(f"{count(result.sandboxes, 'sandbox', 'sandboxes')}, {money(result.sandbox_cost_usd)}")
    return " · ".join(parts)

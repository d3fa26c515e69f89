"""`rlm models`, `health`, `serve`: the Worker itself."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rlm_client._cli.console import notes, output, print_facts, print_json
from rlm_client._cli.errors import exit_unless, reports_errors
from rlm_client._cli.options import connected, json_option, worker_options
from rlm_client._models import ModelInfo

WIDE = 130
"""Columns from which on every field has its own."""
_NAME_WIDTH = 44


@click.command()
@json_option
@worker_options
@reports_errors
def models(*, as_json: bool, base_url: str | None, api_key: str | None) -> None:
    """List the models, with windows and prices."""
    with connected(base_url, api_key) as client:
        found = client.models()
    if as_json:
        print_json([model.to_json() for model in found])
    else:
        show_models(sorted(found, key=lambda model: bool(model.unavailable)))


def show_models(found: Sequence[ModelInfo]) -> None:
    """Print the models on standard output, and what is to be known of them on standard error."""
    console = output()
    print_models(console, found)
    for line in _remarks(found):
        notes().print(Text(line, style="dim"), soft_wrap=True)


def print_models(console: Console, found: Sequence[ModelInfo]) -> None:
    """Print the table that fits the console."""
    if console.width >= WIDE:
        console.print(_wide(found))
    else:
        _print_groups(console, found)


def _wide(found: Sequence[ModelInfo]) -> Table:
    table = _table("model", "short name", "provider")
    table.add_column("as of", no_wrap=True)
    for model in found:
        cells = [
            model.id,
            ", ".join(model.aliases),
            model.provider or "",
            *_figures(model, exact=True),
            model.dated or "",
        ]
        table.add_row(*cells, style=_style(model))
    return table


def _print_groups(console: Console, found: Sequence[ModelInfo]) -> None:
    for number, (provider, models) in enumerate(groupby(found, lambda model: model.provider or "")):
        listed = list(models)
        dates = sorted({model.dated for model in listed if model.dated})
        head = " · ".join(part for part in (provider, f"prices of {' and '.join(dates)}" if dates else "") if part)
        if number:
            console.print()
        if head:
            console.print(Text(head, style="bold"))
        table = _table("model")
        for model in listed:
            table.add_row(_name(model), *_figures(model, exact=False), style=_style(model))
        console.print(table)


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        width = _NAME_WIDTH if len(names) == 1 else None
        table.add_column(name, overflow="fold", min_width=width, max_width=width)
    for name in ("window", "$ in", "$ out", "$ cached"):
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _name(model: ModelInfo) -> Text:
    """What may be asked for: the id, and below it the short names."""
    short = ", ".join(alias for alias in model.aliases if not alias.startswith("@"))
    return Text.assemble(model.id, (f"\n  {short}" if short else "", "dim"))


def _figures(model: ModelInfo, *, exact: bool) -> list[str]:
    more = "+" if model.tiers else ""
    window = "" if model.window is None else f"{model.window:,}" if exact else _roughly(model.window)
    return [
        window,
        f"{_price(model.input_price)}{more}",
        f"{_price(model.output_price)}{more}",
        _price(model.cached_price),
    ]


def _roughly(tokens: int) -> str:
    return f"{tokens / 1_000_000:.2f}M" if tokens >= 1_000_000 else f"{tokens // 1_000}k"


def _price(price: float | None) -> str:
    return "" if price is None else f"{price:.3f}"


def _style(model: ModelInfo) -> str:
    return "dim" if model.unavailable else ""


def _remarks(found: Sequence[ModelInfo]) -> list[str]:
    dates = sorted({model.dated for model in found if model.dated})
    remarks = [f"Dollars per million tokens, as of {' and '.join(dates)}."] if dates else []
    if any(model.tiers for model in found):
        remarks.append("+ longer prompts cost more: --json shows the tiers.")
    return remarks + sorted(
        {f"{model.provider or model.id}: {model.unavailable}" for model in found if model.unavailable}
    )


@click.command()
@click.option("--deep", is_flag=True, help="Exercise every binding.")
@json_option
@worker_options
@reports_errors
def health(*, deep: bool, as_json: bool, base_url: str | None, api_key: str | None) -> None:
    """Show whether the Worker is healthy."""
    with connected(base_url, api_key) as client:
        found = client.health(deep=deep)
    if as_json:
        print_json(found.to_json())
    else:
        print_facts(_flat(found.to_json()))
    exit_unless(found.ok)


def _flat(facts: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in facts.items():
        flat.update(_flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value})
    return flat


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
@reports_errors
def serve(options: tuple[str, ...]) -> None:
    """Serve a local Worker from a checkout of rlm-worker, until Ctrl-C.

    All options go to the checkout's ./scripts/dev: --port N, --state DIR, --ai local|scripted|remote|URL,
    --ai-model NAME, --ai-key-env VAR, --provider NAME=URL, --var NAME=VALUE.
    """
    script = _dev_script(Path.cwd())
    if script is None:
        raise click.UsageError(
            "Not a checkout of rlm-worker: `rlm serve` runs the Worker from source. Clone the repository and run it "
            "there, or point to a deployed Worker with --base-url or RLM_BASE_URL."
        )
    # The script takes this process's place, and with it the terminal's Ctrl-C.
    os.chdir(script.parent.parent)
    os.execv(script, [str(script), *options])  # noqa: S606 - no shell is the point


def _dev_script(start: Path) -> Path | None:
    """Return the dev script of the checkout around a folder; both files together tell that it is one of ours."""
    candidates = (folder / "scripts" / "dev" for folder in (start, *start.parents))
    return next((script for script in candidates if _is_ours(script)), None)


def _is_ours(script: Path) -> bool:
    manifest = script.parent.parent / "wrangler.toml"
    return script.is_file() and manifest.is_file() and "rlm-worker" in manifest.read_text(encoding="utf-8")

"""`rlm models`, `health`, `serve`: the Worker itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from rlm_client._models import ModelInfo

from .console import notes, output, print_facts, print_json
from .errors import exit_unless, reports_errors
from .options import connected, json_option, worker_options


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
        return
    output().print(_table(found))
    if dates := sorted({model.dated for model in found if model.dated}):
        notes().print(Text(f"Dollars per million tokens, as of {' and '.join(dates)}.", style="dim"))


def _table(found: list[ModelInfo]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", overflow="fold")
    table.add_column("short name", overflow="fold")
    for name in ("window", "$ in", "$ out"):
        table.add_column(name, justify="right", no_wrap=True)
    for model in found:
        window = "" if model.window is None else f"{model.window:,}"
        prices = [_price(model.input_price), _price(model.output_price)]
        table.add_row(*(Text(cell) for cell in (model.id, ", ".join(model.aliases), window, *prices)))
    return table


def _price(price: float | None) -> str:
    return "" if price is None else f"{price:.3f}"


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
    --var NAME=VALUE.
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

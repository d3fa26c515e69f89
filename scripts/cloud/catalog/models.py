"""`scripts/models`: the catalogue beside what is published today; writes only when it is told to."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from datetime import date
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from rlm_worker.messages import ModelSpec, Prices
from rlm_worker.models.catalog import Catalog
from rlm_worker.models.prices import MODELS
from scripts.cloud.catalog.price_table import price_table
from scripts.cloud.catalog.published import API, Source, account_source, differences, package_source, refreshed
from scripts.local.errors import LocalError
from scripts.local.paths import local_paths
from scripts.local.processes import say

_TABLE = Path("src/rlm_worker/models/prices.py")
_PINNED = ("window", "input_price", "output_price", "cached_price", "write_price", "dated", "source")


@click.command()
@click.option("--write", is_flag=True, help="Put what is published into the catalogue, dated today.")
@click.option("--pin", "pinned", multiple=True, metavar="MODEL", help="Print MODEL_OVERRIDES that holds it as it is.")
@click.option("--api", default=API, help="Where Cloudflare's API is asked.")
@click.option("--table", type=click.Path(path_type=Path), help="The file that --write writes.", hidden=True)
def main(write: bool, pinned: Sequence[str], api: str, table: Path | None) -> None:
    """Compares windows and prices with what is published.

    Cloudflare's list is asked with CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_API_TOKEN (permission Workers AI: Read), where
    they are set; the PyPI package genai-prices, where it is installed, tells the prices of the others.
    """
    try:
        if pinned:
            print(pins(pinned))
            return
        changed = _compare(_sources(api))
        if write:
            target = table or local_paths().root / _TABLE
            target.write_text(price_table(changed), encoding="utf-8")
            say(f"written: {target.name}")
    except LocalError as error:
        say(error.report())
        sys.exit(1)


def pins(names: Sequence[str]) -> str:
    """The JSON of `MODEL_OVERRIDES` that keeps these models as they are now, whatever a later version says."""
    catalog, found = Catalog.standard(), {}
    for name in names:
        model = catalog.find(name)
        if model is None:
            raise LocalError(f"the catalogue has no model {name!r}")
        entry = {field: getattr(model, field) for field in _PINNED if getattr(model, field) is not None}
        found[model.id] = {**entry, "tiers": [_tier(tier) for tier in model.tiers]} if model.tiers else entry
    return json.dumps(found)


def _tier(tier: Prices) -> dict[str, float]:
    names = {"input": "input_price", "output": "output_price", "cached": "cached_price", "write": "write_price"}
    return {"above": tier.above, **{name: getattr(tier, field) for field, name in names.items()}}


def _sources(api: str) -> list[Source]:
    """Whoever can be asked, the most certain first."""
    account, token = os.environ.get("CLOUDFLARE_ACCOUNT_ID", ""), os.environ.get("CLOUDFLARE_API_TOKEN", "")
    sources = [account_source(api, account, token)] if account and token else []
    try:
        return [*sources, package_source()]
    except LocalError as error:
        if not sources:
            raise
        say(error.report())
        return sources


def _compare(sources: Sequence[Source]) -> list[ModelSpec]:
    """Shows the differences; gives the catalogue as it would be."""
    today, changed = date.today(), []  # noqa: DTZ011 - the day that stands beside a figure
    shown = Table("model", "figure", "here", "published", "by", box=None, pad_edge=False, header_style="bold")
    unknown: list[str] = []
    for model in MODELS:
        source = next((source for source in sources if source.look_up(model) is not None), None)
        published = source.look_up(model) if source else None
        if source is None or published is None:
            unknown.append(model.id)
            changed.append(model)
            continue
        for name, (ours, theirs) in differences(model, published).items():
            shown.add_row(model.id, name, _shown(ours), _shown(theirs), source.name)
        changed.append(refreshed(model, published, source.name, today))
    _report(shown, unknown, len(MODELS))
    return changed


def _report(shown: Table, unknown: Sequence[str], total: int) -> None:
    if shown.row_count:
        Console().print(shown)
    say(f"{shown.row_count} differences in {total - len(unknown)} of {total} models")
    if unknown:
        say(f"nobody was found who publishes {', '.join(unknown)}")


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(_shown(item) for item in value) or "-"
    if isinstance(value, Prices):
        return f"above {value.above:,}: {'/'.join(str(getattr(value, field.name)) for field in fields(value)[:4])}"
    return "-" if value is None else f"{value:,}" if isinstance(value, int | float) else str(value)


if __name__ == "__main__":
    main(prog_name="scripts/models")

"""`scripts/usage`: what the deployment did and cost, asked of Analytics Engine, as a table."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import click
from rich.console import Console
from rich.table import Table

from scripts.cloud.config import target
from scripts.cloud.wrangler import connected
from scripts.local.errors import LocalError
from scripts.local.paths import local_paths
from scripts.local.processes import say

# The order of the columns is a contract with ops; `rlm_worker.adapters.analytics` and `metrics_point` write them so.
_GROUPS: Mapping[str, str] = {
    "key": "index1",
    "day": "toStartOfInterval(timestamp, INTERVAL '1' DAY)",
    "status": "blob2",
    "strategy": "blob3",
    "root": "blob4",
    "sub": "blob5",
    "cache": "blob6",
    "error": "blob7",
}
# Points are sampled when there are many: each stands for `_sample_interval` of them.
_COLUMNS: Mapping[str, str] = {
    "runs": "SUM(_sample_interval)",
    "failed": "SUM(if(blob7 != '', _sample_interval, 0))",
    "cache_hits": "SUM(if(blob6 = 'hit', _sample_interval, 0))",
    "iterations": "SUM(_sample_interval * double1)",
    "sub_calls": "SUM(_sample_interval * double2)",
    "cost_usd": "SUM(_sample_interval * double3)",
    "neurons": "SUM(_sample_interval * double5)",
    "input_tokens": "SUM(_sample_interval * double6)",
    "output_tokens": "SUM(_sample_interval * double7)",
    "mean_seconds": "SUM(_sample_interval * double4) / SUM(_sample_interval) / 1000",
    "p95_seconds": "quantileExactWeighted(0.95)(double4, _sample_interval) / 1000",
    "coverage": "SUM(_sample_interval * double9) / SUM(_sample_interval)",
}


@click.command()
@click.option("--days", type=click.IntRange(1, 90), default=7, help="How far to look back (Analytics Engine keeps 90).")
@click.option("--by", "group", type=click.Choice(list(_GROUPS)), default="key", help="What a row stands for.")
@click.option("--env", "environment", default="", help="Another deployment, such as staging.")
@click.option("--dry-run", is_flag=True, help="Print the SQL and stop.")
def main(days: int, group: str, environment: str, dry_run: bool) -> None:
    """Shows runs, calls, tokens and cost.

    Needs wrangler's login, or CLOUDFLARE_API_TOKEN with the permission Account Analytics: Read.
    """
    paths = local_paths()
    (dataset,) = target(paths.root, environment).datasets
    sql = usage_sql(group, days, dataset)
    if dry_run:
        print(sql)
        return
    try:
        with connected(paths) as api:
            rows = api.analytics(sql)
    except LocalError as error:
        say(error.report())
        sys.exit(1)
    Console().print(usage_table(rows, group, days))


def usage_sql(group: str, days: int, dataset: str = "RLM_ANALYTICS") -> str:
    """The query for one row per `group` over the last `days`."""
    columns = ",\n".join(f"  {expression} AS {name}" for name, expression in _COLUMNS.items())
    return (
        f"SELECT\n  {_GROUPS[group]} AS label,\n{columns}\nFROM {dataset}\n"
        f"WHERE timestamp > NOW() - INTERVAL '{days}' DAY\n"
        f"GROUP BY label\nORDER BY {'label' if group == 'day' else 'cost_usd DESC'}\nLIMIT 200\nFORMAT JSON"
    )


def usage_table(rows: Sequence[Mapping[str, object]], group: str, days: int) -> Table:
    """The rows of an answer, with a line for the sums."""
    table = Table(title=f"rlm-worker, last {days} days, by {group}", title_justify="left")
    table.add_column(group)
    for name in _COLUMNS:
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(str(row.get("label") or "-"), *(_figure(name, row.get(name)) for name in _COLUMNS))
    total = sum(float(str(row.get("cost_usd") or 0)) for row in rows)
    runs = sum(float(str(row.get("runs") or 0)) for row in rows)
    table.caption = f"{runs:,.0f} runs, ${total:,.4f}"
    return table


def _figure(name: str, value: object) -> str:
    number = float(str(value)) if value is not None else 0.0
    if name == "cost_usd":
        return f"{number:,.4f}"
    if name == "coverage":
        return f"{number:.0%}"
    return f"{number:,.1f}" if name.endswith("seconds") else f"{number:,.0f}"


if __name__ == "__main__":
    main(prog_name="scripts/usage")

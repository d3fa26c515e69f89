"""`scripts/usage`: what the deployment did and cost, asked of Analytics Engine, as a table."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

import click
import httpx
from rich.console import Console
from rich.table import Table

from scripts.local.errors import LocalError
from scripts.local.processes import say

_URL = "https://api.cloudflare.com/client/v4/accounts/{account}/analytics_engine/sql"
_TIMEOUT_SECONDS = 60.0

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
@click.option("--dry-run", is_flag=True, help="Print the SQL and stop.")
def main(days: int, group: str, dry_run: bool) -> None:
    """Shows runs, calls, tokens and cost.

    Needs CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_API_TOKEN, the latter with the permission Account Analytics: Read.
    """
    sql = usage_sql(group, days)
    if dry_run:
        print(sql)
        return
    try:
        rows = _ask(sql, _required("CLOUDFLARE_ACCOUNT_ID"), _required("CLOUDFLARE_API_TOKEN"))
    except LocalError as error:
        say(error.report())
        sys.exit(1)
    Console().print(usage_table(rows, group, days))


def usage_sql(group: str, days: int) -> str:
    """The query for one row per `group` over the last `days`."""
    columns = ",\n".join(f"  {expression} AS {name}" for name, expression in _COLUMNS.items())
    return (
        f"SELECT\n  {_GROUPS[group]} AS label,\n{columns}\nFROM RLM_ANALYTICS\n"
        f"WHERE timestamp > NOW() - INTERVAL '{days}' DAY\n"
        f"GROUP BY label\nORDER BY {'label' if group == 'day' else 'cost_usd DESC'}\nLIMIT 200\nFORMAT JSON"
    )


def usage_table(rows: list[Mapping[str, object]], group: str, days: int) -> Table:
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


def _ask(sql: str, account: str, token: str) -> list[Mapping[str, object]]:
    try:
        response = httpx.post(
            _URL.format(account=account),
            content=sql,
            headers={"authorization": f"Bearer {token}"},
            timeout=_TIMEOUT_SECONDS,
        )
    except httpx.HTTPError as error:
        raise LocalError(f"Cloudflare's API cannot be reached: {error}") from error
    if response.status_code != 200:
        raise LocalError(f"Analytics Engine answered {response.status_code}", output=response.text)
    rows: list[Mapping[str, object]] = response.json().get("data", [])
    return rows


def _required(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise LocalError(
            f"{name} is not set", hint="`./scripts/usage --help` says what is needed; --dry-run needs nothing"
        )
    return value


if __name__ == "__main__":
    main(prog_name="scripts/usage")

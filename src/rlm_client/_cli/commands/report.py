"""`rlm report`, and what `rlm ask --report` writes: a run as a page for people."""

from __future__ import annotations

from pathlib import Path

import click

from rlm_client._cli.console import notes
from rlm_client._cli.errors import Exit, reports_errors
from rlm_client._cli.options import connected, worker_options
from rlm_client._cli.output import write_whole
from rlm_client._client import RLMClient

report_option = click.option(
    "--report",
    "report_path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.html",
    help="Also write a page with the answer beside its sources.",
)


@click.command()
@click.argument("session_id", metavar="SESSION")
@click.option(
    "-o",
    "--output",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.html",
    help="Where to write it; by default standard output.",
)
@worker_options
@reports_errors
def report(session_id: str, *, path: Path | None, base_url: str | None, api_key: str | None) -> None:
    """Write a run as a page: its answer beside its sources, what was read, what it has cost."""
    with connected(base_url, api_key) as client:
        found = client.report(session_id)
    if found is None:
        notes().print("Still running: `rlm result --wait` waits for it.")
        raise click.exceptions.Exit(Exit.NOT_NOW)
    if path is None:
        click.echo(found, nl=False)
    else:
        write_whole(path, found, "Report")


def write_report(client: RLMClient, session_id: str | None, path: Path | None) -> None:
    """Write the page of a run that has ended, where one is wanted; says where it lies."""
    if path is None or session_id is None:
        return
    found = client.report(session_id)
    if found is not None:
        write_whole(path, found, "Report")

"""`rlm report`, and what `rlm ask --report` writes: a run as a page for people."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

import click

from rlm_client._cli.console import notes
from rlm_client._cli.errors import Exit, reports_errors
from rlm_client._cli.options import connected, worker_options
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
        _write(path, found)


def write_report(client: RLMClient, session_id: str | None, path: Path | None) -> None:
    """Write the page of a run that has ended, where one is wanted; says where it lies."""
    if path is None or session_id is None:
        return
    found = client.report(session_id)
    if found is not None:
        _write(path, found)


def check_writable(path: Path | None) -> None:
    """Raise `UsageError` for a place where no page can be written, before anything is paid for."""
    if path is not None and not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
        raise click.UsageError(f"Cannot write {path}: its folder does not exist or may not be written to.")


def _write(path: Path, text: str) -> None:
    """Whole or not at all: what was there before stays until the new page is complete."""
    try:
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(partial).chmod(0o666 & ~_umask())
            Path(partial).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(partial).unlink()
            raise
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror}") from None
    notes().print(f"Report: {path}", soft_wrap=True, highlight=False)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current

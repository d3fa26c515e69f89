"""`rlm batch`: many questions from a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import TextIO

import click
from rich.console import Console

from rlm_client._cli.console import batch_line, notes
from rlm_client._cli.errors import exit_unless, reports_errors
from rlm_client._cli.interrupt import RunningBatch, cancelled_on_interrupt
from rlm_client._cli.options import connected, quiet_option, worker_options
from rlm_client._client import RLMClient
from rlm_client._errors import RequestError
from rlm_client._models import BatchItem, BatchStatus, read_json
from rlm_client._requests import encoded


@click.command()
@click.argument("file", type=click.File(encoding="utf-8"), required=False)
@click.option("--resume", "batch_id", metavar="BATCH", help="Wait for a batch that was sent before, instead of a FILE.")
@click.option("-o", "--output", type=click.File("w", encoding="utf-8", lazy=True), default="-", help="Results go here.")
@click.option("--no-wait", is_flag=True, help="Print the batch's id and leave.")
@quiet_option
@worker_options
@reports_errors
def batch(
    file: TextIO | None,
    *,
    batch_id: str | None,
    output: TextIO,
    no_wait: bool,
    quiet: bool,
    base_url: str | None,
    api_key: str | None,
) -> None:
    """Ask every question of a FILE of JSON lines, each with context, query and config; - is standard input.

    The results are JSON lines in the same order. The exit code is 1 when any of them failed.
    """
    with connected(base_url, api_key) as client:
        batch_id = batch_id or _sent(client, file)
        if no_wait:
            click.echo(batch_id)
            return
        items = _awaited(client, batch_id, notes(), quiet=quiet)
    output.writelines(encoded(item.to_json()).decode() + "\n" for item in items)
    exit_unless(all(item.success for item in items))


def _sent(client: RLMClient, file: TextIO | None) -> str:
    if file is None:
        raise click.UsageError("Name a FILE of JSON lines, or a batch to --resume.")
    return client.batch(list(_requests(file))).batch_id


def _requests(file: TextIO) -> Iterator[Mapping[str, object]]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        request = read_json(line)
        if not isinstance(request, Mapping):
            raise RequestError(f"Line {number} is not a JSON object.")
        yield request


def _awaited(client: RLMClient, batch_id: str, console: Console, *, quiet: bool) -> list[BatchItem]:
    work = RunningBatch(client, batch_id)
    spinner = None if quiet else console.status(work.name)

    def show(status: BatchStatus) -> None:
        if spinner is not None:
            spinner.update(batch_line(status))

    with cancelled_on_interrupt(work, console), spinner or nullcontext():
        status = client.wait_batch(batch_id, on_status=show)
    if not quiet:
        console.print(batch_line(status), soft_wrap=True)
    return client.batch_results(batch_id)

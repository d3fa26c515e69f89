"""`rlm extract`: the rows of a table, without a question."""

from __future__ import annotations

from pathlib import Path

import click

from rlm_client._cli.console import notes
from rlm_client._cli.errors import exit_unless, reports_errors
from rlm_client._cli.files import Selection
from rlm_client._cli.interrupt import RunningSession, cancelled_on_interrupt
from rlm_client._cli.options import connected, quiet_option, worker_options
from rlm_client._cli.progress import follow, watcher
from rlm_client._cli.tables import read_schema, write_all
from rlm_client._models import RLMConfig

from .ask import POSITIVE, collected


@click.command()
@click.argument("schema_path", metavar="SCHEMA.json", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("-o", "--output", "path", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.csv")
@click.option("--name", metavar="TABLE", help="Which table, where the schema has several.")
@click.option("--instructions", metavar="TEXT", help="What else a reader should know.")
@click.option("--passes", type=click.IntRange(1, 3), help="Read up to so often what seems to lack rows.")
@click.option("--sub-model", metavar="MODEL", help="The model that reads.")
@click.option("--max-cost", "max_cost_usd", type=POSITIVE, metavar="USD", help="Spend no more than this.")
@click.option("--max-sub-calls", type=int, metavar="N", help="Calls to sub-models at most.")
@click.option("--timeout", "timeout_seconds", type=POSITIVE, metavar="SECONDS", help="End the run after this.")
@click.option("--include", multiple=True, metavar="PATTERN", help="From folders take only such files, as in '*.py'.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="From folders leave out such files.")
@quiet_option
@worker_options
@reports_errors
def extract(
    schema_path: Path,
    paths: tuple[str, ...],
    *,
    path: Path | None,
    name: str | None,
    instructions: str | None,
    passes: int | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    quiet: bool,
    base_url: str | None,
    api_key: str | None,
    **config: object,
) -> None:
    """Read the rows of a table from files and folders, as CSV on standard output; - is standard input.

    SCHEMA.json names the tables: {"tables": [{"name", "description", "columns": [{"name", "type"}]}]}. No question is
    asked: every row is read by a model, held against the text, and written with its place.
    """
    given = {"schema": read_schema(schema_path), "instructions": instructions, "passes": passes, "rowsInResult": 0}
    table = {key: value for key, value in given.items() if value is not None}
    documents = collected(paths, Selection.of(include, exclude)).documents
    options = RLMConfig.model_validate({**config, "strategy": "table"})
    with connected(base_url, api_key) as client:
        console, watching = notes(), watcher(notes(), quiet=quiet)
        stream = client.stream(documents, None, options, table=table, on_upload=watching.upload)
        with cancelled_on_interrupt(RunningSession(client, stream, watching.state), console):
            result = follow(stream, watching)
        if not quiet and result.answer:
            console.print(result.answer, soft_wrap=True)
        write_all(client, result, path, name)
    exit_unless(result.success)

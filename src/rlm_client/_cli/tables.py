"""Tables on the command line: the schema that is read from a file, and rows that are written to one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import click

from rlm_client._client import RLMClient
from rlm_client._models import RLMResult

from .console import notes
from .errors import Exit
from .output import write_whole

LINES = (".ndjson", ".jsonl")
"""Endings of files that get rows as lines of JSON; all others get CSV."""

rows_option = click.option(
    "--rows",
    "rows_path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.csv",
    help="With strategy table, also write all rows; a name in .ndjson gets lines of JSON.",
)
table_option = click.option(
    "--table",
    "schema_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="SCHEMA.json",
    help="The tables that strategy table is to read.",
)


def read_schema(path: Path) -> Mapping[str, object]:
    """Return the schema in a file; raises `UsageError` where there is none."""
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise click.UsageError(f"Cannot read {path} as JSON: {error}.") from None
    if not isinstance(schema, Mapping):
        raise click.UsageError(f"{path} holds no object.")
    return schema


def write_rows(client: RLMClient, result: RLMResult, path: Path | None) -> None:
    """Write the rows of a run to a file, where that is wanted; says where they lie, or why there are none."""
    if path is None:
        return
    if result.table is None:
        notes().print(f"warning: no rows for {path}: the run came to no table.", style="yellow", soft_wrap=True)
        raise click.exceptions.Exit(Exit.FAILED)
    write_all(client, result, path, None)


def write_all(client: RLMClient, result: RLMResult, path: Path | None, name: str | None) -> None:
    """Write the rows of a run to a file, or to standard output."""
    if result.session_id is None or not result.success:
        return
    if path is not None and path.suffix in LINES:
        lines = (row.model_dump_json(by_alias=True, exclude_unset=True) for row in client.rows(result, table=name))
        text = "".join(f"{line}\n" for line in lines)
    else:
        text = client.rows_csv(result, table=name)
    if path is None:
        click.echo(text, nl=False)
    else:
        write_whole(path, text, "Rows")

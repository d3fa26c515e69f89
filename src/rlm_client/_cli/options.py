"""The options that commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import click

from rlm_client._client import RLMClient
from rlm_client._models import read_json
from rlm_client._settings import API_KEY_VARIABLE, BASE_URL_VARIABLE, LOCAL_BASE_URL, RetryPolicy

INTERACTIVE = RetryPolicy(attempts=3, first_delay=0.3)

CommandT = TypeVar("CommandT", bound=Callable[..., object])


def worker_options(command: CommandT) -> CommandT:
    """Add where the Worker is and who asks."""
    url = click.option(
        "--base-url",
        envvar=BASE_URL_VARIABLE,
        show_envvar=True,
        metavar="URL",
        help=f"The Worker's address; by default {LOCAL_BASE_URL}.",
    )
    key = click.option(
        "--api-key",
        envvar=API_KEY_VARIABLE,
        show_envvar=True,
        metavar="KEY",
        help="The key; better given by the variable, which other users of this machine cannot see.",
    )
    return url(key(command))


def read_schema(_context: click.Context, _option: click.Parameter, path: Path | None) -> Mapping[str, object] | None:
    """Return the JSON Schema in a file; ends in a usage error where there is none."""
    if path is None:
        return None
    try:
        schema = read_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{path} cannot be read: {error}.") from None
    if not isinstance(schema, Mapping):
        raise click.BadParameter(f"{path} is not a JSON Schema: it must be a JSON object.")
    return schema


schema_option = click.option(
    "--schema",
    type=click.Path(path_type=Path),
    callback=read_schema,
    metavar="FILE.json",
    help="A JSON Schema: the answer is JSON that fits it.",
)
instructions_option = click.option(
    "--instructions", metavar="TEXT", help="How to answer (language, form, tone); no part of what is read."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, as the Worker sent it.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print no progress and no numbers.")


def connected(base_url: str | None, api_key: str | None) -> RLMClient:
    """Return a client that does not keep a person waiting for a Worker that is not there.

    A `RetryPolicy` given as the command's `obj` takes the place of `INTERACTIVE`.
    """
    policy = click.get_current_context().find_object(RetryPolicy)
    return RLMClient(base_url, api_key, retries=policy or INTERACTIVE)

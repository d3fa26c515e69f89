"""The options that commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

from rlm_client._client import RLMClient
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


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, as the Worker sent it.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print no progress and no numbers.")


def connected(base_url: str | None, api_key: str | None) -> RLMClient:
    """Return a client that does not keep a person waiting for a Worker that is not there.

    A `RetryPolicy` given as the command's `obj` takes the place of `INTERACTIVE`.
    """
    policy = click.get_current_context().find_object(RetryPolicy)
    return RLMClient(base_url, api_key, retries=policy or INTERACTIVE)

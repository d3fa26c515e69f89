"""`rlm ask --follow`: a further question about what was asked before."""

from __future__ import annotations

import re

import click

from rlm_client._cli.last_session import last_session
from rlm_client._client import RLMClient
from rlm_client._context import PreviousSession

_LAST = "last"
_SESSION = re.compile(r"[0-9a-f]{32}")

follow_option = click.option(
    "--follow",
    metavar="[SESSION]",
    help="Ask further about what SESSION was about, by default the last one asked from here: no PATH, nothing is sent.",
)


class FollowingCommand(click.Command):
    """A command whose `--follow` may stand without a session, right before the question."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = args.index("--follow") if "--follow" in args else len(args)
        named = at + 1 < len(args) and _SESSION.fullmatch(args[at + 1])
        if at < len(args) and not named:
            args = [*args[:at], f"--follow={_LAST}", *args[at + 1 :]]
        return super().parse_args(ctx, args)


def session_to_follow(client: RLMClient, follow: str) -> PreviousSession:
    """Return the session that `--follow` means; raises `UsageError` where none was asked yet."""
    session_id = last_session(client.base_url) if follow == _LAST else follow
    if session_id is None:
        raise click.UsageError(
            f"Nothing was asked at {client.base_url} from this machine yet: name a session, as in --follow SESSION."
        )
    return PreviousSession(session_id)

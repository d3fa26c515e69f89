"""The `rlm` command and its parts."""

from __future__ import annotations

import click

from rlm_client._settings import client_version

from .commands.ask import ask
from .commands.batch import batch
from .commands.extract import extract
from .commands.report import report
from .commands.sessions import cancel, result, status, trajectory
from .commands.worker import health, models, serve
from .errors import MEANINGS

EXIT_CODES = "\b\nExit codes:\n" + "\n".join(f"  {code:>3}  {meaning}" for code, meaning in MEANINGS.items())


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(client_version(), prog_name="rlm")
def rlm() -> None:
    """Ask questions about texts of any length.

    \b
      rlm ask "Which functions touch the network?" src
      rlm ask "Who may end this contract?" contract.txt --max-cost 0.01
      git log -p | rlm ask "What changed for users?" -
    """  # noqa: D301 - the backspace is click's mark for text to leave as it is


for command in (ask, extract, status, result, cancel, trajectory, report, batch, models, health, serve):
    rlm.add_command(command)

"""The pinned wrangler on our own Node: its login, its uploads, its rollbacks."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

from scripts.cloud.errors import LOGIN_HINT, explained
from scripts.local.errors import LocalError
from scripts.local.paths import LocalPaths
from scripts.local.processes import start_group
from scripts.local.setup.components import node, node_environment

_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Wrangler:
    """Runs wrangler; it asks nothing and writes nothing into the checkout. `account` is the account's id."""

    paths: LocalPaths
    account: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)

    def token(self) -> str:
        """What it would log in with; raises `LocalError` where it is not logged in."""
        try:
            found = json.loads(_json_part(self.run("auth", "token", "--json", what="asking wrangler for its login")))
        except (LocalError, ValueError) as error:
            raise LocalError("wrangler is not logged in to an account", hint=LOGIN_HINT) from error
        if "token" not in found:
            raise LocalError("a global API key cannot be used here", hint=LOGIN_HINT)
        return str(found["token"])

    def login(self) -> int:
        """Lets wrangler log in, in a browser; gives its status."""
        return subprocess.run(self._command(["login"]), env=self._environment(asks=True), check=False).returncode

    def run(self, *arguments: str, what: str) -> str:
        """What it prints; raises `CloudflareError` that says what to do where it fails at `what`."""
        done = subprocess.run(
            self._command(arguments),
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        output = _ESCAPES.sub("", done.stdout + done.stderr)
        if done.returncode:
            raise explained(output, what=what)
        return output

    def start(self, *arguments: str, output: IO[bytes]) -> subprocess.Popen[bytes]:
        """Starts it as the leader of a group of its own, to be ended with `end_group`."""
        return start_group(self._command(arguments), output, env=self._environment())

    def _command(self, arguments: Sequence[str]) -> list[str]:
        return [str(node(self.paths)), str(self.paths.wrangler), *arguments]

    def _environment(self, *, asks: bool = False) -> dict[str, str]:
        # Where it may ask, it would ask for names of things that are made here, and write them into its configuration.
        quiet = {} if asks else {"CI": "1", "NO_COLOR": "1", "FORCE_COLOR": "0", "WRANGLER_HIDE_BANNER": "true"}
        account = {"CLOUDFLARE_ACCOUNT_ID": self.account} if self.account else {}
        return {**os.environ, **node_environment(self.paths), **quiet, **account, **self.extra}


def _json_part(output: str) -> str:
    match = re.search(r"^[\[{].*[\]}]", output, re.DOTALL | re.MULTILINE)
    return match[0] if match else ""

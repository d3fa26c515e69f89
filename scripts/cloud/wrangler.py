"""The pinned wrangler on our own Node: login, uploads, rollbacks; as `scripts/wrangler`, whatever else it can."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, NoReturn

from scripts.cloud.api import CloudflareAPI
from scripts.cloud.errors import LOGIN_HINT, explained
from scripts.local.errors import LocalError
from scripts.local.paths import LocalPaths, local_paths
from scripts.local.processes import start_group
from scripts.local.setup.components import node, node_environment

_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Wrangler:
    """Runs wrangler; it asks nothing and writes nothing into the checkout. `account` is the account's id."""

    paths: LocalPaths
    account: str = ""

    def token(self) -> str:
        """What it would log in with; raises `LocalError` where it is not logged in."""
        try:
            found = json.loads(_json_part(self.run("auth", "token", "--json", what="asking wrangler for its login")))
        except (LocalError, ValueError) as error:
            raise LocalError("wrangler is not logged in to an account", hint=LOGIN_HINT) from error
        if "token" not in found:
            raise LocalError("a global API key cannot be used here", hint=LOGIN_HINT)
        return str(found["token"])

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

    def become(self, arguments: Sequence[str]) -> NoReturn:
        """Lets wrangler take this process's place, terminal included."""
        command = self._command(arguments)
        os.execve(command[0], command, {**os.environ, **node_environment(self.paths)})  # noqa: S606 - no shell is wanted

    def _command(self, arguments: Sequence[str]) -> list[str]:
        return [str(node(self.paths)), str(self.paths.wrangler), *arguments]

    def _environment(self) -> dict[str, str]:
        # Where it may ask, it would ask for names of things that are made here, and write them into its configuration.
        quiet = {"CI": "1", "NO_COLOR": "1", "FORCE_COLOR": "0", "WRANGLER_HIDE_BANNER": "true"}
        account = {"CLOUDFLARE_ACCOUNT_ID": self.account} if self.account else {}
        return {**os.environ, **node_environment(self.paths), **quiet, **account}


def connected(paths: LocalPaths) -> CloudflareAPI:
    """The API, with the login that wrangler has, and the account chosen."""
    api = CloudflareAPI(os.environ.get("CLOUDFLARE_API_TOKEN") or Wrangler(paths).token())
    api.choose_account()
    return api


def _json_part(output: str) -> str:
    match = re.search(r"^[\[{].*[\]}]", output, re.DOTALL | re.MULTILINE)
    return match[0] if match else ""


if __name__ == "__main__":
    Wrangler(local_paths()).become(sys.argv[1:])

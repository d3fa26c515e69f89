"""`scripts/keys`: who may call a deployment, and for how much: added, listed, rotated with overlap, revoked.

A key is made here and shown once; the deployment is sent its digest.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click
import httpx
from rich.console import Console
from rich.table import Table

from scripts.local.errors import LocalError
from scripts.local.processes import say

_TIMEOUT_SECONDS = 60.0
_DIGEST = re.compile(r"^[0-9a-f]{8,64}$")
_SHOWN_DIGITS = 12
_WIDTH_ELSEWHERE = 120


def digest_of(key: str) -> str:
    """What a deployment knows of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def new_key(prefix: str = "rlm") -> str:
    """A key that nobody guesses: 256 bits."""
    return f"{prefix}_{secrets.token_urlsafe(32)}"


@dataclass(frozen=True, slots=True)
class Deployment:
    """The admin routes of a deployment."""

    url: str
    admin_key: str

    def ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        """The answer; raises `LocalError` with the sentence that a refusal brings."""
        headers = {"authorization": f"Bearer {self.admin_key}"} if self.admin_key else {}
        try:
            answer = httpx.request(method, f"{self.url}{path}", headers=headers, json=body, timeout=_TIMEOUT_SECONDS)
            found = answer.json()
        except httpx.HTTPError as error:
            raise LocalError(f"{self.url} cannot be reached: {error}", hint="--url names the deployment") from error
        except ValueError as error:
            raise LocalError(f"{self.url} is no rlm-worker", hint="--url names the deployment") from error
        if answer.is_success and isinstance(found, dict):
            return found
        raise LocalError(_sentence(found, answer.status_code), hint=_hint(answer.status_code))

    def listing(self) -> dict[str, Any]:
        return self.ask("GET", "/admin/keys")

    def active(self, name: str) -> list[str]:
        """Digests of the keys of a name that admit."""
        return [
            entry["digest"] for entry in self.listing()["keys"] if entry["name"] == name and entry["state"] == "active"
        ]


class Told(click.Group):
    """Commands that end with a sentence where they fail."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except LocalError as error:
            say(error.report())
            sys.exit(1)


@click.group(cls=Told)
@click.option("--url", envvar="RLM_BASE_URL", required=True, help="The deployment, or a local scripts/dev.")
@click.option("--admin-key", envvar="RLM_ADMIN_KEY", default="", help="As ./scripts/deploy has shown it once.")
@click.pass_context
def main(context: click.Context, url: str, admin_key: str) -> None:
    """Makes, lists, rotates and revokes the API keys of a deployment.

    Reads RLM_BASE_URL and RLM_ADMIN_KEY. What is changed holds everywhere within 30 seconds.
    """
    context.obj = Deployment(url.rstrip("/"), admin_key)


@main.command()
@click.argument("name")
@click.option(
    "--daily-usd", type=click.FloatRange(0), help="The name's own budget a day; 0: none. Default: KEY_DAILY_USD."
)
@click.option("--days", type=click.FloatRange(0, min_open=True), help="The key ends after so many days.")
@click.pass_obj
def add(deployment: Deployment, name: str, daily_usd: float | None, days: float | None) -> None:
    """Makes a key and shows it once."""
    _admit(deployment, name, daily_usd=daily_usd, days=days)


@main.command()
@click.argument("name")
@click.option("--overlap-hours", type=click.FloatRange(0, min_open=True), help="The old keys end after so many hours.")
@click.pass_obj
def rotate(deployment: Deployment, name: str, overlap_hours: float | None) -> None:
    """Makes a further key of a name; the old ones go on until they are revoked or the overlap is over."""
    before = deployment.active(name)
    _admit(deployment, name, rotate=True, overlap_hours=overlap_hours)
    if overlap_hours is not None:
        say(f"{_keys(len(before))} of {name} end in {overlap_hours:g} hours")
    elif before:
        old = " ".join(f"./scripts/keys revoke {digest[:_SHOWN_DIGITS]};" for digest in before)
        say(f"when every caller has the new one: {old.rstrip(';')}")
    else:
        say(f"{name} had no key in the list; one in the secret RLM_API_KEYS goes on until it is taken out there")


@main.command()
@click.argument("which", metavar="NAME|DIGEST")
@click.pass_obj
def revoke(deployment: Deployment, which: str) -> None:
    """Ends every key of a name, or the one whose digest begins so."""
    digests = deployment.active(which)
    if not digests and not _DIGEST.match(which):
        raise LocalError(f"no key of {which} is active", hint="./scripts/keys list shows names and digests")
    for digest in digests or [which]:
        ended = deployment.ask("DELETE", f"/admin/keys/{digest}")
        say(f"revoked: {ended['name']} {ended['digest'][:_SHOWN_DIGITS]}")
    say("it is refused everywhere within 30 seconds; runs that go on are not stopped")


@main.command()
@click.argument("name")
@click.argument("daily_usd", type=click.FloatRange(0), required=False)
@click.pass_obj
def budget(deployment: Deployment, name: str, daily_usd: float | None) -> None:
    """Sets what a name may spend a day, 0 for no limit; without a figure KEY_DAILY_USD holds again."""
    found = deployment.ask("PUT", f"/admin/budgets/{name}", {"dailyUsd": daily_usd})
    say(f"{name}: {_budget(found['account'])}")


@main.command(name="list")
@click.option("--all", "everything", is_flag=True, help="Keys that have ended too.")
@click.pass_obj
def list_keys(deployment: Deployment, everything: bool) -> None:
    """Shows names, digests, ends and today's spending; never a key."""
    listing = deployment.listing()
    width = None if sys.stdout.isatty() else _WIDTH_ELSEWHERE
    Console(highlight=False, width=width).print(key_table(listing, everything=everything))


def key_table(listing: Mapping[str, Any], *, everything: bool) -> Table:
    """The keys of a listing, with what their names have spent."""
    budgets = {one["name"]: one["account"] for one in listing["budgets"]}
    table = Table(title="API keys", title_justify="left")
    for column in ("name", "digest", "state", "since", "until", "today"):
        table.add_column(column, no_wrap=True)
    for entry in listing["keys"]:
        if everything or entry["state"] == "active":
            until = entry.get("revokedAt") or entry.get("expiresAt")
            account = budgets.get(entry["name"])
            today = _budget(account) if account and entry["state"] == "active" else ""
            table.add_row(
                *(entry["name"], entry["digest"][:_SHOWN_DIGITS], entry["state"]),
                *(_minute(entry["createdAt"]), _minute(until), today),
            )
    whole = listing.get("deployment")
    table.caption = f"the whole deployment today: {_budget(whole)}" if whole else None
    return table


def _admit(
    deployment: Deployment,
    name: str,
    *,
    daily_usd: float | None = None,
    days: float | None = None,
    rotate: bool = False,
    overlap_hours: float | None = None,
) -> None:
    key = new_key()
    wanted: dict[str, object] = {"name": name, "digest": digest_of(key), "rotate": rotate}
    optional = {
        "dailyUsd": daily_usd,
        "expiresInSeconds": None if days is None else days * 86_400,
        "overlapSeconds": None if overlap_hours is None else overlap_hours * 3_600,
    }
    deployment.ask(
        "POST", "/admin/keys", wanted | {what: value for what, value in optional.items() if value is not None}
    )
    say(f"the key of {name}, digest {digest_of(key)[:_SHOWN_DIGITS]}; shown this once and stored nowhere:")
    print(key)


def _budget(account: Mapping[str, Any]) -> str:
    limit = account.get("dailyUsd")
    most = "no limit" if limit is None else f"${limit:g}"
    return f"${account['spentTodayUsd']:.4f} of {most}, {account['runs']} running"


def _minute(moment: str | None) -> str:
    if moment is None:
        return "-"
    return datetime.fromisoformat(moment).astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def _keys(number: int) -> str:
    return "1 old key" if number == 1 else f"{number} old keys"


def _sentence(found: object, status: int) -> str:
    error = found.get("error") if isinstance(found, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    return f"{message or 'the deployment has refused'} ({status})"


def _hint(status: int) -> str:
    if status == 401:
        return "set RLM_ADMIN_KEY; where it is lost, ./scripts/deploy --new-admin-key makes another"
    if status == 503:
        return "./scripts/deploy sets the secret RLM_ADMIN_KEYS"
    return ""


if __name__ == "__main__":
    main(prog_name="scripts/keys")

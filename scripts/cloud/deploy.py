"""`scripts/deploy`: what the Worker needs on the account, then the Worker; says so first, safe to repeat."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import secrets
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from scripts.local.errors import LocalError
from scripts.local.paths import LocalPaths, local_paths
from scripts.local.processes import run_logged, say
from scripts.local.runtime.worker_modules import staged_worker
from scripts.local.setup.components import node, node_environment

_KEYS = "RLM_API_KEYS"
_LIFECYCLE = ("r2", "bucket", "lifecycle")
# The Worker's own default.
_DEFAULT_TTL_DAYS = "7"
_NO_SUCH_WORKER = re.compile(r"not found|does not exist|10007|10090", re.IGNORECASE)
_LOGIN_HINT = "log in (`npx wrangler login`), or set CLOUDFLARE_API_TOKEN and CLOUDFLARE_ACCOUNT_ID"

# Where the Worker keeps contexts: those that were put, and those of sessions. It deletes both itself; the bucket's
# rules take what it could not, such as a context whose session never began.
_CONTEXT_PREFIXES = ("contexts/", "sessions/")
_SPARE_DAYS = 1

Wrangler = Callable[[Sequence[str]], str]


@dataclass(frozen=True, slots=True)
class Expiry:
    """A lifecycle rule: objects of a bucket whose keys begin with `prefix` go when they are `days` old."""

    bucket: str
    prefix: str
    days: int

    @property
    def name(self) -> str:
        return f"rlm-worker-{self.prefix.strip('/')}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What wrangler.toml takes for granted on the account; everything else wrangler makes when it deploys."""

    worker: str
    buckets: tuple[str, ...]
    queues: tuple[str, ...]
    expiries: tuple[Expiry, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What is missing on the account."""

    buckets: tuple[str, ...]
    queues: tuple[str, ...]
    key: bool
    expiries: tuple[Expiry, ...] = ()
    outdated: tuple[Expiry, ...] = ()

    def lines(self, worker: str) -> list[str]:
        return [
            *(f"create the R2 bucket {name}" for name in self.buckets),
            *(
                f"have the R2 bucket {rule.bucket} delete {rule.prefix} after {rule.days} days"
                for rule in self.expiries
            ),
            *(f"create the queue {name}" for name in self.queues),
            *([f"make an API key, store its digest as the secret {_KEYS}, show the key once"] if self.key else []),
            f"deploy the Worker {worker}, with its KV namespace and Durable Objects where they are missing",
        ]


@click.command()
@click.option("--dry-run", is_flag=True, help="Check and bundle everything; needs no account and changes nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--key-name", default="default", help="Whose key is made, where there is none yet.")
@click.option("--new-key", is_flag=True, help="Make a key even if there are some: it takes their place.")
def main(dry_run: bool, yes: bool, key_name: str, new_key: bool) -> None:
    """Deploys the Worker to the account that wrangler is logged in to."""
    paths = local_paths()
    try:
        place_python_modules(paths)
        if dry_run:
            _dry_run(paths)
        else:
            _deploy(paths, yes=yes, key_name=key_name, new_key=new_key)
    except LocalError as error:
        say(error.report())
        sys.exit(1)


def wanted(root: Path) -> Wanted:
    """What wrangler.toml names."""
    config = tomllib.loads((root / "wrangler.toml").read_text(encoding="utf-8"))
    queues = config.get("queues", {})
    names = [producer["queue"] for producer in queues.get("producers", ())]
    for consumer in queues.get("consumers", ()):
        names += [consumer["queue"], consumer.get("dead_letter_queue", consumer["queue"])]
    buckets = tuple(bucket["bucket_name"] for bucket in config.get("r2_buckets", ()))
    # A day more than the Worker's own retention, so that the rule never takes what a run still reads.
    days = math.ceil(float(config.get("vars", {}).get("SESSION_TTL_DAYS", _DEFAULT_TTL_DAYS))) + _SPARE_DAYS
    expiries = tuple(Expiry(bucket, prefix, days) for bucket in buckets for prefix in _CONTEXT_PREFIXES)
    return Wanted(worker=config["name"], buckets=buckets, queues=tuple(dict.fromkeys(names)), expiries=expiries)


def plan(wrangler: Wrangler, needs: Wanted, *, new_key: bool) -> Plan:
    """Compares the account with what is wanted."""
    buckets = _missing(needs.buckets, wrangler(["r2", "bucket", "list"]))
    there = {name: wrangler([*_LIFECYCLE, "list", name]) for name in needs.buckets if name not in buckets}
    expiries = tuple(rule for rule in needs.expiries if not _holds(rule, there.get(rule.bucket, "")))
    return Plan(
        buckets=buckets,
        queues=_missing(needs.queues, wrangler(["queues", "list"])) if needs.queues else (),
        key=new_key or not _has_keys(wrangler),
        expiries=expiries,
        outdated=tuple(rule for rule in expiries if _rule_fields(rule, there.get(rule.bucket, ""))),
    )


def set_expiries(wrangler: Wrangler, todo: Plan) -> None:
    """Writes the lifecycle rules that are missing or different; the bucket's other rules stay as they are."""
    for rule in todo.expiries:
        say(f"having the R2 bucket {rule.bucket} delete {rule.prefix} after {rule.days} days")
        if rule in todo.outdated:
            wrangler([*_LIFECYCLE, "remove", rule.bucket, "--name", rule.name])
        wrangler([*_LIFECYCLE, "add", rule.bucket, rule.name, rule.prefix, "--expire-days", str(rule.days)])


def make_key(name: str) -> tuple[str, str]:
    """A new API key, and the entry of RLM_API_KEYS that admits it."""
    key = f"rlm_{secrets.token_urlsafe(32)}"
    return key, f"{name}:{hashlib.sha256(key.encode()).hexdigest()}"


def place_python_modules(paths: LocalPaths) -> None:
    """Puts python_modules/ beside wrangler.toml, where wrangler looks; leaves one that pywrangler made alone."""
    place = paths.root / "python_modules"
    if place.is_symlink():
        place.unlink()
    if not place.exists():
        place.symlink_to(paths.python_modules, target_is_directory=True)


def _dry_run(paths: LocalPaths) -> None:
    needs = wanted(paths.root)
    for line in Plan(needs.buckets, needs.queues, key=True, expiries=needs.expiries).lines(needs.worker):
        say(f"would {line}, if it is missing" if not line.startswith("deploy") else f"would {line}")
    status = upload(paths, "--dry-run")
    if status:
        raise LocalError(f"wrangler's dry run ended with status {status}", hint="its output above says why")
    say("dry run: nothing was changed")


def _deploy(paths: LocalPaths, *, yes: bool, key_name: str, new_key: bool) -> None:
    def wrangler(arguments: Sequence[str]) -> str:
        return run_logged(_command(paths, arguments), paths.logs / "deploy.log", env=_environment(paths))

    needs = wanted(paths.root)
    account = _account(wrangler)
    todo = plan(wrangler, needs, new_key=new_key)
    say(f"on the account {account}, this will:")
    for line in todo.lines(needs.worker):
        say(f"  - {line}")
    if not yes:
        click.confirm("Go on?", abort=True)
    _perform(paths, wrangler, todo, key_name)


def _perform(paths: LocalPaths, wrangler: Wrangler, todo: Plan, key_name: str) -> None:
    for bucket in todo.buckets:
        say(f"creating the R2 bucket {bucket}")
        wrangler(["r2", "bucket", "create", bucket])
    set_expiries(wrangler, todo)
    for queue in todo.queues:
        say(f"creating the queue {queue}")
        wrangler(["queues", "create", queue])
    key, entry = make_key(key_name)
    with _secrets_file({_KEYS: entry}) as file:
        secret = ["--secrets-file", str(file)] if todo.key else []
        status = upload(paths, *secret)
    if status:
        raise LocalError(f"wrangler deploy ended with status {status}", hint="mend what it says and run this again")
    if todo.key:
        say(f"\nThe API key of “{key_name}”. It is shown this once and stored nowhere:")
        print(key)


def _account(wrangler: Wrangler) -> str:
    try:
        found = json.loads(_json_part(wrangler(["whoami", "--json"])))
    except (LocalError, ValueError) as error:
        raise LocalError("wrangler is not logged in to an account", hint=_LOGIN_HINT) from error
    accounts = found.get("accounts") or []
    return ", ".join(str(account.get("name")) for account in accounts) or "that wrangler is logged in to"


def _has_keys(wrangler: Wrangler) -> bool:
    try:
        listed = json.loads(_json_part(wrangler(["secret", "list", "--format", "json"])))
    except LocalError as error:
        if re.search(_NO_SUCH_WORKER, error.output):
            return False
        raise  # not knowing is no reason to put a new key in the place of an old one
    return any(secret.get("name") == _KEYS for secret in listed)


def _json_part(output: str) -> str:
    match = re.search(r"^[\[{].*", output, re.DOTALL | re.MULTILINE)
    return match[0] if match else ""


def _holds(rule: Expiry, listing: str) -> bool:
    """Whether a bucket has exactly this rule, switched on."""
    fields = _rule_fields(rule, listing)
    says = (fields.get("enabled"), fields.get("prefix"), fields.get("action"))
    return says == ("Yes", rule.prefix, f"Expire objects after {rule.days} days")


def _rule_fields(rule: Expiry, listing: str) -> dict[str, str]:
    """What wrangler lists of the rule of that name, a `label:  value` a line; empty where there is none."""
    for block in re.split(r"\n\s*\n", listing):
        fields = dict(re.findall(r"^(\w+):[ \t]+(.*?)[ \t]*$", block, re.MULTILINE))
        if fields.get("name") == rule.name:
            return fields
    return {}


def _missing(names: Sequence[str], listing: str) -> tuple[str, ...]:
    return tuple(name for name in names if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", listing))


@contextmanager
def _secrets_file(values: dict[str, str]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "secrets.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(values), encoding="utf-8")
        yield file


def upload(paths: LocalPaths, *options: str, quiet: bool = False) -> int:
    """The status of `wrangler deploy` with what the Worker imports and nothing that lies beside it."""
    with staged_worker(paths.root) as entry:
        command = _command(paths, ["deploy", str(entry), *options])
        output = subprocess.DEVNULL if quiet else None
        return subprocess.run(command, env=_environment(paths), stdout=output, check=False).returncode


def _command(paths: LocalPaths, arguments: Sequence[str]) -> list[str]:
    return [str(node(paths)), str(paths.wrangler), *arguments, "--config", str(paths.root / "wrangler.toml")]


def _environment(paths: LocalPaths) -> dict[str, str]:
    return {**os.environ, **node_environment(paths)}


if __name__ == "__main__":
    main(prog_name="scripts/deploy")

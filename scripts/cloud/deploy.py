"""`scripts/deploy`: what the Worker needs on the account, then the Worker; says so first, safe to repeat."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from scripts.cloud.config import PlanName, Target, staged, target
from scripts.cloud.destroy import destroy, what_goes, what_stays
from scripts.cloud.keys import digest_of, new_key
from scripts.cloud.plan import ADMIN_KEYS, KEYS, Found, Plan, look, make_missing
from scripts.cloud.smoke import smoke
from scripts.cloud.view import Upload, address, overview
from scripts.cloud.wrangler import Wrangler, connected
from scripts.local.errors import LocalError
from scripts.local.paths import LocalPaths, local_paths
from scripts.local.processes import say


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for on the command line."""

    yes: bool
    verbose: bool
    key_name: str
    new_admin_key: bool


def _replaced(_context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        raise click.UsageError("--new-key broke every caller at once: use ./scripts/keys add NAME, or rotate NAME")


@click.command()
@click.option("--dry-run", is_flag=True, help="Check and bundle everything and show it; changes nothing.")
@click.option("--verbose", is_flag=True, help="Show what wrangler says too, the list of what is uploaded included.")
@click.option("--yes", is_flag=True, help="Do not ask before deploying, rolling back or spending.")
@click.option("--env", "environment", default="", help="Another deployment beside the first, such as staging.")
@click.option("--plan", type=click.Choice(["paid", "free"]), default="paid", help="The account's Workers plan.")
@click.option("--key-name", default="default", help="Whose key is made, where there is none yet.")
@click.option("--new-admin-key", is_flag=True, help="Make the key of ./scripts/keys anew: the old one ends.")
@click.option("--new-key", is_flag=True, hidden=True, expose_value=False, callback=_replaced)
@click.option(
    "--rollback", is_flag=False, flag_value="previous", metavar="[VERSION]", help="Go back to an earlier version."
)
@click.option("--destroy", "destroying", is_flag=True, help="Delete the deployment with all that it keeps.")
@click.option("--smoke", "smoking", is_flag=True, help="Run the first-hour checklist against --url with --key.")
@click.option("--url", envvar="RLM_BASE_URL", help="For --smoke: the deployment, or a local scripts/dev.")
@click.option("--key", envvar="RLM_API_KEY", help="For --smoke: an API key of the deployment.")
@click.option("--log", type=click.Path(exists=True, path_type=Path), help="For --smoke: the log of a local deployment.")
def main(
    *,
    dry_run: bool,
    verbose: bool,
    yes: bool,
    environment: str,
    plan: PlanName,
    key_name: str,
    new_admin_key: bool,
    rollback: str | None,
    destroying: bool,
    smoking: bool,
    url: str | None,
    key: str | None,
    log: Path | None,
) -> None:
    """Deploys the Worker to the account that wrangler is logged in to."""
    paths = local_paths()
    wish = Wish(yes, verbose, key_name, new_admin_key)
    try:
        wanted = target(paths.root, environment, plan)
        if smoking:
            sys.exit(smoke(url, key, yes=yes, log=log))
        if rollback:
            _roll_back(paths, wanted, rollback, wish)
        elif destroying:
            _destroy(paths, wanted)
        elif dry_run:
            _dry_run(paths, wanted, wish)
        else:
            _deploy(paths, wanted, wish)
    except LocalError as error:
        say(error.report())
        sys.exit(1)


def bundle(paths: LocalPaths, wanted: Target, *options: str) -> Upload:
    """What `wrangler deploy` would upload; raises `CloudflareError` where it finds a fault."""
    with staged(paths, wanted.config) as config:
        arguments = ("deploy", "--config", str(config), "--dry-run", *options)
        return Upload(Wrangler(paths).run(*arguments, what="wrangler's dry run"))


def _dry_run(paths: LocalPaths, wanted: Target, wish: Wish) -> None:
    found, account = Found(), None
    if _logged_in(paths):
        with connected(paths) as api:
            found, account = look(api, wanted), api.account
    upload = bundle(paths, wanted)
    if wish.verbose:
        say(upload.output)
    print(overview(Plan(wanted, found, wish.new_admin_key), account, upload))
    print("\ndry run: nothing was changed")


def _logged_in(paths: LocalPaths) -> bool:
    if os.environ.get("CLOUDFLARE_API_TOKEN"):
        return True
    try:
        return bool(Wrangler(paths).token())
    except LocalError:
        return False


def _deploy(paths: LocalPaths, wanted: Target, wish: Wish) -> None:
    with connected(paths) as api:
        plan = Plan(wanted, look(api, wanted), wish.new_admin_key)
        print(overview(plan, api.account, None))
        if not wish.yes:
            click.confirm("\nGo on?", abort=True)
        config = wanted.with_namespaces(make_missing(api, plan))
        key, admin_key = _upload(Wrangler(paths, api.account.id), paths, plan, config, wish)
        url = address(wanted, api.subdomain())
    say(f"\ndeployed: {url}")
    if key:
        say(f"\nThe API key of “{wish.key_name}”. It is shown this once and stored nowhere (RLM_API_KEY):")
        print(key)
    if admin_key:
        say("\nThe admin key, with which ./scripts/keys makes and revokes API keys; shown this once (RLM_ADMIN_KEY):")
        print(admin_key)


def _upload(
    wrangler: Wrangler, paths: LocalPaths, plan: Plan, config: Mapping[str, object], wish: Wish
) -> tuple[str, str]:
    """Deploys, with what secrets are missing; gives the keys behind them."""
    key = new_key() if plan.needs_key else ""
    admin_key = new_key("rlm_admin") if plan.needs_admin_key else ""
    values = {
        **({KEYS: f"{wish.key_name}:{digest_of(key)}"} if key else {}),
        **({ADMIN_KEYS: digest_of(admin_key)} if admin_key else {}),
    }
    say(f"deploying the Worker {plan.target.worker}")
    with staged(paths, config) as file, _secrets_file(values) as secrets_file:
        options = ["--secrets-file", str(secrets_file)] if values else []
        output = wrangler.run("deploy", "--config", str(file), *options, what="wrangler deploy")
    if wish.verbose:
        say(output)
    return key, admin_key


def _roll_back(paths: LocalPaths, wanted: Target, version: str, wish: Wish) -> None:
    with connected(paths) as api:
        wrangler = Wrangler(paths, api.account.id)
        if not wish.yes:
            say(wrangler.run("deployments", "list", "--name", wanted.worker, what="listing the deployments"))
            which = "the version before" if version == "previous" else f"version {version}"
            click.confirm(f"Take {wanted.worker} back to {which}? Data stays as it is.", abort=True)
        chosen = [] if version == "previous" else [version]
        message = ("--yes", "--message", "scripts/deploy --rollback")
        say(wrangler.run("rollback", *chosen, "--name", wanted.worker, *message, what="rolling back"))


def _destroy(paths: LocalPaths, wanted: Target) -> None:
    with connected(paths) as api:
        found = look(api, wanted)
        lines = what_goes(api, wanted, found)
        if not lines:
            say(f"on the account {api.account.name} there is nothing of {wanted.worker}")
            return
        say(f"on the account {api.account.name}, this deletes for good:")
        for line in lines:
            say(f"  - {line}")
        say(what_stays(wanted))
        if click.prompt("\nType the Worker's name to go on", default="", show_default=False) != wanted.worker:
            raise LocalError("that is not its name: nothing was deleted")
        destroy(api, wanted, found)
        say(f"{wanted.worker} is gone")


@contextmanager
def _secrets_file(values: dict[str, str]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "secrets.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(values), encoding="utf-8")
        yield file


if __name__ == "__main__":
    main(prog_name="scripts/deploy")

"""Deploying as ops do, through the pinned wrangler, to a stand-in of Cloudflare's API."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlm_worker.settings import known_vars
from scripts.cloud.api import CloudflareAPI
from scripts.cloud.config import Expiry, staged, target
from scripts.cloud.errors import ADVICE, explained
from scripts.cloud.keys import digest_of
from scripts.cloud.plan import Plan, look
from scripts.local.paths import LocalPaths, local_paths
from tests.scripts.cloudflare_stand_in import ACCOUNT, TOKEN, CloudflareStandIn, Refused

PATHS = local_paths()
ROOT = PATHS.root
NEEDS = target(ROOT)
STAGING = target(ROOT, "staging")


@pytest.fixture
def cloud() -> Iterator[CloudflareStandIn]:
    with CloudflareStandIn() as cloud:
        yield cloud


@pytest.fixture
def api(cloud: CloudflareStandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudflareAPI]:
    monkeypatch.delenv("CLOUDFLARE_ACCOUNT_ID", raising=False)
    with CloudflareAPI(TOKEN, cloud.url) as api:
        api.choose_account()
        yield api


def run(
    cloud: CloudflareStandIn | None, tmp_path: Path, *options: str, typed: str = "", module: str = "deploy"
) -> subprocess.CompletedProcess[str]:
    """`scripts/deploy` or another, logged in to that cloud; without one, logged in nowhere."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CLOUDFLARE_", "RLM_"))}
    login = {"CLOUDFLARE_API_BASE_URL": cloud.url, "CLOUDFLARE_API_TOKEN": TOKEN} if cloud else {}
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "PYTHONPATH": PATHS.python_path}
    shared = {"RLM_LOCAL_DIR": os.environ["RLM_LOCAL_DIR"]} if "RLM_LOCAL_DIR" in os.environ else {}
    return subprocess.run(
        [sys.executable, "-P", "-m", f"scripts.cloud.{module}", *options],
        cwd=ROOT,
        env={**clean, **login, **home, **shared},
        input=typed,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def good(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def fill(cloud: CloudflareStandIn) -> None:
    """Things of others, so many that none of ours is on a first page."""
    cloud.buckets = {f"a-{number}": {} for number in range(5)}
    cloud.rules = {name: [] for name in cloud.buckets}
    cloud.queues = {f"a-{number}": [] for number in range(5)}
    cloud.namespaces = {f"a-{number}": f"{number:032x}" for number in range(5)}


def test_dry_run_needs_no_account(tmp_path: Path) -> None:
    shown = good(run(None, tmp_path, "--dry-run"))
    assert len(shown.splitlines()) < 25
    assert "none is logged in" in shown
    assert "Workers Paid" in shown
    assert "$5.00 a month" in shown
    assert "│" not in shown
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert not [line for line in shown.splitlines() if "upload" not in line and line not in readme]
    for name in ("rlm-contexts", "rlm-batch-dlq", "rlm-worker-rlm-cache", "RLM_ADMIN_KEYS"):
        assert re.search(rf"^  make .*{name}", shown, re.MULTILINE), name


def test_verbose_lists_uploads(tmp_path: Path) -> None:
    assert "rlm_worker/settings.py" in run(None, tmp_path, "--dry-run", "--verbose").stderr


def test_dry_run_changes_nothing(cloud: CloudflareStandIn, tmp_path: Path) -> None:
    fill(cloud)
    cloud.buckets["rlm-contexts"] = {}
    cloud.rules["rlm-contexts"] = []
    shown = good(run(cloud, tmp_path, "--dry-run"))
    assert "https://rlm-worker.acme.workers.dev" in shown
    assert f"Acme Inc. ({ACCOUNT})" in shown
    assert re.search(r"^  exists +R2 bucket rlm-contexts$", shown, re.MULTILINE)
    assert {method for method, _ in cloud.requests} == {"GET"}
    assert not (ROOT / "python_modules").is_symlink()


def test_first_deploy_makes_everything(cloud: CloudflareStandIn, tmp_path: Path) -> None:
    fill(cloud)
    done = run(cloud, tmp_path, "--yes", "--key-name", "ops")
    key, admin_key = good(done).split()[-2:]
    script = cloud.scripts["rlm-worker"]
    assert script.secrets == {"RLM_API_KEYS": f"ops:{digest_of(key)}", "RLM_ADMIN_KEYS": digest_of(admin_key)}
    assert "https://rlm-worker.acme.workers.dev" in done.stderr
    assert {"rlm-contexts"} < set(cloud.buckets)
    assert [len(cloud.queues[name]) for name in ("rlm-batch", "rlm-batch-dlq")] == [1, 1]
    (space,) = [one for one in script.bindings if one["type"] == "kv_namespace"]
    assert space["namespace_id"] == cloud.namespaces["rlm-worker-rlm-cache"]
    assert key not in json.dumps(cloud.requests)


def test_worker_is_told_how_to_change(cloud: CloudflareStandIn, tmp_path: Path) -> None:
    """What the pinned wrangler sends of wrangler.toml's flags, limits and strategies."""
    good(run(cloud, tmp_path, "--yes"))
    metadata = cloud.scripts["rlm-worker"].metadata
    assert metadata["code_update_strategy"] == {"mode": "deferred", "max_delay": 300}
    assert "durable_object_io_tasks_prevent_eviction" in metadata["compatibility_flags"]
    assert metadata["limits"] == {"cpu_ms": 300_000}


def test_free_plan_leaves_out_limits(cloud: CloudflareStandIn, tmp_path: Path) -> None:
    shown = good(run(cloud, tmp_path, "--yes", "--plan", "free"))
    script = cloud.scripts["rlm-worker"]
    assert "limits" not in script.metadata
    assert not [one for one in script.bindings if one["type"] == "worker_loader"]
    assert "Workers Free" in shown


def test_second_deploy_keeps_all(cloud: CloudflareStandIn, tmp_path: Path) -> None:
    good(run(cloud, tmp_path, "--yes"))
    secrets, spaces = dict(cloud.scripts["rlm-worker"].secrets), dict(cloud.namespaces)
    cloud.requests.clear()
    shown = good(run(cloud, tmp_path, "--yes"))
    assert not re.search(r"^  make", shown, re.MULTILINE)
    assert (cloud.scripts["rlm-worker"].secrets, cloud.namespaces) == (secrets, spaces)
    assert "rlm_" not in shown.replace("rlm_worker", "")
    made = [
        path for path in cloud.asked("POST") if not re.search(r"/(versions|deployments|subdomain|consumers)$", path)
    ]
    assert not made


def test_lost_admin_key_is_made_anew(cloud: CloudflareStandIn, tmp_path: Path) -> None:
    good(run(cloud, tmp_path, "--yes"))
    before = dict(cloud.scripts["rlm-worker"].secrets)
    admin_key = good(run(cloud, tmp_path, "--yes", "--new-admin-key")).split()[-1]
    after = cloud.scripts["rlm-worker"].secrets
    assert after["RLM_ADMIN_KEYS"] == digest_of(admin_key) != before["RLM_ADMIN_KEYS"]
    assert after["RLM_API_KEYS"] == before["RLM_API_KEYS"]


def test_new_key_is_refused(cloud: CloudflareStandIn, tmp_path: Path) -> None:
    done = run(cloud, tmp_path, "--yes", "--new-key")
    assert done.returncode == 2
    assert "keys add" in done.stderr
    assert not cloud.requests


def test_unasked_nothing_is_done(cloud: CloudflareStandIn, tmp_path: Path) -> None:
    assert run(cloud, tmp_path, typed="n\n").returncode == 1
    assert {method for method, _ in cloud.requests} == {"GET"}


REFUSALS = {
    100328: ("PUT", "scripts", "CPU limits are not supported for the Free plan.", "Free", "--plan free"),
    10089: ("PUT", "scripts", "You need to enable Analytics Engine.", "Analytics", "switch it on once"),
    10042: ("GET", "r2", "Please enable R2 through the Cloudflare Dashboard.", "R2", "switch it on"),
    10000: ("GET", "accounts$", "Authentication error", "token", "scripts/wrangler login"),
}


@pytest.mark.parametrize("code", REFUSALS)
def test_refusal_says_what_to_do(cloud: CloudflareStandIn, tmp_path: Path, code: int) -> None:
    method, path, message, meaning, remedy = REFUSALS[code]
    cloud.refuse = [(method, path, Refused(403, code, message))]
    done = run(cloud, tmp_path, "--yes")
    assert done.returncode == 1
    first, last = done.stderr[done.stderr.index("error: ") :].splitlines()[0], done.stderr.splitlines()[-1]
    assert meaning in first
    assert last.startswith("what to do: ")
    assert remedy in last
    assert "Traceback" not in done.stderr


def test_refused_deploy_goes_on_later(cloud: CloudflareStandIn, tmp_path: Path) -> None:
    cloud.refuse = [("PUT", "scripts", Refused(403, 10089, "You need to enable Analytics Engine."))]
    assert run(cloud, tmp_path, "--yes").returncode == 1
    cloud.refuse = []
    good(run(cloud, tmp_path, "--yes"))
    assert len([title for title in cloud.namespaces if title.startswith("rlm-worker")]) == 1


def test_login_hint_names_no_foreign_tool(tmp_path: Path) -> None:
    done = run(None, tmp_path, "--yes")
    assert done.returncode == 1
    assert "./scripts/wrangler login" in done.stderr
    assert "npx" not in done.stderr


def test_several_accounts_must_be_told_apart(cloud: CloudflareStandIn, tmp_path: Path) -> None:
    cloud.accounts.append({"id": "f" * 32, "name": "Another"})
    done = run(cloud, tmp_path, "--yes")
    assert done.returncode == 1
    assert "CLOUDFLARE_ACCOUNT_ID" in done.stderr
    assert "Another" in done.stderr


def test_named_account_needs_no_list(cloud: CloudflareStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that belongs to one account may not list accounts."""
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", ACCOUNT)
    cloud.refuse = [("GET", "accounts$", Refused(403, 9109, "Unauthorized to access requested resource"))]
    with CloudflareAPI(TOKEN, cloud.url) as api:
        assert api.choose_account().id == ACCOUNT
        assert api.buckets() == []


def test_staging_shares_nothing() -> None:
    for part in ("buckets", "queues", "datasets"):
        assert not set(getattr(NEEDS, part)) & set(getattr(STAGING, part)), part
    assert not set(NEEDS.namespaces.values()) & set(STAGING.namespaces.values())
    assert STAGING.worker == "rlm-worker-staging"
    numbers = [one.config["ratelimits"][0]["namespace_id"] for one in (NEEDS, STAGING, target(ROOT, "test"))]
    assert len(set(numbers)) == 3
    assert bindings(NEEDS.config) == bindings(STAGING.config)


def bindings(config: Any) -> object:
    """What the Worker sees by name, whatever lies behind it."""
    parts = ("r2_buckets", "kv_namespaces", "analytics_engine_datasets", "worker_loaders")
    queues = [one["binding"] for one in config["queues"]["producers"]]
    return (
        [[one["binding"] for one in config[part]] for part in parts],
        queues,
        config["durable_objects"],
        config["vars"],
    )


def test_staging_stands_beside(cloud: CloudflareStandIn, tmp_path: Path) -> None:
    good(run(cloud, tmp_path, "--yes"))
    good(run(cloud, tmp_path, "--yes", "--env", "staging"))
    assert set(cloud.scripts) == {"rlm-worker", "rlm-worker-staging"}
    one, other = (cloud.scripts[name] for name in sorted(cloud.scripts))
    assert one.secrets != other.secrets
    assert {"rlm-contexts", "rlm-contexts-staging"} == set(cloud.buckets)


def test_rollback_takes_version_before(cloud: CloudflareStandIn, tmp_path: Path) -> None:
    for _ in range(2):
        good(run(cloud, tmp_path, "--yes"))
    script = cloud.scripts["rlm-worker"]
    good(run(cloud, tmp_path, "--rollback", "--yes"))
    assert script.deployments[-1]["versions"][0]["version_id"] == script.versions[0]
    good(run(cloud, tmp_path, "--rollback", script.versions[1], "--yes"))
    assert script.deployments[-1]["versions"][0]["version_id"] == script.versions[1]


def test_destroy_leaves_nothing(cloud: CloudflareStandIn, tmp_path: Path) -> None:
    fill(cloud)
    before = (set(cloud.buckets), set(cloud.queues), set(cloud.namespaces))
    good(run(cloud, tmp_path, "--yes"))
    cloud.buckets["rlm-contexts"] = {f"contexts/ann/{number}": 1_000_000 for number in range(7)}
    done = run(cloud, tmp_path, "--destroy", typed="rlm-worker\n")
    good(done)
    assert "7 objects, 7.0 MB" in done.stderr
    assert "secret RLM_API_KEYS" in done.stderr
    assert not cloud.scripts
    assert (set(cloud.buckets), set(cloud.queues), set(cloud.namespaces)) == before
    assert "there is nothing of rlm-worker" in run(cloud, tmp_path, "--destroy").stderr


def test_destroy_spares_neighbours(cloud: CloudflareStandIn, tmp_path: Path) -> None:
    good(run(cloud, tmp_path, "--yes"))
    good(run(cloud, tmp_path, "--yes", "--env", "staging"))
    good(run(cloud, tmp_path, "--destroy", "--env", "staging", typed="rlm-worker-staging\n"))
    assert set(cloud.scripts) == {"rlm-worker"}
    assert set(cloud.buckets) == {"rlm-contexts"}


@pytest.mark.parametrize("typed", ["", "y", "rlm-worker-staging", "RLM-WORKER"])
def test_destroy_wants_the_name(cloud: CloudflareStandIn, tmp_path: Path, typed: str) -> None:
    cloud.buckets["rlm-contexts"] = {}
    done = run(cloud, tmp_path, "--destroy", "--yes", typed=f"{typed}\n")
    assert done.returncode == 1
    assert not cloud.asked("DELETE")


def test_every_page_is_read(cloud: CloudflareStandIn, api: CloudflareAPI) -> None:
    fill(cloud)
    assert api.buckets() == sorted(cloud.buckets)
    assert set(api.queues()) == set(cloud.queues)
    assert api.namespaces() == cloud.namespaces
    cloud.buckets["a-0"] = {f"k{number}": 1 for number in range(9)}
    assert len(list(api.objects("a-0"))) == 9


def test_busy_api_is_waited_for(cloud: CloudflareStandIn, api: CloudflareAPI) -> None:
    class Once(list[tuple[str, str, Refused]]):
        """An order that holds for one request."""

        def __iter__(self) -> Iterator[tuple[str, str, Refused]]:
            return iter([self.pop()] if self else [])

    cloud.refuse = Once([("GET", "queues", Refused(429, 10429, "More than 1200 requests per 300 seconds"))])
    assert api.queues() == {}


def test_usage_asks_own_dataset(cloud: CloudflareStandIn, tmp_path: Path) -> None:
    cloud.points = [{"label": "ann", "runs": 3, "cost_usd": 0.25}]
    assert "$0.2500" in good(run(cloud, tmp_path, "--env", "staging", module="usage"))
    assert "FROM RLM_ANALYTICS_STAGING" in good(run(None, tmp_path, "--env", "staging", "--dry-run", module="usage"))


def test_rules_outlast_retention() -> None:
    """SESSION_TTL_DAYS is 7; what the Worker still keeps is not taken from under it."""
    assert set(NEEDS.expiries) == {Expiry("rlm-contexts", "contexts/", 8), Expiry("rlm-contexts", "sessions/", 8)}


def test_new_retention_changes_rules(cloud: CloudflareStandIn, tmp_path: Path) -> None:
    theirs = {"id": "Default Multipart Abort Rule", "enabled": True, "conditions": {"prefix": ""}}
    good(run(cloud, tmp_path, "--yes"))
    for rule in cloud.rules["rlm-contexts"]:
        rule["deleteObjectsTransition"]["condition"]["maxAge"] = 31 * 86_400
    cloud.rules["rlm-contexts"].append(theirs)
    shown = good(run(cloud, tmp_path, "--yes"))
    assert len(re.findall(r"^  change +R2 rule", shown, re.MULTILINE)) == 2
    ages = {
        rule["id"]: rule["deleteObjectsTransition"]["condition"]["maxAge"]
        for rule in cloud.rules["rlm-contexts"]
        if rule != theirs
    }
    assert ages == {rule.name: rule.days * 86_400 for rule in NEEDS.expiries}
    assert theirs in cloud.rules["rlm-contexts"]


def test_longer_names_do_not_count(cloud: CloudflareStandIn, api: CloudflareAPI) -> None:
    cloud.buckets["rlm-contexts-old"] = {}
    assert Plan(NEEDS, look(api, NEEDS)).buckets == ("rlm-contexts",)


def test_unknown_failure_keeps_keys(cloud: CloudflareStandIn, tmp_path: Path) -> None:
    good(run(cloud, tmp_path, "--yes"))
    cloud.refuse = [("GET", "secrets", Refused(500, 10013, "An unknown error has occurred."))]
    before = dict(cloud.scripts["rlm-worker"].secrets)
    assert run(cloud, tmp_path, "--yes").returncode == 1
    assert cloud.scripts["rlm-worker"].secrets == before


def test_checkout_stays_pywranglers(tmp_path: Path) -> None:
    """Nothing is put beside wrangler.toml; what pywrangler has vendored there is what is uploaded."""
    paths = LocalPaths(root=ROOT, parts=PATHS.parts)
    with staged(paths, NEEDS.config) as config:
        assert config.parent != ROOT
        assert (config.parent / "python_modules").resolve() == PATHS.python_modules.resolve()
        assert json.loads(config.read_text(encoding="utf-8"))["main"] == "src/entry.py"


def test_toml_names_what_exists() -> None:
    text = (ROOT / "wrangler.toml").read_text(encoding="utf-8")
    named = set(re.findall(r"[\w./-]+\.(?:py|toml|md|json|mjs)\b", text)) | set(re.findall(r"scripts/[\w/.]+", text))
    assert named
    assert not [name for name in named if not (ROOT / name.rstrip(".")).exists()]


def test_example_secrets_are_right() -> None:
    """What is copied to .dev.vars admits the keys that its comments name."""
    example = (ROOT / ".dev.vars.example").read_text(encoding="utf-8")
    values = dict(re.findall(r'^(\w+)="(.*)"$', example, re.MULTILINE))
    assert values == {"RLM_API_KEYS": f"local:{digest_of('local-key')}", "RLM_ADMIN_KEYS": digest_of("local-admin-key")}
    assert set(values) <= known_vars()


def test_pinned_wrangler_is_at_hand(tmp_path: Path) -> None:
    assert good(run(None, tmp_path, "--version", module="wrangler")).strip() in (ROOT / "package.json").read_text()


def test_codes_stand_once() -> None:
    codes = [advice.code for advice in ADVICE if advice.code]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("worker_loaders binding requires the Workers Paid plan", "Dynamic Workers"),
        ("You must upgrade to a paid plan. Requires a Workers Paid subscription", "Workers Paid"),
        ("fetch failed", "cannot be reached"),
        ("workers.dev subdomain [code: 10063]", "subdomain"),
    ],
)
def test_words_find_advice(said: str, means: str) -> None:
    assert means in explained(said, what="deploying").message


def test_unknown_refusal_is_shown_whole() -> None:
    error = explained("something new [code: 12345]", what="deploying")
    assert error.codes == (12345,)
    assert "something new" in error.report()

"""Deploying: only what is missing is made, and a key is never replaced unasked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from scripts.cloud.deploy import Expiry, Plan, make_key, place_python_modules, plan, set_expiries, wanted
from scripts.local.errors import LocalError
from scripts.local.paths import LocalPaths, local_paths

NEEDS = wanted(local_paths().root)


class FakeWrangler:
    """Answers as wrangler does on an account with the given buckets, queues and secrets."""

    def __init__(
        self,
        *,
        buckets: Sequence[str] = (),
        queues: Sequence[str] = (),
        secrets: Sequence[str] | LocalError = (),
        rules: Sequence[tuple[str, str, str]] = (),
    ) -> None:
        self.buckets, self.queues, self.secrets, self.rules = buckets, queues, secrets, list(rules)

    def __call__(self, arguments: Sequence[str]) -> str:
        match arguments:
            case ["r2", "bucket", "list"]:
                return "Listing buckets...\n" + "\n".join(f"name:           {name}" for name in self.buckets)
            case ["queues", "list"]:
                return "\n".join(f"│ 0123abcd │ {name} │ 2026-01-01 │" for name in self.queues)
            case ["secret", "list", *_]:
                return self._secret_list()
            case ["r2", "bucket", "lifecycle", "list", _]:
                return self._rule_list()
            case ["r2", "bucket", "lifecycle", "add", _, name, prefix, "--expire-days", days]:
                assert name not in {known for known, _, _ in self.rules}
                self.rules.append((name, prefix, days))
                return f"Added lifecycle rule '{name}'"
            case ["r2", "bucket", "lifecycle", "remove", _, "--name", name]:
                self.rules.remove(next(rule for rule in self.rules if rule[0] == name))
                return f"Lifecycle rule '{name}' removed"
        raise AssertionError(arguments)

    def _rule_list(self) -> str:
        """As `wrangler r2 bucket lifecycle list` of 4.164.0 prints it."""
        blocks = [
            f"name:     {name}\nenabled:  Yes\nprefix:   {prefix}\naction:   Expire objects after {days} days"
            for name, prefix, days in self.rules
        ]
        return "Listing lifecycle rules for bucket 'rlm-contexts'...\n" + "\n\n".join(blocks)

    def _secret_list(self) -> str:
        if isinstance(self.secrets, LocalError):
            raise self.secrets
        return "some notice\n" + json.dumps([{"name": name, "type": "secret_text"} for name in self.secrets])


def test_toml_names_everything() -> None:
    assert NEEDS.worker == "rlm-worker"
    assert NEEDS.buckets == ("rlm-contexts",)


def test_bare_account() -> None:
    gone = LocalError("failed", output='Worker "rlm-worker" not found.')
    todo = plan(FakeWrangler(secrets=gone), NEEDS, new_key=False)
    assert todo == Plan(NEEDS.buckets, NEEDS.queues, key=True, expiries=NEEDS.expiries)


def test_second_time_makes_nothing() -> None:
    wrangler = FakeWrangler(buckets=NEEDS.buckets, queues=NEEDS.queues, secrets=["RLM_API_KEYS"])
    set_expiries(wrangler, plan(wrangler, NEEDS, new_key=False))
    assert plan(wrangler, NEEDS, new_key=False) == Plan((), (), key=False)


def test_rules_outlast_retention() -> None:
    """SESSION_TTL_DAYS is 7; what the Worker still keeps is not taken from under it."""
    assert set(NEEDS.expiries) == {Expiry("rlm-contexts", "contexts/", 8), Expiry("rlm-contexts", "sessions/", 8)}


def test_new_retention_changes_rules() -> None:
    theirs = ("Default Multipart Abort Rule", "(all prefixes)", "7")
    old = [(rule.name, rule.prefix, "31") for rule in NEEDS.expiries]
    wrangler = FakeWrangler(buckets=NEEDS.buckets, queues=NEEDS.queues, secrets=["RLM_API_KEYS"], rules=[theirs, *old])
    todo = plan(wrangler, NEEDS, new_key=False)
    assert todo.expiries == todo.outdated == NEEDS.expiries
    set_expiries(wrangler, todo)
    assert wrangler.rules == [theirs, *((rule.name, rule.prefix, str(rule.days)) for rule in NEEDS.expiries)]


def test_new_key_on_request() -> None:
    wrangler = FakeWrangler(buckets=NEEDS.buckets, queues=NEEDS.queues, secrets=["RLM_API_KEYS"])
    assert plan(wrangler, NEEDS, new_key=True).key


def test_longer_names_do_not_count() -> None:
    assert plan(FakeWrangler(buckets=["rlm-contexts-old"], secrets=["RLM_API_KEYS"]), NEEDS, new_key=False).buckets


def test_unknown_failure_keeps_keys() -> None:
    with pytest.raises(LocalError, match="timed out"):
        plan(FakeWrangler(secrets=LocalError("it timed out", output="fetch failed")), NEEDS, new_key=False)


def test_key_and_digest() -> None:
    key, entry = make_key("ops")
    assert entry == f"ops:{hashlib.sha256(key.encode()).hexdigest()}"
    assert key != make_key("ops")[0]


def test_modules_beside_toml(tmp_path: Path) -> None:
    paths = LocalPaths(root=tmp_path, parts=tmp_path / "parts")
    paths.python_modules.mkdir(parents=True)
    place_python_modules(paths)
    place_python_modules(paths)
    assert (tmp_path / "python_modules").resolve() == paths.python_modules.resolve()


def test_foreign_modules_stay(tmp_path: Path) -> None:
    (tmp_path / "python_modules" / "theirs").mkdir(parents=True)
    place_python_modules(LocalPaths(root=tmp_path, parts=tmp_path / "parts"))
    assert (tmp_path / "python_modules" / "theirs").is_dir()

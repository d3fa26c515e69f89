"""Deploying: only what is missing is made, and a key is never replaced unasked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from scripts.local.deploy import Plan, make_key, place_python_modules, plan, wanted
from scripts.local.errors import LocalError
from scripts.local.paths import LocalPaths, local_paths

NEEDS = wanted(local_paths().root)


class FakeWrangler:
    """Answers as wrangler does on an account with the given buckets, queues and secrets."""

    def __init__(
        self, *, buckets: Sequence[str] = (), queues: Sequence[str] = (), secrets: Sequence[str] | LocalError = ()
    ) -> None:
        self.buckets, self.queues, self.secrets = buckets, queues, secrets

    def __call__(self, arguments: Sequence[str]) -> str:
        match arguments:
            case ["r2", "bucket", "list"]:
                return "Listing buckets...\n" + "\n".join(f"name:           {name}" for name in self.buckets)
            case ["queues", "list"]:
                return "\n".join(f"│ 0123abcd │ {name} │ 2026-01-01 │" for name in self.queues)
            case ["secret", "list", *_]:
                return self._secret_list()
        raise AssertionError(arguments)

    def _secret_list(self) -> str:
        if isinstance(self.secrets, LocalError):
            raise self.secrets
        return "some notice\n" + json.dumps([{"name": name, "type": "secret_text"} for name in self.secrets])


def test_toml_names_everything() -> None:
    assert NEEDS.worker == "rlm-worker"
    assert NEEDS.buckets == ("rlm-contexts",)


def test_bare_account() -> None:
    gone = LocalError("failed", output='Worker "rlm-worker" not found.')
    assert plan(FakeWrangler(secrets=gone), NEEDS, new_key=False) == Plan(NEEDS.buckets, NEEDS.queues, key=True)


def test_second_time_makes_nothing() -> None:
    wrangler = FakeWrangler(buckets=NEEDS.buckets, queues=NEEDS.queues, secrets=["RLM_API_KEYS"])
    assert plan(wrangler, NEEDS, new_key=False) == Plan((), (), key=False)


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

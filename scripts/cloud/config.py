"""What is deployed: wrangler.toml, and what is derived from it for an environment, a plan, an account."""

from __future__ import annotations

import json
import math
import re
import shutil
import tempfile
import tomllib
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from scripts.local.errors import LocalError
from scripts.local.paths import LocalPaths
from scripts.local.runtime.worker_modules import staged_worker

PlanName = Literal["paid", "free"]
# The Worker's own default.
_DEFAULT_TTL_DAYS = "7"
# Where the Worker keeps contexts: those that were put, and those of sessions. It deletes both itself; the bucket's
# rules take what it could not, such as a context whose session never began.
_CONTEXT_PREFIXES = ("contexts/", "sessions/")
_SPARE_DAYS = 1
_ENVIRONMENT = re.compile(r"^[a-z][a-z0-9-]{0,19}$")
# What only the paid plan has.
_PAID_ONLY = ("limits", "worker_loaders")


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
class Target:
    """One deployment: a Worker with its own bucket, queues, namespace and data, as wrangler's configuration says it."""

    config: Mapping[str, Any]
    environment: str = ""
    plan: PlanName = "paid"

    @property
    def worker(self) -> str:
        return str(self.config["name"])

    @property
    def buckets(self) -> tuple[str, ...]:
        return tuple(str(bucket["bucket_name"]) for bucket in self.config.get("r2_buckets", ()))

    @property
    def queues(self) -> tuple[str, ...]:
        queues = self.config.get("queues", {})
        names = [producer["queue"] for producer in queues.get("producers", ())]
        for consumer in queues.get("consumers", ()):
            names += [consumer["queue"], consumer.get("dead_letter_queue", consumer["queue"])]
        return tuple(dict.fromkeys(names))

    @property
    def namespaces(self) -> dict[str, str]:
        """Titles by binding: those under which wrangler itself would make them."""
        bindings = [str(one["binding"]) for one in self.config.get("kv_namespaces", ())]
        return {name: f"{self.worker}-{name.lower().replace('_', '-')}" for name in bindings}

    @property
    def datasets(self) -> tuple[str, ...]:
        return tuple(str(one["dataset"]) for one in self.config.get("analytics_engine_datasets", ()))

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(str(one["class_name"]) for one in self.config["durable_objects"]["bindings"])

    @property
    def expiries(self) -> tuple[Expiry, ...]:
        # A day more than the Worker's own retention, so that the rule never takes what a run still reads.
        kept = float(self.config.get("vars", {}).get("SESSION_TTL_DAYS", _DEFAULT_TTL_DAYS))
        days = math.ceil(kept) + _SPARE_DAYS
        return tuple(Expiry(bucket, prefix, days) for bucket in self.buckets for prefix in _CONTEXT_PREFIXES)

    def with_namespaces(self, ids: Mapping[str, str]) -> dict[str, Any]:
        """The configuration with an id for each namespace of which one is known, by binding."""
        spaces = [
            {**one, **({"id": ids[one["binding"]]} if one["binding"] in ids else {})}
            for one in self.config.get("kv_namespaces", ())
        ]
        return {**self.config, "kv_namespaces": spaces}


def target(root: Path, environment: str = "", plan: PlanName = "paid") -> Target:
    """The deployment of that environment: every name with the environment's behind it, as wrangler's own have."""
    config = tomllib.loads((root / "wrangler.toml").read_text(encoding="utf-8"))
    if environment:
        if not _ENVIRONMENT.match(environment):
            raise LocalError(f"{environment!r} is no name of an environment", hint="lower case letters, digits, dashes")
        config = _renamed(config, environment)
    if plan == "free":
        config = {name: value for name, value in config.items() if name not in _PAID_ONLY}
    return Target(config, environment, plan)


@contextmanager
def staged(paths: LocalPaths, config: Mapping[str, Any]) -> Iterator[Path]:
    """A folder with all that is uploaded and the configuration for it; gives the configuration's path.

    Nothing is put into the checkout: `python_modules` there stays pywrangler's.
    """
    with staged_worker(paths.root) as entry, tempfile.TemporaryDirectory(prefix="rlm-config-") as folder:
        place = Path(folder)
        shutil.copytree(entry.parent, place / "src", dirs_exist_ok=True)
        (place / "python_modules").symlink_to(_modules(paths), target_is_directory=True)
        file = place / "wrangler.json"
        file.write_text(json.dumps({**config, "main": f"src/{entry.name}"}, indent=1), encoding="utf-8")
        yield file


def _modules(paths: LocalPaths) -> Path:
    """The packages to upload: those that pywrangler has made, where somebody works with it, else our own."""
    theirs = paths.root / "python_modules"
    if theirs.is_symlink():  # earlier versions put one there, and pywrangler cannot write through it
        theirs.unlink()
    return theirs if theirs.is_dir() else paths.python_modules


def _renamed(config: Mapping[str, Any], environment: str) -> dict[str, Any]:
    """Bindings are not inherited between environments; each has things of its own, so nothing is shared by mistake."""

    def name(text: str) -> str:
        return f"{text}-{environment}"

    queues = config.get("queues", {})
    consumers = [
        {**one, **{key: name(one[key]) for key in ("queue", "dead_letter_queue") if key in one}}
        for one in queues.get("consumers", ())
    ]
    producers = [{**one, "queue": name(one["queue"])} for one in queues.get("producers", ())]
    suffix = environment.upper().replace("-", "_")
    return {
        **config,
        "name": name(config["name"]),
        "queues": {"producers": producers, "consumers": consumers},
        "r2_buckets": [{**one, "bucket_name": name(one["bucket_name"])} for one in config.get("r2_buckets", ())],
        "analytics_engine_datasets": [
            {**one, "dataset": f"{one['dataset']}_{suffix}"} for one in config.get("analytics_engine_datasets", ())
        ],
        # Counted by this number, over the whole account.
        "ratelimits": [
            {**one, "namespace_id": str(int(one["namespace_id"]) + 1 + zlib.crc32(environment.encode()) % 900_000_000)}
            for one in config.get("ratelimits", ())
        ],
    }

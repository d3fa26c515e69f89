"""The local configuration: what `wrangler.toml` does not say because ops do not need it."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scripts.local.paths import LocalPaths
from scripts.local.platform.switches import STRICT_VARIABLE
from scripts.local.runtime.worker_modules import entry_file, worker_modules
from scripts.local.setup.components import node_environment, uses_official_bundle
from scripts.local.setup.snapshot import BASELINE_FLAG, SNAPSHOT_NAME

# `experimental` lets Dynamic Workers carry development flags; the local bundle needs the first, its snapshot the last.
_LOCAL_FLAGS = ("python_workers_development", "experimental", BASELINE_FLAG)
# What stands in for an account's models takes as many calls a minute as it can.
_NO_RATE = {"MODEL_CALLS_PER_MINUTE": "60000"}
# A module that tests put before the Worker's own entry: it imports that and may change what it is given.
FRONT_VARIABLE = "RLM_FRONT_MODULE"
# "1": workerd lets its isolates be inspected, at a port of this machine that it chooses.
INSPECTOR_VARIABLE = "RLM_INSPECTOR"


@dataclass(frozen=True, slots=True)
class Upstream:
    """A server that speaks OpenAI's chat completions: its base URL, its own name for the model, the key that opens it.

    Without a name it is asked for the model by the id that the Worker has for it.
    """

    url: str
    model: str = ""
    key: str = field(default="", repr=False)

    def as_json(self) -> dict[str, str]:
        given = {"url": self.url.rstrip("/"), "model": self.model, "key": self.key}
        return {name: value for name, value in given.items() if value}


@dataclass(frozen=True, slots=True)
class Upstreams:
    """Where the AI binding's stand-in sends calls: `models` by model id, `default` for the rest (None: error 5007)."""

    default: Upstream | None = None
    models: Mapping[str, Upstream] | None = None

    def as_json(self) -> dict[str, object]:
        models = {model: upstream.as_json() for model, upstream in (self.models or {}).items()}
        return {"models": models, **({"default": self.default.as_json()} if self.default else {})}


def write_run_config(
    paths: LocalPaths, state: Path, *, port: int, upstreams: Upstreams | None, variables: Mapping[str, str]
) -> Path:
    """Writes `state`/run.json for runner.mjs, returns its path; no `upstreams` means the account's own AI binding."""
    deployed = tomllib.loads((paths.root / "wrangler.toml").read_text(encoding="utf-8"))
    main = entry_file(paths.root)
    front = os.environ.get(FRONT_VARIABLE)
    config = {
        "name": deployed["name"],
        "main": Path(front).name if front else main.name,
        "front": front,
        "platform": None if variables.get(STRICT_VARIABLE) == "0" else str(paths.platform),
        "source": str(main.parent),
        "modules": worker_modules(main),
        "wranglerToml": str(paths.root / "wrangler.toml"),
        "compatibilityDate": deployed["compatibility_date"],
        "flags": development_flags(paths),
        "npm": str(paths.npm),
        "pythonModules": str(paths.python_modules),
        "aiWorker": str(paths.ai_worker),
        "cache": str(paths.own / "cache"),
        "state": str(state),
        "port": port,
        "inspector": os.environ.get(INSPECTOR_VARIABLE) == "1",
        "upstreams": upstreams.as_json() if upstreams else None,
        "vars": {**_local_variables(paths), **(_NO_RATE if upstreams else {}), **variables},
    }
    target = state / "run.json"
    target.touch(mode=0o600)  # it holds the keys that the environment gave
    target.chmod(0o600)
    target.write_text(json.dumps(config, indent=1), encoding="utf-8")
    return target


def development_flags(paths: LocalPaths) -> tuple[str, ...]:
    """Compatibility flags that Workers need on this machine only."""
    return () if uses_official_bundle(paths) else _LOCAL_FLAGS


def _local_variables(paths: LocalPaths) -> dict[str, str]:
    """`RLM_LOCAL` allows running without keys; `RLM_LOCAL_BUNDLE`: Dynamic Workers need the local flags too."""
    return {
        "RLM_LOCAL": "1",
        "MAX_CELL_SECONDS": "20",
        **({} if uses_official_bundle(paths) else {"RLM_LOCAL_BUNDLE": "1"}),
    }


def runner_environment(paths: LocalPaths, state: Path) -> dict[str, str]:
    """The environment of runner.mjs, and through it of workerd."""
    return {
        **node_environment(paths),
        "MINIFLARE_WORKERD_PATH": str(paths.workerd_launcher),
        "RLM_WORKERD": str(paths.workerd),
        "RLM_WORKERD_PID_FILE": str(state / "workerd.pid"),
        "RLM_BUNDLE": str(paths.bundle),
        **_snapshot(paths),
        "WRANGLER_LOG": "error",
        "NO_COLOR": "1",
        "FORCE_COLOR": "0",
    }


def _snapshot(paths: LocalPaths) -> dict[str, str]:
    """What isolates open from; where there is none, each of them starts Python anew."""
    there = (paths.snapshot / SNAPSHOT_NAME).exists()
    return {"RLM_SNAPSHOT": SNAPSHOT_NAME, "RLM_SNAPSHOTS": str(paths.snapshot)} if there else {}

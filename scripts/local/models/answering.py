"""Who really answers on this machine: the Worker's catalogue is told, so that every figure and name is the truth."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

# Callers' names, and the ids that they stand for, of the model that reads and of the one that answers.
SUB_NAMES = (
    "llama-3.1-8b",
    "@cf/meta/llama-3.1-8b-instruct",
    "@cf/meta/llama-3.1-8b-instruct-fp8",
    "@cf/meta/llama-3.1-8b-instruct-fp8-fast",
)
ROOT_NAMES = (
    "llama-3.1-70b",
    "llama-3.3-70b",
    "@cf/meta/llama-3.1-70b-instruct",
    "@cf/meta/llama-3.3-70b-instruct-fp8-fast",
)
_PREFIX = "local/"


def local_id(name: str) -> str:
    """The id in the catalogue of what a server on this machine calls by that name."""
    return f"{_PREFIX}{name}"


def free_model(window: int, aliases: Iterable[str]) -> dict[str, object]:
    """An entry of `MODEL_OVERRIDES` for a model that charges nothing; `window` in tokens."""
    return {
        "window": window,
        "input_price": 0.0,
        "output_price": 0.0,
        "json_mode": "named",
        "source": "this machine",
        "aliases": list(aliases),
    }


def merged(own: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Vars of the command line over our own; of those that are JSON objects, field by field."""
    return {**own, **{name: _over(own.get(name), value) for name, value in given.items()}}


def _over(own: str | None, given: str) -> str:
    try:
        known, new = json.loads(own or "null"), json.loads(given)
    except ValueError:
        return given  # the Worker says what is wrong with it
    return json.dumps({**known, **new}) if isinstance(known, dict) and isinstance(new, dict) else given

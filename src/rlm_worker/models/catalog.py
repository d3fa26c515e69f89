"""The models: ids, aliases, windows and prices, each dated.

Source: Cloudflare's Workers AI pricing and model pages, read in the weeks up to `CATALOG_DATE`. A deployment corrects
or extends the table with the var `MODEL_OVERRIDES`, a JSON object from model id to the fields that differ.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import get_args

from rlm_worker.errors import NotConfigured
from rlm_worker.messages import JsonMode, ModelSpec

CATALOG_DATE = "2026-10-31"

_LLAMA_8B = "@cf/meta/llama-3.1-8b-instruct-fp8"
_LLAMA_8B_FAST = "@cf/meta/llama-3.1-8b-instruct-fp8-fast"
_LLAMA_70B = "@cf/meta/llama-3.3-70b-instruct-fp8-fast"

# `json_mode` says what each takes. The small Llama 3.1 is not among them: deployments report that both of its versions
# answer 5025, whatever the list of models with JSON mode says.
_MODELS = (
    ModelSpec("@cf/meta/llama-3.2-1b-instruct", 60_000, 0.027, 0.201, 2457, 18252, json_mode="bare"),
    ModelSpec("@cf/meta/llama-3.2-3b-instruct", 80_000, 0.051, 0.335, 4625, 30475, json_mode="bare"),
    ModelSpec(_LLAMA_8B, 32_000, 0.152, 0.287, 13778, 26128),
    ModelSpec(_LLAMA_8B_FAST, 32_000, 0.045, 0.384, 4119, 34868, fallback=_LLAMA_8B, window_published=False),
    ModelSpec(_LLAMA_70B, 24_000, 0.293, 2.253, 26668, 204805, json_mode="bare"),
    ModelSpec("@cf/meta/llama-4-scout-17b-16e-instruct", 131_000, 0.270, 0.850, 24545, 77273),
    ModelSpec("@cf/mistralai/mistral-small-3.1-24b-instruct", 128_000, 0.351, 0.555, 31876, 50488),
    ModelSpec("@cf/google/gemma-4-26b-a4b-it", 256_000, 0.100, 0.300, 9091, 27273),
    ModelSpec("@cf/qwen/qwen3-30b-a3b-fp8", 32_768, 0.051, 0.335, 4625, 30475, json_mode="bare"),
    ModelSpec("@cf/qwen/qwen2.5-coder-32b-instruct", 32_768, 0.660, 1.000, 60000, 90909),
    ModelSpec("@cf/openai/gpt-oss-20b", 128_000, 0.200, 0.300, 18182, 27273),
    ModelSpec("@cf/openai/gpt-oss-120b", 128_000, 0.350, 0.750, 31818, 68182),
    ModelSpec("@cf/ibm-granite/granite-4.0-h-micro", 131_000, 0.017, 0.112, 1542, 10158),
    ModelSpec("@cf/zai-org/glm-4.7-flash", 131_072, 0.060, 0.400, 5500, 36400, json_mode="named"),
)

# The two short names outlived the models that they once meant (withdrawn on 2026-05-30); the rest save typing.
_ALIASES = {
    "llama-3.1-8b": _LLAMA_8B_FAST,
    "llama-3.1-70b": _LLAMA_70B,
    "llama-3.3-70b": _LLAMA_70B,
    "@cf/meta/llama-3.1-8b-instruct": _LLAMA_8B_FAST,
    "@cf/meta/llama-3.1-70b-instruct": _LLAMA_70B,
    "llama-3.2-1b": "@cf/meta/llama-3.2-1b-instruct",
    "llama-3.2-3b": "@cf/meta/llama-3.2-3b-instruct",
    "llama-4-scout": "@cf/meta/llama-4-scout-17b-16e-instruct",
    "mistral-small-3.1": "@cf/mistralai/mistral-small-3.1-24b-instruct",
    "gemma-4-26b": "@cf/google/gemma-4-26b-a4b-it",
    "qwen3-30b": "@cf/qwen/qwen3-30b-a3b-fp8",
    "qwen2.5-coder-32b": "@cf/qwen/qwen2.5-coder-32b-instruct",
    "gpt-oss-20b": "@cf/openai/gpt-oss-20b",
    "gpt-oss-120b": "@cf/openai/gpt-oss-120b",
    "granite-4.0-h-micro": "@cf/ibm-granite/granite-4.0-h-micro",
    "glm-4.7-flash": "@cf/zai-org/glm-4.7-flash",
}


class Catalog:
    """The models of one deployment, found by id or alias."""

    def __init__(self, models: Mapping[str, ModelSpec], aliases: Mapping[str, str]) -> None:
        self._models = dict(models)
        self._aliases = dict(aliases)

    @classmethod
    def standard(cls) -> Catalog:
        return cls({model.id: model for model in _MODELS}, _ALIASES)

    def with_overrides(self, overrides: str) -> Catalog:
        """Applies the JSON of `MODEL_OVERRIDES`; raises `NotConfigured` where it is not of that form."""
        models = dict(self._models)
        for model_id, fields in _parsed(overrides).items():
            models[model_id] = _overridden(model_id, models.get(model_id), fields)
        return Catalog(models, self._aliases)

    def find(self, name: str) -> ModelSpec | None:
        """The model of that id or alias; None where there is none."""
        return self._models.get(self._aliases.get(name, name))

    def id_of(self, name: str) -> str:
        """The id that a name stands for: a model's own is its id, known or not."""
        return self._aliases.get(name, name)

    def fallback_of(self, model: ModelSpec) -> ModelSpec | None:
        return self._models.get(model.fallback) if model.fallback else None

    def names(self) -> list[str]:
        """Every name that `find` knows, aliases first."""
        return [*self._aliases, *self._models]

    def models(self) -> list[tuple[ModelSpec, list[str]]]:
        """Each model with its aliases."""
        return [(model, [a for a, m in self._aliases.items() if m == model.id]) for model in self._models.values()]


def _parsed(overrides: str) -> dict[str, dict[str, object]]:
    try:
        parsed = json.loads(overrides)
    except ValueError as error:
        raise NotConfigured(f"MODEL_OVERRIDES is not JSON: {error}") from None
    if not isinstance(parsed, dict) or not all(isinstance(fields, dict) for fields in parsed.values()):
        raise NotConfigured("MODEL_OVERRIDES must be a JSON object of objects")
    return parsed


def _overridden(model_id: str, known: ModelSpec | None, fields: Mapping[str, object]) -> ModelSpec:
    if fields.get("json_mode", "none") not in get_args(JsonMode):
        raise NotConfigured(f"MODEL_OVERRIDES, {model_id}: json_mode must be one of {', '.join(get_args(JsonMode))}")
    try:
        if known is not None:
            return replace(known, **fields)  # type: ignore[arg-type]
        return ModelSpec(id=model_id, **fields)  # type: ignore[arg-type]
    except TypeError as error:
        raise NotConfigured(f"MODEL_OVERRIDES, {model_id}: {error}") from None

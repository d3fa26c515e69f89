"""The models of a deployment: found by id or alias, with a sentence for each that cannot be asked.

`prices` holds what is known of models, each figure dated and with its source. A deployment corrects, pins or extends
the table with the var `MODEL_OVERRIDES`, and adds providers with the var `PROVIDERS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from rlm_worker.messages import LOCAL_PREFIX, ModelSpec, Task, direct_provider
from rlm_worker.ports import JudgeName, Provider

from .prices import CATALOG_DATE, MODELS

__all__ = ["CATALOG_DATE", "Catalog"]

_LLAMA_8B_FAST = "@cf/meta/llama-3.1-8b-instruct-fp8-fast"
_LLAMA_70B = "@cf/meta/llama-3.3-70b-instruct-fp8-fast"

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
    "qwen3.8-27b": "@cf/qwen/qwen3.8-27b",
    "qwen2.5-coder-32b": "@cf/qwen/qwen2.5-coder-32b-instruct",
    "gpt-oss-20b": "@cf/openai/gpt-oss-20b",
    "gpt-oss-120b": "@cf/openai/gpt-oss-120b",
    "granite-4.0-h-micro": "@cf/ibm-granite/granite-4.0-h-micro",
    "glm-4.7-flash": "@cf/zai-org/glm-4.7-flash",
    "glm-5.2": "@cf/zai-org/glm-5.2",
    "glm-5.3-flash": "@cf/zai-org/glm-5.3-flash",
    "nemotron-3-120b": "@cf/nvidia/nemotron-3-120b-a12b",
    "deepseek-v4-flash": "@cf/deepseek-ai/deepseek-v4-flash-0731",
    "deepseek-v4-pro": "@cf/deepseek-ai/deepseek-v4-pro-0813",
    "kimi-k2.6": "@cf/moonshotai/kimi-k2.6",
    "kimi-k2.7-code": "@cf/moonshotai/kimi-k2.7-code",
}

# What each judge's model does.
_JUDGE_TASKS: Mapping[JudgeName, Task] = {"reranker": "rerank", "embeddings": "embed", "decision": "decide"}


class Catalog:
    """The models of one deployment; `gateway` names the AI Gateway that third parties' models need.

    `local_only`: behind the binding are the models of a developer's machine, and no others.
    """

    def __init__(
        self,
        models: Mapping[str, ModelSpec],
        aliases: Mapping[str, str],
        *,
        providers: Mapping[str, Provider] | None = None,
        gateway: str = "",
        local_only: bool = False,
    ) -> None:
        self._models = dict(models)
        self._aliases = dict(aliases)
        self._providers = dict(providers or {})
        self._gateway = gateway
        self._local_only = local_only

    @classmethod
    def standard(cls) -> Catalog:
        return cls({model.id: model for model in MODELS}, _ALIASES)

    def with_models(self, models: Iterable[ModelSpec], aliases: Mapping[str, str]) -> Catalog:
        """The same with models and aliases that replace, or come to, those that are there."""
        known = {**self._models, **{model.id: model for model in models}}
        # A name that means another model now is no model of its own any more.
        shadowed = {name for name, meant in aliases.items() if name != meant}
        left = {model_id: model for model_id, model in known.items() if model_id not in shadowed}
        everything = {**self._aliases, **aliases}
        return Catalog(left, everything, providers=self._providers, gateway=self._gateway, local_only=self._local_only)

    def with_providers(self, providers: Mapping[str, Provider], gateway: str) -> Catalog:
        """The same with the models that each provider is known to serve."""
        served = [
            replace(model, id=f"{provider.name}:{model.id.removeprefix(f'{provider.vendor}/')}")
            for provider in providers.values()
            for model in self._models.values()
            if provider.vendor and model.id.startswith(f"{provider.vendor}/")
        ]
        known = {**self._models, **{model.id: model for model in served}}
        return Catalog(known, self._aliases, providers=providers, gateway=gateway, local_only=self._local_only)

    def on_this_machine(self) -> Catalog:
        """The same where the binding reaches local models only."""
        return Catalog(self._models, self._aliases, providers=self._providers, gateway=self._gateway, local_only=True)

    def find(self, name: str) -> ModelSpec | None:
        """The model of that id or alias that answers prompts; None where there is none."""
        model = self.known(name)
        return model if model is not None and model.task == "chat" else None

    def known(self, name: str) -> ModelSpec | None:
        """The model of that id or alias, judges included; None where there is none."""
        return self._models.get(self._aliases.get(name, name))

    def judge(self, name: JudgeName) -> ModelSpec | None:
        """The first model that can play that judge; None where there is none, and for the one that is no model."""
        return next((model for model in self._models.values() if model.task == _JUDGE_TASKS.get(name)), None)

    def judge_obstacle(self, name: JudgeName) -> str:
        """Why a judge cannot be asked and what mends it; empty where it can."""
        if name not in _JUDGE_TASKS:
            return ""
        model = self.judge(name)
        if model is None:
            return f"the catalogue has no model with the task {_JUDGE_TASKS[name]}: add one to the var MODEL_OVERRIDES"
        obstacle = self.obstacle(model)
        return f"{model.id} {obstacle}" if obstacle else ""

    def answering(self, name: str, asked: ModelSpec | None = None) -> ModelSpec:
        """Who has answered under that name: a model of the catalogue, else a stranger at the price of the one asked.

        A stranger in the place of one of Workers AI's own is a server on a developer's machine, which charges nothing.
        """
        known = self.known(name)
        if known is not None:
            return known
        if asked is None or asked.provider == "workers-ai":
            return ModelSpec(name, 0, 0.0, 0.0)
        return replace(asked, id=name)

    def obstacle(self, model: ModelSpec) -> str:
        """Why a model cannot be asked and what mends it; empty where it can."""
        direct = direct_provider(model.id)
        if direct:
            provider = self._providers.get(direct)
            if provider is None:
                return self._no_provider(direct)
            missing = " and ".join(provider.missing_secrets)
            return f"needs the secret {missing}: wrangler secret put {provider.missing_secrets[0]}" if missing else ""
        if self._local_only and not model.id.startswith(LOCAL_PREFIX):
            return "is not served on this machine: ./scripts/dev --ai remote, or a provider"
        if model.vendor_needs_gateway and not self._gateway:
            return 'needs an AI Gateway: set the var AI_GATEWAY to its id ("default" is created by itself)'
        return ""

    def unknown(self, name: str) -> str:
        """Why there is no model of that name, and what mends it."""
        direct = direct_provider(name)
        if self.known(name) is not None:
            return "answers no prompts: it judges which chunks are worth reading, which config.relevance asks for"
        if direct and direct not in self._providers:
            return self._no_provider(direct)
        if direct:
            return (
                "window and price are not known: add them to the var MODEL_OVERRIDES, "
                f'{{"{name[:200]}": {{"window": tokens, "input_price": dollars, "output_price": dollars}}}}'
            )
        return f"unknown model; known are {', '.join(self.names())}"

    def _no_provider(self, name: str) -> str:
        known = ", ".join(self._providers) or "none"
        return f"the var PROVIDERS has no provider {name!r}; it has {known}"

    def id_of(self, name: str) -> str:
        """The id that a name stands for: a model's own is its id, known or not."""
        return self._aliases.get(name, name)

    def fallback_of(self, model: ModelSpec) -> ModelSpec | None:
        """Who stands in for a model; None where nobody does, or the one who does cannot be asked."""
        found = self.find(model.fallback) if model.fallback else None
        return None if found is None or self.obstacle(found) else found

    def names(self) -> list[str]:
        """Every name that can be asked, aliases first."""
        usable = [model.id for model, _ in self.models() if not self.obstacle(model)]
        return [*(alias for alias, model_id in self._aliases.items() if model_id in usable), *usable]

    def models(self) -> list[tuple[ModelSpec, list[str]]]:
        """Each model that answers prompts, with its aliases."""
        chat = [model for model in self._models.values() if model.task == "chat"]
        return [(model, [a for a, m in self._aliases.items() if m == model.id]) for model in chat]

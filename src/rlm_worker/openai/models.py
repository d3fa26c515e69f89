"""Models by the names that OpenAI's clients send: `root`, `root+sub`, `rlm`, `rlm-repl`, `root+sub+rlm-map-reduce`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time

from rlm_worker.errors import NotFound
from rlm_worker.messages import ModelSpec, direct_provider
from rlm_worker.models.catalog import CATALOG_DATE, Catalog
from rlm_worker.wire.requests import RunConfig
from rlm_worker.wire.strategies import StrategyName

from .schemas import ModelEntry, ModelList, PriceTier

_STRATEGIES: Mapping[str, StrategyName] = {
    "rlm": "auto",
    "auto": "auto",
    "rlm-auto": "auto",
    "rlm-direct": "direct",
    "rlm-map-reduce": "map_reduce",
    "rlm-repl": "repl",
    "rlm-table": "table",
}


# Who serves what third parties sell through the binding.
_GATEWAY = "ai-gateway"


class UnknownModel(NotFound):
    """A `model` that names no model and no strategy of this deployment."""


def model_choice(name: str, catalog: Catalog) -> dict[str, str]:
    """The fields of a run's config that a `model` decides; raises `UnknownModel`."""
    chosen: dict[str, str] = {}
    models: list[str] = []
    for part in name.split("+"):
        if part in _STRATEGIES:
            chosen["strategy"] = _STRATEGIES[part]
        else:
            models.append(_known(part, catalog).id)
    if len(models) > 2 or len(models) + len(chosen) < len(name.split("+")):
        raise UnknownModel(f"{name[:200]!r} names more than a root model, a sub-model and a strategy")
    return {**chosen, **dict(zip(("root_model", "sub_model"), models, strict=False))}


def model_list(catalog: Catalog) -> ModelList:
    """Every model of the catalogue."""
    return ModelList(data=[_entry(model.id, model, aliases, catalog) for model, aliases in catalog.models()])


def model_entry(name: str, catalog: Catalog, defaults: RunConfig) -> ModelEntry:
    """The entry of anything that may stand as `model`, with the root model's window and prices."""
    choice = model_choice(name, catalog)
    root = _known(choice.get("root_model", defaults.root_model), catalog)
    aliases = next((aliases for model, aliases in catalog.models() if model.id == name), [])
    return _entry(name, root, aliases, catalog)


def _known(name: str, catalog: Catalog) -> ModelSpec:
    model = catalog.find(name)
    if model is None and direct_provider(name):
        raise UnknownModel(f"the model {name[:200]!r} does not exist: {catalog.unknown(name)}")
    if model is None:
        raise UnknownModel(f"the model {name[:200]!r} does not exist; GET /v1/models lists those that do")
    return model


def _entry(name: str, model: ModelSpec, aliases: list[str], catalog: Catalog) -> ModelEntry:
    return ModelEntry(
        id=name,
        created=_created(model.dated or CATALOG_DATE),
        owned_by=_owner(model.id),
        window=model.window,
        inputPrice=model.input_price,
        outputPrice=model.output_price,
        aliases=aliases,
        dated=model.dated,
        source=model.source,
        provider=_GATEWAY if model.vendor_needs_gateway else model.provider,
        windowPublished=model.window_published,
        cachedPrice=model.cached_price,
        writePrice=model.write_price,
        tiers=[
            PriceTier(
                above=tier.above,
                inputPrice=tier.input,
                outputPrice=tier.output,
                cachedPrice=tier.cached,
                writePrice=tier.write,
            )
            for tier in model.tiers
        ],
        paidOnly=model.paid_only,
        reasoning=model.reasoning,
        efforts=list(model.efforts),
        jsonMode=model.json_mode,
        unavailable=catalog.obstacle(model) or None,
    )


def _created(dated: str) -> int:
    return int(datetime.combine(date.fromisoformat(dated), time(), UTC).timestamp())


def _owner(model_id: str) -> str:
    """Workers AI's ids are @cf/owner/name, those of others owner/name, or provider:owner/name."""
    direct = direct_provider(model_id)
    parts = model_id.removeprefix(f"{direct}:").removeprefix("@cf/").removeprefix("@hf/").split("/")
    if direct and len(parts) == 1:
        return direct
    return parts[0] if len(parts) > 1 else "cloudflare"

"""The var `MODEL_OVERRIDES`: models that a deployment corrects, pins or adds, and names of its own for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from rlm_worker.errors import NotConfigured
from rlm_worker.messages import Effort, JsonMode, ModelSpec, Prices, Reasoning, Task
from rlm_worker.variables import parsed_var

from .catalog import Catalog

_VAR = "MODEL_OVERRIDES"
_Price = Annotated[float, Field(ge=0)]
_NEEDED = ("window", "input_price", "output_price")


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class TierOverride(_Closed):
    """The prices of prompts with more than `above` tokens, in US dollars per million tokens."""

    above: Annotated[int, Field(ge=1)]
    input_price: _Price
    output_price: _Price
    cached_price: _Price | None = None
    write_price: _Price | None = None

    def to_prices(self) -> Prices:
        """What is not said of the cache costs what reading costs."""
        cached = self.input_price if self.cached_price is None else self.cached_price
        write = self.input_price if self.write_price is None else self.write_price
        return Prices(self.input_price, self.output_price, cached, write, self.above)


class ModelOverride(_Closed):
    """What differs from the catalogue; a model that it does not have needs window and prices.

    Fields as those of `ModelSpec`; `aliases` are further names for it.
    """

    window: Annotated[int, Field(ge=256)] | None = None
    input_price: _Price | None = None
    output_price: _Price | None = None
    cached_price: _Price | None = None
    write_price: _Price | None = None
    tiers: list[TierOverride] | None = None
    input_neurons: _Price | None = None
    output_neurons: _Price | None = None
    fallback: str | None = None
    window_published: bool | None = None
    paid_only: bool | None = None
    reasoning: Reasoning | None = None
    efforts: list[Effort] | None = None
    thinking_switch: bool | None = None
    output_floor: Annotated[int, Field(ge=0)] | None = None
    sampling: bool | None = None
    json_mode: JsonMode | None = None
    dated: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")] | None = None
    source: str | None = None
    task: Task | None = None
    aliases: list[str] = Field(default_factory=list)

    def applied(self, model_id: str, known: ModelSpec | None) -> ModelSpec:
        """The model with these fields; raises `NotConfigured` where a new one is not whole."""
        fields: dict[str, object] = {name: getattr(self, name) for name in self.model_fields_set - {"aliases"}}
        if self.tiers is not None:
            fields["tiers"] = tuple(tier.to_prices() for tier in sorted(self.tiers, key=lambda tier: tier.above))
        if self.efforts is not None:
            fields["efforts"] = tuple(self.efforts)
        if known is not None:
            return replace(_repriced(known, fields), **fields)  # type: ignore[arg-type] # validated above
        for name in _NEEDED:
            if fields.get(name) is None:
                raise NotConfigured(
                    f"the var {_VAR}, {model_id}.{name}: is missing; a model that the catalogue does not have needs "
                    f"{', '.join(_NEEDED)}"
                )
        return ModelSpec(id=model_id, **fields)  # type: ignore[arg-type] # the same


_OVERRIDES = TypeAdapter(dict[str, ModelOverride])


def with_overrides(catalog: Catalog, text: str) -> Catalog:
    """Applies the JSON of the var; raises `NotConfigured`, naming the field, where it is not of that form."""
    overrides = parsed_var(_VAR, _OVERRIDES, text)
    models = [override.applied(model_id, catalog.known(model_id)) for model_id, override in overrides.items()]
    aliases = {
        alias: model.id
        for model, override in zip(models, overrides.values(), strict=True)
        for alias in override.aliases
    }
    changed = catalog.with_models(models, aliases)
    for model in models:
        _check_fallbacks(changed, model)
    return changed


def _check_fallbacks(catalog: Catalog, model: ModelSpec) -> None:
    """Raises `NotConfigured` where the chain of fallbacks ends at nothing, or never."""
    met = [model.id]
    current: ModelSpec | None = model
    while current is not None and current.fallback:
        current = catalog.find(current.fallback)
        if current is None or current.id in met:
            chain = " → ".join([*met, current.id if current else str(model.fallback)])
            why = "goes in a circle" if current else "names a model that the catalogue does not have"
            raise NotConfigured(f"the var {_VAR}, {model.id}.fallback: {why}: {chain}")
        met.append(current.id)


def _repriced(known: ModelSpec, fields: dict[str, object]) -> ModelSpec:
    """Neurons follow from a new price, unless they are given too; old tiers and cache prices do not outlive it."""
    if "input_price" in fields:
        known = replace(known, input_neurons=None, tiers=(), cached_price=None, write_price=None)
    return replace(known, output_neurons=None) if "output_price" in fields else known

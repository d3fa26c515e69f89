"""What is published of models today: by Cloudflare, for an account, and by `genai-prices`, a list kept on PyPI."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from importlib import metadata

import httpx

from rlm_worker.messages import ModelSpec, Prices
from scripts.local.errors import LocalError

API = "https://api.cloudflare.com/client/v4"
_PAGE = 100
_TIMEOUT_SECONDS = 60.0
_PACKAGE = "genai-prices"
# Providers in that list, by how our ids begin.
_PROVIDERS = {"@cf/": "cloudflare", "anthropic/": "anthropic", "openai/": "openai"}
# What is compared, and so what a refresh may change.
FIELDS = ("window", "input_price", "output_price", "cached_price", "write_price", "tiers", "paid_only")

Published = Callable[[ModelSpec], ModelSpec | None]


@dataclass(frozen=True, slots=True)
class Source:
    """Where figures come from; `look_up` gives a model as it is published there, None where it is not."""

    name: str
    look_up: Published


def account_source(api: str, account: str, token: str) -> Source:
    """Cloudflare's list of models for an account; raises `LocalError` where it cannot be had."""
    listed = {str(model.get("name")): model for model in _pages(api, account, token)}

    def look_up(model: ModelSpec) -> ModelSpec | None:
        found = listed.get(model.id)
        return None if found is None else _of_account(model, found)

    return Source("Cloudflare's list of models", look_up)


def package_source() -> Source:
    """The list `genai-prices` of the version that is installed; raises `LocalError` where none is."""
    try:
        data = importlib.import_module("genai_prices.data")
    except ImportError as error:
        raise LocalError(f"{_PACKAGE} is not installed", hint=f"pip install {_PACKAGE}") from error
    providers = {provider.id: provider for provider in data.providers}

    def look_up(model: ModelSpec) -> ModelSpec | None:
        prefix = next((prefix for prefix in _PROVIDERS if model.id.startswith(prefix)), None)
        if prefix is None:
            return None
        name = model.id if prefix == "@cf/" else model.id.removeprefix(prefix)
        found = next((info for info in providers[_PROVIDERS[prefix]].models if info.id == name), None)
        return None if found is None else _of_package(model, found)

    return Source(f"{_PACKAGE} {metadata.version(_PACKAGE)}", look_up)


def differences(model: ModelSpec, published: ModelSpec) -> dict[str, tuple[object, object]]:
    """What is published otherwise: field by field, ours and theirs."""
    pairs = {name: (getattr(model, name), getattr(published, name)) for name in FIELDS}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def refreshed(model: ModelSpec, published: ModelSpec, source: str, today: date) -> ModelSpec:
    """The model with the published figures, dated; neurons that do not belong to the price any more go."""
    new = replace(published, dated=today.isoformat(), source=source)
    if new.input_price != model.input_price:
        new = replace(new, input_neurons=None)
    return replace(new, output_neurons=None) if new.output_price != model.output_price else new


def _pages(api: str, account: str, token: str) -> Iterator[Mapping[str, object]]:
    for page in range(1, 100):
        listed = _page(api, account, token, page)
        yield from listed
        if len(listed) < _PAGE:
            return


def _page(api: str, account: str, token: str, page: int) -> list[Mapping[str, object]]:
    query: dict[str, str | int] = {"page": page, "per_page": _PAGE}
    try:
        response = httpx.get(
            f"{api}/accounts/{account}/ai/models/search",
            params=query,
            headers={"authorization": f"Bearer {token}"},
            timeout=_TIMEOUT_SECONDS,
        )
    except httpx.HTTPError as error:
        raise LocalError(f"Cloudflare's API cannot be reached: {error}") from error
    if response.status_code != 200:
        raise LocalError(f"Cloudflare's list of models: {response.status_code}", output=response.text[:2_000])
    result: list[Mapping[str, object]] = response.json().get("result") or []
    return result


def _of_account(model: ModelSpec, found: Mapping[str, object]) -> ModelSpec:
    properties = _properties(found)
    told: dict[str, object] = {}
    if window := _number(properties.get("context_window")):
        told |= {"window": int(window), "window_published": True}
    prices = properties.get("price")
    for price in prices if isinstance(prices, list) else []:
        field = _price_field(str(price.get("unit", "")))
        amount = _number(price.get("price"))
        if field and amount is not None and price.get("currency", "USD") == "USD":
            told[field] = amount
    if "require_paid_plan" in properties:
        told["paid_only"] = str(properties["require_paid_plan"]).lower() == "true"
    return replace(model, **told)  # type: ignore[arg-type] # by name


def _properties(found: Mapping[str, object]) -> dict[str, object]:
    listed = found.get("properties")
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    return {str(entry.get("property_id")): entry.get("value") for entry in entries}


def _price_field(unit: str) -> str:
    """`per M input tokens`, `per M cached input tokens`, `per M output tokens`."""
    if "M" not in unit or "token" not in unit:
        return ""
    if "cached" in unit:
        return "cached_price"
    return "input_price" if "input" in unit else "output_price" if "output" in unit else ""


def _number(value: object) -> float | None:
    try:
        return float(str(value))
    except ValueError:
        return None


def _of_package(model: ModelSpec, info: object) -> ModelSpec:
    prices = _current(getattr(info, "prices", None))
    told: dict[str, object] = {}
    if window := getattr(info, "context_window", None):
        told["window"] = int(window)
    names = {
        "input_price": "input_mtok",
        "output_price": "output_mtok",
        "cached_price": "cache_read_mtok",
        "write_price": "cache_write_mtok",
    }
    figures = {field: getattr(prices, name, None) for field, name in names.items()}
    told |= {field: _base(figure) for field, figure in figures.items() if figure is not None}
    told["tiers"] = _tiers(figures)
    return replace(model, **told)  # type: ignore[arg-type] # by name


def _current(prices: object) -> object:
    """Of prices that begin on a day, those that hold today."""
    if not isinstance(prices, list):
        return prices
    holds = [entry for entry in prices if _has_begun(getattr(entry, "constraint", None))]
    return holds[-1].prices if holds else None


def _has_begun(constraint: object) -> bool:
    start = getattr(constraint, "start_date", None)
    return constraint is None or (isinstance(start, date) and start <= date.today())  # noqa: DTZ011 - days, not moments


def _base(figure: object) -> float:
    return float(str(getattr(figure, "base", figure)))


def _tiers(figures: Mapping[str, object]) -> tuple[Prices, ...]:
    """One tier for every length at which any price changes."""
    starts = sorted({tier.start for figure in figures.values() for tier in getattr(figure, "tiers", ())})
    return tuple(_tier(figures, start) for start in starts)


def _tier(figures: Mapping[str, object], start: int) -> Prices:
    def at(field: str, otherwise: float) -> float:
        figure = figures[field]
        if figure is None:
            return otherwise
        reached = [tier for tier in getattr(figure, "tiers", ()) if tier.start <= start]
        return float(str(reached[-1].price)) if reached else _base(figure)

    read = at("input_price", 0.0)
    return Prices(read, at("output_price", 0.0), at("cached_price", read), at("write_price", read), start)

"""Vars are validated: what cannot be right is said with the var and the field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from rlm_worker.errors import NotConfigured
from rlm_worker.messages import CallUsage, Message, ModelRequest, ModelSpec, Prices
from rlm_worker.models import prices
from rlm_worker.models.catalog import Catalog
from rlm_worker.settings import Settings
from scripts.cloud.catalog.price_table import price_table

LLAMA = "@cf/meta/llama-3.2-1b-instruct"
NEW = {"window": 9_000, "input_price": 1.1, "output_price": 2.2}
PROVIDER = {"type": "anthropic", "key": "ANTHROPIC_API_KEY"}


def settings(**variables: object) -> Settings:
    read = {name: value if isinstance(value, str) else json.dumps(value) for name, value in variables.items()}
    return Settings.from_vars(read.get)


def found(read: Settings, name: str) -> ModelSpec:
    model = read.catalog.find(name)
    assert model is not None
    return model


@pytest.mark.parametrize(
    ("var", "value", "sentence"),
    [
        ("MAX_ITERATIONS", "many", "the var MAX_ITERATIONS must be a number, not 'many'"),
        ("MAX_ITERATIONS", "0", "the var MAX_ITERATIONS must be above zero, not '0'"),
        ("MAX_ITERATIONS", "2.5", "the var MAX_ITERATIONS must be a whole number, not '2.5'"),
        ("MAX_ITERATIONS", "5000", "the var MAX_ITERATIONS: Input should be less than or equal to 1000"),
        ("MODEL_TIMEOUT_SECONDS", "nan", "the var MODEL_TIMEOUT_SECONDS must be above zero, not 'nan'"),
        ("MAX_BODY_BYTES", "1e999", "the var MAX_BODY_BYTES must be above zero, not '1e999'"),
        ("QUOTED_EVIDENCE", "yes", "the var QUOTED_EVIDENCE must be 0 or 1, not 'yes'"),
        ("AI_GATEWAY", "a b", "the var AI_GATEWAY must be a gateway's id"),
        ("MODEL_OVERRIDES", "{", "the var MODEL_OVERRIDES: Invalid JSON"),
        ("MODEL_OVERRIDES", {"@cf/a/b": {"window": 9_000}}, "the var MODEL_OVERRIDES, @cf/a/b.input_price: is missing"),
        (
            "MODEL_OVERRIDES",
            {LLAMA: {"window": "x"}},
            f"the var MODEL_OVERRIDES, {LLAMA}.window: Input should be a valid",
        ),
        ("MODEL_OVERRIDES", {LLAMA: {"prize": 1}}, f"the var MODEL_OVERRIDES, {LLAMA}.prize: Extra inputs"),
        (
            "MODEL_OVERRIDES",
            {LLAMA: {"input_price": -1}},
            f"the var MODEL_OVERRIDES, {LLAMA}.input_price: Input should",
        ),
        (
            "MODEL_OVERRIDES",
            {LLAMA: {"fallback": "x"}},
            f"the var MODEL_OVERRIDES, {LLAMA}.fallback: names a model that",
        ),
        (
            "MODEL_OVERRIDES",
            {LLAMA: {"fallback": LLAMA}},
            f"the var MODEL_OVERRIDES, {LLAMA}.fallback: goes in a circle",
        ),
        ("PROVIDERS", {"a": {"type": "x"}}, "the var PROVIDERS, a.type: Input should be 'anthropic' or 'openai'"),
        ("PROVIDERS", {"A b": PROVIDER}, "the var PROVIDERS, A b.[key]: String should match pattern"),
        ("PROVIDERS", {"a": {**PROVIDER, "key": "sk-ant-1"}}, "the var PROVIDERS, a.key: String should match pattern"),
        ("PROVIDERS", {"a": {**PROVIDER, "key": "RLM_API_KEYS"}}, "the var PROVIDERS, a.key: RLM_API_KEYS opens"),
        ("PROVIDERS", {"a": {**PROVIDER, "key": "RLM_ADMIN_KEYS"}}, "the var PROVIDERS, a.key: RLM_ADMIN_KEYS opens"),
        ("PROVIDERS", {"a": {**PROVIDER, "url": "http://x.example"}}, "the var PROVIDERS, a: a key is sent by https"),
        ("PROVIDERS", {"a": {**PROVIDER, "url": "ftp://x"}}, "the var PROVIDERS, a: url must be an http or https URL"),
        ("PROVIDERS", {"a": {**PROVIDER, "body": {"model": "x"}}}, "the var PROVIDERS, a.body: model cannot be set"),
    ],
)
def test_bad_var_is_named(var: str, value: object, sentence: str) -> None:
    with pytest.raises(NotConfigured) as raised:
        settings(**{var: value})
    assert str(raised.value).startswith(sentence)


def test_new_model_needs_no_neurons() -> None:
    model = found(settings(MODEL_OVERRIDES={"@cf/a/b": {**NEW, "aliases": ["b"]}}), "b")
    assert model.neurons(1_000_000, 0) == pytest.approx(100_000)
    assert model.neurons(0, 1_000_000) == pytest.approx(200_000)


def test_new_price_brings_neurons() -> None:
    assert found(settings(MODEL_OVERRIDES={LLAMA: {"input_price": 0.11}}), LLAMA).neurons(
        1_000_000, 0
    ) == pytest.approx(10_000)
    assert found(settings(MODEL_OVERRIDES={LLAMA: {"window": 9_000}}), LLAMA).neurons(1_000_000, 0) == 2457


def test_alias_hides_a_model() -> None:
    """On a developer's machine another model plays a large one's part, under its own name."""
    read = settings(MODEL_OVERRIDES={"local/small": {**NEW, "input_price": 0, "output_price": 0, "aliases": [LLAMA]}})
    assert found(read, LLAMA).id == "local/small"
    assert LLAMA not in [model.id for model, _ in read.catalog.models()]
    assert found(read, "local/small").cost(1_000, 1_000) == 0


def test_machine_serves_its_own() -> None:
    own = {"local/small": {**NEW, "aliases": ["llama-3.1-8b"]}}
    read = settings(MODEL_OVERRIDES=own, RLM_LOCAL_MODELS="1", PROVIDERS={"a": {"type": "anthropic"}})
    assert not read.catalog.obstacle(found(read, "llama-3.1-8b"))
    assert not read.catalog.obstacle(found(read, "a:claude-haiku-4-5"))
    assert "not served on this machine" in read.catalog.obstacle(found(read, LLAMA))


def test_provider_serves_its_vendor() -> None:
    read = settings(PROVIDERS={"claude": PROVIDER, "gpt": {"type": "openai", "key": "K"}}, ANTHROPIC_API_KEY="s")
    direct = found(read, "claude:claude-haiku-4-5")
    assert (direct.provider, direct.own_name, direct.input_price) == ("claude", "claude-haiku-4-5", 1.0)
    assert not read.catalog.obstacle(direct)
    assert "needs the secret K" in read.catalog.obstacle(found(read, "gpt:gpt-5-mini"))
    assert read.providers["gpt"].output_limit == "max_completion_tokens"
    assert (read.providers["claude"].streams, read.providers["gpt"].streams) == (True, False)
    assert "AI_GATEWAY" in read.catalog.obstacle(found(read, "anthropic/claude-haiku-4-5"))
    assert not settings(AI_GATEWAY="default").catalog.obstacle(found(read, "anthropic/claude-haiku-4-5"))


def test_secret_is_nowhere_in_settings() -> None:
    read = settings(PROVIDERS={"claude": PROVIDER}, ANTHROPIC_API_KEY="sk-ant-secret")
    assert "sk-ant-secret" not in repr(read)


@pytest.mark.parametrize(("tokens", "price"), [(100_000, 0.1), (100_001, 0.5), (900_000, 0.5)])
def test_long_prompts_cost_their_tier(tokens: int, price: float) -> None:
    model = found(settings(), "anthropic/claude-haiku-5-5")
    assert model.bill(CallUsage(tokens, 0)) == pytest.approx(tokens * price / 1e6)
    assert model.cost(tokens, 0) == pytest.approx(tokens * price * 1.25 / 1e6)


def test_bill_never_exceeds_reserve() -> None:
    for model, _ in Catalog.standard().models():
        for cached, written in ((0, 0), (5_000, 0), (0, 9_000), (4_000, 6_000)):
            usage = CallUsage(10_000, 500, cached_tokens=cached, written_tokens=written)
            assert model.bill(usage) <= model.cost(10_000, 500) + 1e-12
    assert found(settings(), LLAMA).bill(CallUsage(10, 10, billed_usd=3.0)) == 3.0


def test_effort_names_another_call() -> None:
    """Calls that were journalled before there were efforts keep their names."""
    plain = ModelRequest(found(settings(), LLAMA), (Message("user", "q"),), 100)
    keys: Mapping[object, str] = {
        effort: ModelRequest(plain.model, plain.messages, 100, effort=effort).key() for effort in (None, "low", "high")
    }
    assert keys[None] == plain.key()
    assert len(set(keys.values())) == 3


def test_table_is_written_as_it_stands() -> None:
    written = price_table(prices.MODELS)
    assert written == Path(prices.__file__).read_text(encoding="utf-8")
    assert all(model.dated and model.source for model in prices.MODELS)
    assert Prices(0.5, 2.5, 0.05, 0.625, 100_000) in found(settings(), "anthropic/claude-haiku-5-5").tiers

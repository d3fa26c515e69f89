"""The guess at a question's cost."""

from __future__ import annotations

import pytest

from rlm_client import ModelInfo, RLMConfig
from rlm_client._cli.estimate import estimate, with_defaults
from rlm_client._models import RunDefaults, wire_config

ROOT = ModelInfo(id="@cf/root", window=24_000, input_price=1.0, output_price=2.0, aliases=["llama-3.1-70b"], dated="d")
SUB = ModelInfo(id="@cf/sub", window=32_000, input_price=0.1, output_price=0.2, aliases=["llama-3.1-8b"])
MODELS = [ROOT, SUB]


def test_small_goes_direct() -> None:
    guess = estimate(40_000, RLMConfig(), MODELS)

    assert (guess.strategy, guess.tokens, guess.chunks, guess.dated) == ("direct", 10_000, 0, "d")
    assert guess.cost_usd == pytest.approx((10_300 * 1.0 + 500 * 2.0) / 1e6)


def test_large_is_cut() -> None:
    guess = estimate(1_000_000, RLMConfig(), MODELS)

    assert (guess.strategy, guess.chunks) == ("map_reduce", 20)
    read = (250_000 + 20 * 300) * 0.1 + 20 * 250 * 0.2
    assert guess.cost_usd == pytest.approx((read + (300 + 20 * 250) * 1.0 + 500 * 2.0) / 1e6)


def test_window_forces_cutting() -> None:
    assert estimate(96_000, RLMConfig(chunk_size=100_000), MODELS).strategy == "map_reduce"


def test_small_window_cuts_smaller() -> None:
    small = SUB.model_copy(update={"window": 8_192})

    assert estimate(60_000, RLMConfig(), [ROOT, SUB]).chunks == 2
    assert estimate(60_000, RLMConfig(), [ROOT, small]).chunks == 3
    assert estimate(60_000, RLMConfig(max_output_tokens=3_000), [ROOT, small]).chunks == 4


def test_longer_prompts_have_their_prices() -> None:
    tiers = [{"above": 100_000, "inputPrice": 5.0, "outputPrice": 10.0}]
    tiered = ROOT.model_validate({**ROOT.to_json(), "window": 1_000_000, "tiers": tiers})
    config = RLMConfig(chunk_size=1_000_000)

    below, above = estimate(390_000, config, [tiered, SUB]), estimate(480_000, config, [tiered, SUB])
    assert below.cost_usd == pytest.approx((97_800 * 1.0 + 500 * 2.0) / 1e6)
    assert above.cost_usd == pytest.approx((120_300 * 5.0 + 500 * 10.0) / 1e6)


def test_each_call_has_its_price() -> None:
    """Many short prompts are not one long one."""
    sub = SUB.model_validate({**SUB.to_json(), "tiers": [{"above": 20_000, "inputPrice": 9.0, "outputPrice": 9.0}]})

    assert estimate(1_000_000, RLMConfig(), [ROOT, sub]).cost_usd == estimate(1_000_000, RLMConfig(), MODELS).cost_usd


def test_config_goes_before_default() -> None:
    defaults = RunDefaults(strategy="repl", chunk_size=7, max_sub_calls=5)

    completed = with_defaults(RLMConfig(strategy="direct"), defaults)

    assert wire_config(completed) == {"strategy": "direct", "chunkSize": 7, "maxSubCalls": 5}
    assert with_defaults(RLMConfig(max_sub_calls=0), defaults).max_sub_calls == 0


def test_sub_calls_capped() -> None:
    assert estimate(10_000_000, RLMConfig(max_sub_calls=7), MODELS).chunks == 7


def test_models_found_by_any_name() -> None:
    guess = estimate(10, RLMConfig(root_model="@cf/sub", sub_model="@cf/root"), MODELS)

    assert (guess.root, guess.sub) == (SUB, ROOT)


@pytest.mark.parametrize(
    "config",
    [
        RLMConfig(strategy="repl"),
        RLMConfig(root_model="unknown"),
        RLMConfig(strategy="map_reduce", sub_model="?"),
        with_defaults(RLMConfig(), RunDefaults(strategy="one of a later version")),
    ],
)
def test_unforeseeable_has_no_cost(config: RLMConfig) -> None:
    assert estimate(1_000_000, config, MODELS).cost_usd is None

"""The guess at a question's cost."""

from __future__ import annotations

import pytest

from rlm_client import ModelInfo, RLMConfig
from rlm_client._cli.estimate import Wish, estimate
from rlm_client._models import RunDefaults

ROOT = ModelInfo(id="@cf/root", window=24_000, input_price=1.0, output_price=2.0, aliases=["llama-3.1-70b"], dated="d")
SUB = ModelInfo(id="@cf/sub", window=32_000, input_price=0.1, output_price=0.2, aliases=["llama-3.1-8b"])
MODELS = [ROOT, SUB]


def test_small_goes_direct() -> None:
    guess = estimate(40_000, Wish(), MODELS)

    assert (guess.strategy, guess.tokens, guess.chunks, guess.dated) == ("direct", 10_000, 0, "d")
    assert guess.cost_usd == pytest.approx((10_300 * 1.0 + 500 * 2.0) / 1e6)


def test_large_is_cut() -> None:
    guess = estimate(1_000_000, Wish(), MODELS)

    assert (guess.strategy, guess.chunks) == ("map_reduce", 20)
    read = (250_000 + 20 * 300) * 0.1 + 20 * 250 * 0.2
    assert guess.cost_usd == pytest.approx((read + (300 + 20 * 250) * 1.0 + 500 * 2.0) / 1e6)


def test_window_forces_cutting() -> None:
    assert estimate(96_000, Wish(chunk_size=100_000), MODELS).strategy == "map_reduce"


def test_small_window_cuts_smaller() -> None:
    small = SUB.model_copy(update={"window": 8_192})

    assert estimate(60_000, Wish(), [ROOT, SUB]).chunks == 2
    assert estimate(60_000, Wish(), [ROOT, small]).chunks == 3
    assert estimate(60_000, Wish(max_output_tokens=3_000), [ROOT, small]).chunks == 4


def test_asked_for_goes_before_default() -> None:
    defaults = RunDefaults(strategy="repl", chunk_size=7, max_sub_calls=5)

    assert Wish.of(RLMConfig(strategy="direct"), defaults) == Wish("direct", chunk_size=7, max_sub_calls=5)
    assert Wish.of(RLMConfig(max_sub_calls=0), defaults).max_sub_calls == 0


def test_sub_calls_capped() -> None:
    assert estimate(10_000_000, Wish(max_sub_calls=7), MODELS).chunks == 7


def test_models_found_by_any_name() -> None:
    guess = estimate(10, Wish(root_model="@cf/sub", sub_model="@cf/root"), MODELS)

    assert (guess.root, guess.sub) == (SUB, ROOT)


@pytest.mark.parametrize("wish", [Wish(strategy="repl"), Wish(root_model="unknown"), Wish("map_reduce", sub_model="?")])
def test_unforeseeable_has_no_cost(wish: Wish) -> None:
    assert estimate(1_000_000, wish, MODELS).cost_usd is None

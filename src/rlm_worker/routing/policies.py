"""The policies that ship, as rules computed from the catalogue: what is reachable here, at the prices that are known.

The catalogue knows neither quality nor speed. So `best` takes price for quality: the dearest model answers, and the
dearest at no more than half of its price reads. `fastest` takes what does not think, and of that what its vendor calls
fast, and then what writes at the lowest price. A model that needs a paid plan is taken where there is no other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from rlm_worker.messages import ModelSpec
from rlm_worker.models.catalog import Catalog
from rlm_worker.wire.routing import RoutingRule, RuleChoice

SHIPPED = ("cheapest", "fastest", "best")
# A call that reads a chunk of the usual size, and one that answers from notes.
_READING, _ANSWERING = (12_500, 300), (6_000, 600)
_CHARACTERS_PER_TOKEN, _WORDS_AND_ANSWER = 3, 2_000
_CALLED_FAST = re.compile(r"fast|flash|turbo|instant|lite", re.IGNORECASE)
_FALLBACKS = 2

Rank = Callable[[ModelSpec], tuple[float, ...]]


def shipped_rules(name: str, catalog: Catalog, characters: int) -> tuple[RoutingRule, ...]:
    """The rules of a policy for prompts that hold so many characters; none where no model is reachable."""
    models = _candidates(catalog, characters)
    if not models:
        return ()
    roots, subs = _RANKED[name](models)
    others = [model.id for model in (*subs[1:], *roots[1:]) if model.id not in (roots[0].id, subs[0].id)]
    fallbacks = list(dict.fromkeys(others))[:_FALLBACKS]
    chosen = RuleChoice(root_model=roots[0].id, sub_model=subs[0].id, fallbacks=fallbacks)
    return (RoutingRule(name=name, use=chosen),)


def _candidates(catalog: Catalog, characters: int) -> list[ModelSpec]:
    """Those that can be asked here, without a paid plan and with a window that fits, as far as there are any."""
    found = [model for model, _ in catalog.models() if model.window and not catalog.obstacle(model)]
    needed = characters // _CHARACTERS_PER_TOKEN + _WORDS_AND_ANSWER
    wishes: tuple[Callable[[ModelSpec], bool], ...] = (
        lambda model: model.window >= needed,
        lambda model: not model.paid_only,
    )
    for wish in wishes:
        found = [model for model in found if wish(model)] or found
    return found


def _cheapest(models: Sequence[ModelSpec]) -> tuple[list[ModelSpec], list[ModelSpec]]:
    return _sorted(models, lambda model: (_usd(model, _ANSWERING),)), _sorted(models, lambda m: (_usd(m, _READING),))


def _fastest(models: Sequence[ModelSpec]) -> tuple[list[ModelSpec], list[ModelSpec]]:
    ranked = _sorted(models, lambda m: (m.thinks(None), not _CALLED_FAST.search(m.id), m.output_price))
    return ranked, ranked


def _best(models: Sequence[ModelSpec]) -> tuple[list[ModelSpec], list[ModelSpec]]:
    roots = _sorted(models, lambda model: (-_usd(model, _ANSWERING), -model.window))
    most = _usd(roots[0], _READING) / 2
    readers = [model for model in models if _usd(model, _READING) <= most] or roots[:1]
    return roots, _sorted(readers, lambda model: (-_usd(model, _READING), -model.window))


def _sorted(models: Sequence[ModelSpec], rank: Rank) -> list[ModelSpec]:
    return sorted(models, key=lambda model: (*rank(model), model.id))


def _usd(model: ModelSpec, call: tuple[int, int]) -> float:
    """What a call of that kind costs, with what a model that thinks writes beforehand."""
    read, written = call
    return model.cost(read, written + (model.output_floor // 2 if model.thinks(None) else 0))


_RANKED = {"cheapest": _cheapest, "fastest": _fastest, "best": _best}

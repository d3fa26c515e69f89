"""What stands behind the AI binding: the four values of `--ai`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace

from scripts.local.models.answering import ROOT_NAMES, SUB_NAMES, free_model, local_id, merged
from scripts.local.models.judge_options import judge_variables
from scripts.local.models.local_models import LocalModels, local_models
from scripts.local.paths import LocalPaths
from scripts.local.processes import say
from scripts.local.runtime.run_config import Upstream, Upstreams
from scripts.local.scripted.model import ScriptedModel

_ANSWER_SECONDS = 1800


@dataclass(frozen=True, slots=True)
class AISide:
    """Where calls go (nowhere: the account's own binding), what the Worker is told of it, what tools are told.

    `wait` returns once it can be asked.
    """

    upstreams: Upstreams | None
    variables: Mapping[str, str] = field(default_factory=dict)
    announced: Mapping[str, object] = field(default_factory=dict)
    wait: Callable[[], None] = lambda: None

    def judged_by(self, judges: Mapping[str, Upstream]) -> AISide:
        """The same with judges of this machine, by their ids; the account's own binding keeps its own."""
        if self.upstreams is None or not judges:
            return self
        upstreams = replace(self.upstreams, models={**(self.upstreams.models or {}), **judges})
        return replace(self, upstreams=upstreams, variables=merged(self.variables, judge_variables(judges)))


@dataclass(frozen=True, slots=True)
class AIServer:
    """A server that `--ai URL` names; with `model` every call asks it for that one, whose `window` is in tokens."""

    url: str
    model: str = ""
    key: str = field(default="", repr=False)
    window: int = 8192

    def side(self) -> AISide:
        """Without a model of its own it is asked for the Worker's ids, as Workers AI is."""
        upstreams = Upstreams(default=Upstream(self.url, self.model, self.key))
        if not self.model:
            return AISide(upstreams)
        model = {local_id(self.model): free_model(self.window, (*SUB_NAMES, *ROOT_NAMES))}
        return AISide(upstreams, {"MODEL_OVERRIDES": json.dumps(model)})


def ai_side(paths: LocalPaths, ai: str | AIServer) -> AbstractContextManager[AISide]:
    """Starts what `--ai` asks for; it lasts as long as the block."""
    if isinstance(ai, AIServer):
        return _elsewhere(ai.side())
    match ai:
        case "local":
            return _local(paths)
        case "scripted":
            return _scripted()
    return _elsewhere(AISide(None))


@contextmanager
def _local(paths: LocalPaths) -> Iterator[AISide]:
    with local_models(paths) as models:
        yield AISide(
            upstreams=Upstreams(models=models.upstreams),
            variables=_paced(models),
            announced={"models": {model: upstream.url for model, upstream in models.upstreams.items()}},
            wait=models.wait,
        )


def _paced(models: LocalModels) -> dict[str, str]:
    """What the Worker must know of models that have small windows, take their time, and invent what they do not find.

    More calls at once than there are slots would only wait in the model's queue.
    """
    return {
        "MODEL_OVERRIDES": json.dumps(models.catalog),
        "RLM_LOCAL_MODELS": "1",
        "MODEL_TIMEOUT_SECONDS": str(_ANSWER_SECONDS),
        "FIRST_CONCURRENCY": str(models.slots),
        "MAX_CONCURRENCY": str(models.slots),
        "QUOTED_EVIDENCE": "1",
    }


@contextmanager
def _scripted() -> Iterator[AISide]:
    with ScriptedModel() as model:
        say(f"scripted model: {model.url} (its log: {model.url.removesuffix('/v1')}/control/calls)")
        yield AISide(upstreams=Upstreams(default=Upstream(model.url)), announced={"scripted": model.url})


@contextmanager
def _elsewhere(side: AISide) -> Iterator[AISide]:
    yield side

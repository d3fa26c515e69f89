"""How many calls a minute each model takes: what its provider says, or what ops say of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pydantic_core import from_json

from rlm_worker.errors import NotConfigured
from rlm_worker.messages import ModelSpec
from rlm_worker.ports import Rate

VARIABLE = "MODEL_CALLS_PER_MINUTE"
# Workers AI's limits for text generation, for each account, model and minute; and those for judges, of which that of
# decision models is not published.
_WORKERS_AI, _CALLS, _PAID_ONLY_CALLS = "@cf/", 300, 20
_JUDGE_CALLS: Mapping[str, int] = {"rerank": 2_000, "embed": 3_000}


@dataclass(frozen=True, slots=True)
class Rates:
    """Calls a window for each model: `by_model` goes before `calls`, which is for all of Workers AI; 0 is no limit."""

    calls: int | None = None
    by_model: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 60.0

    @classmethod
    def parse(cls, text: str, seconds: float, model_id: Callable[[str], str]) -> Rates:
        """Reads the var: a number, or JSON from models, aliases too, to numbers; raises `NotConfigured`."""
        try:
            parsed = from_json(text) if text.strip() else {}
        except ValueError:
            raise _invalid(text) from None
        if isinstance(parsed, dict):
            return cls(None, {model_id(name): _count(calls, text) for name, calls in parsed.items()}, seconds)
        return cls(_count(parsed, text), {}, seconds)

    def of(self, model: ModelSpec) -> Rate | None:
        """The rate that a model is held to; None where there is none: other providers' models, unless ops set one."""
        calls = self.by_model.get(model.id, self._usual(model))
        return Rate(calls, self.seconds) if calls else None

    def _usual(self, model: ModelSpec) -> int:
        if not model.id.startswith(_WORKERS_AI):
            return 0
        if self.calls is not None and (model.task == "chat" or not self.calls):
            return self.calls
        return _PAID_ONLY_CALLS if model.paid_only else _JUDGE_CALLS.get(model.task, _CALLS)


def _count(value: object, text: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _invalid(text)
    return value


def _invalid(text: str) -> NotConfigured:
    form = "a number of calls, or a JSON object from models to numbers; 0 for no limit"
    return NotConfigured(f"the var {VARIABLE} must be {form}, not {text!r}")

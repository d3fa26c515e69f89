"""How many calls the scripted model takes of all callers together, model by model."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

Window = Literal["sliding", "fixed"]


@dataclass(frozen=True, slots=True)
class Rate:
    """So many calls in so many seconds for each model; `models` names those that take another number.

    Which kind of window the platform counts by is not published: the last `seconds`, or those from one full multiple
    of `seconds` to the next. A call that is refused does not count.
    """

    calls: int = 300
    seconds: float = 60.0
    window: Window = "sliding"
    models: Mapping[str, int] = field(default_factory=dict)


class RateCounter:
    """Counts calls against a rate."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._taken: dict[str, deque[float]] = defaultdict(deque)

    def takes(self, model: str, now: float) -> bool:
        """Whether one more call fits, counted if it does; `now` in seconds."""
        taken = self._taken[model]
        while taken and taken[0] <= self._oldest(now):
            taken.popleft()
        if len(taken) >= self.rate.models.get(model, self.rate.calls):
            return False
        taken.append(now)
        return True

    def _oldest(self, now: float) -> float:
        """Calls up to this time count no more."""
        if self.rate.window == "sliding":
            return now - self.rate.seconds
        return math.nextafter(math.floor(now / self.rate.seconds) * self.rate.seconds, -math.inf)


def rate_from_json(spec: Mapping[str, object]) -> Rate:
    """The rate that `/control` is given, fields named as those of `Rate`; ValueError where it is not of that form."""
    try:
        rate = Rate(**spec)  # type: ignore[arg-type]
    except TypeError as error:
        raise ValueError(f"not a rate: {error}") from error
    if rate.window not in get_args(Window) or not rate.calls > 0 or not rate.seconds > 0:
        raise ValueError(f"not a rate: {dict(spec)}")
    return rate

"""How the scripted model fails, and when."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from scripts.local.scripted.calls import ChatCall

FaultKind = Literal["hang", "empty", "numeric", "truncated", "disconnect", "garbage"]

# The HTTP status that goes with a Workers AI code, where it is not 500.
_STATUS = {3003: 400, 3006: 413, 3007: 408, 3008: 408, 3021: 429, 3036: 429, 3040: 429, 3042: 404, 5004: 400, 5007: 404}
_STATUS |= {5016: 403, 5018: 403, 5035: 403}
_TEXT = {
    3006: "Request is too large",
    3007: "Request timeout",
    3021: "rate limiting: inference request per min rate reached",
    3036: "You have used up your daily free allocation",
    3040: "Capacity temporarily exceeded, please try again.",
    5007: "No such model or task",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to fail, for the calls that it concerns.

    `fails` is a Workers AI code, or: hang (never answers), empty (an empty answer), numeric (a number for an answer),
    truncated (the stream, or the body, breaks off), disconnect (the connection breaks), garbage (not JSON).
    It concerns the calls whose number is in `calls`; or a share `rate` of them, chosen by `seed`, prompt and attempt,
    so that the order of arrival does not matter; or all, where neither is given. `when` restricts it to prompts in
    which that pattern is found, `model` to one model id, `times` to so many calls, `attempts` to so many attempts at
    each prompt. `retry_after` seconds are sent as a header.
    """

    fails: int | FaultKind
    calls: frozenset[int] = frozenset()
    rate: float = 1.0
    seed: int = 0
    when: str = ""
    model: str = ""
    times: int | None = None
    attempts: int | None = None
    retry_after: float | None = None

    def concerns(self, call: ChatCall) -> bool:
        """Whether this call is one of those, apart from `times`."""
        if self.calls and call.number not in self.calls:
            return False
        if self.model and call.model != self.model:
            return False
        if self.attempts is not None and call.attempt > self.attempts:
            return False
        return self._chosen(call) and (not self.when or re.search(self.when, call.text) is not None)

    def _chosen(self, call: ChatCall) -> bool:
        return self.rate >= 1 or random.Random(f"{self.seed} {call.digest} {call.attempt}").random() < self.rate

    @property
    def status(self) -> int:
        return _STATUS.get(self.fails, 500) if isinstance(self.fails, int) else 200

    @property
    def message(self) -> str:
        return f"{self.fails}: {_TEXT.get(self.fails, 'scripted failure')}" if isinstance(self.fails, int) else ""


@dataclass(slots=True)
class FaultPlan:
    """The faults in force and how often each has struck."""

    faults: tuple[Fault, ...] = ()
    struck: dict[int, int] = field(default_factory=dict)

    def strike(self, call: ChatCall) -> Fault | None:
        """The first fault that this call falls under, counted."""
        for index, fault in enumerate(self.faults):
            used = self.struck.get(index, 0)
            if (fault.times is None or used < fault.times) and fault.concerns(call):
                self.struck[index] = used + 1
                return fault
        return None


def fault_from_json(spec: Mapping[str, object]) -> Fault:
    """The fault that `/control` is given, fields named as those of `Fault`; ValueError where it is not of that form."""
    fails = spec.get("fails")
    if not isinstance(fails, int) and fails not in get_args(FaultKind):
        raise ValueError(f"not a fault: {dict(spec)}")
    fields = {name: value for name, value in spec.items() if name != "calls"}
    calls = spec.get("calls", ())
    if not isinstance(calls, list | tuple):
        raise ValueError("`calls` is a list of call numbers")  # noqa: TRY004 -- one error for all that is malformed
    try:
        return Fault(calls=frozenset(calls), **fields)  # type: ignore[arg-type]
    except TypeError as error:
        raise ValueError(f"not a fault: {error}") from error

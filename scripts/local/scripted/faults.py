"""How the scripted model fails, and when."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from scripts.local.scripted.calls import ChatCall

FaultKind = Literal["hang", "empty", "null", "numeric", "truncated", "disconnect", "garbage"]

_QUOTA = (
    "you have used up your daily free allocation of 10,000 neurons, please upgrade to Cloudflare's Workers Paid plan"
)
_WHOLESALE = "Wholesale rate limit exceeded for this gateway. Please reduce request rate or use BYOK."
# What the platform says with each code, and the HTTP status that goes with it: its documentation, and messages that
# deployments have published.
SAYS = {
    1031: (500, "internal error"),
    2003: (429, "Rate limited"),
    2014: (408, "Provider request timeout"),
    2016: (424, "Prompt blocked due to security configurations"),
    2017: (424, "Response blocked due to security configurations"),
    2018: (429, "Wholesale Rate limited"),
    2021: (402, _WHOLESALE),
    3003: (400, "Request is missing headers or body: messages"),
    3006: (413, "Request is too large"),
    3007: (408, "Request timeout"),
    3008: (408, "Request was aborted"),
    3010: (400, "Invalid or incomplete input for the model"),
    3021: (429, "rate limiting: inference request per min rate reached"),
    3023: (403, "Service unavailable for account"),
    3036: (429, _QUOTA),
    3040: (429, "Capacity temporarily exceeded, please try again."),
    3041: (403, "The account is not allowed to access this model"),
    3042: (404, "The model name is invalid"),
    3043: (500, "Internal server error"),
    3046: (408, "Request timeout"),
    4006: (429, _QUOTA),
    5004: (400, "Invalid data type for base64 input: string"),
    5007: (404, "No such model or task"),
    5016: (403, "User has not agreed to Llama3.2 model terms"),
    5018: (403, "The account is not allowed to access this model"),
    5021: (413, "The estimated number of input and maximum output tokens exceeded this model context window limit"),
    5024: (400, "JSON Mode couldn't be met"),
    5025: (400, "This model doesn't support JSON Schema"),
    5035: (403, "Model is not available on the Workers Free plan"),
    7003: (402, _WHOLESALE),
}
_OTHERWISE = (500, "scripted failure")


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to fail, for the calls that it concerns.

    `fails` is a Workers AI code, or: hang (never answers), empty (an empty answer), null (none at all, and a usage),
    numeric (a number for an answer), truncated (the stream, or the body, breaks off), disconnect (the connection
    breaks), garbage (not JSON). `says` replaces what the platform usually says with a code: some have several meanings.
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
    says: str = ""

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
        return SAYS.get(self.fails, _OTHERWISE)[0] if isinstance(self.fails, int) else 200

    @property
    def message(self) -> str:
        if not isinstance(self.fails, int):
            return ""
        return f"{self.fails}: {self.says or SAYS.get(self.fails, _OTHERWISE)[1]}"


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

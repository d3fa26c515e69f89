"""What Workers AI and its gateway say when a call fails, and what follows: one table, by number and by words.

Sources: the errors page and the JSON mode page of Cloudflare's Workers AI documentation, the guardrails page of its AI
Gateway, and messages that deployments have published where the documentation is silent (read in November 2026). A
number can have several meanings (2021, 3010, 7003), and a meaning can come without any number: the first row that fits
both holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from rlm_worker.errors import InputTooLarge, ModelError, RetryableError, SchemaRefused, TerminalError, Work

# `AiError: 3040: …`, `InferenceUpstreamError [AiError]: 3010: …`, `Error: 2021: …`, `error code: 1031`.
_CODE = re.compile(r"\s*(?:[A-Za-z]\w*(?: \[\w+\])?: )*(\d{3,5}):\s*(.*)", re.DOTALL)
_CODE_ALONE = re.compile(r"\berror code: (\d{3,5})\b()", re.IGNORECASE)
_NAMES = re.compile(r"\s*(?:[A-Za-z]*Error(?: \[\w+\])?: )*")
_RETRY_AFTER = re.compile(r"retry[- ]after:?\s*(\d+(?:\.\d+)?)", re.IGNORECASE)
_MAX_CHARACTERS = 300

Raised = Callable[[str, int, float], ModelError]


@dataclass(frozen=True, slots=True)
class Row:
    """One meaning: who has it, what is raised, and the sentence in place of the platform's own words.

    `codes` empty: any number has it, and no number. `words` is a pattern.
    """

    raised: Raised
    codes: frozenset[int] = frozenset()
    words: str = ""
    sentence: str = ""

    def fits(self, code: int, text: str) -> bool:
        if self.codes and code not in self.codes:
            return False
        return re.search(self.words, text, re.IGNORECASE) is not None


def _passing(
    text: str, code: int, wait: float, *, capacity: bool = False, fallback: bool = False, unfinished: bool = False
) -> ModelError:
    work: Work | None = "unfinished" if unfinished else None
    return RetryableError(text, code, wait, capacity=capacity, fallback=fallback, work=work)


def _lasting(text: str, code: int, _wait: float, *, kind: type[TerminalError], unfinished: bool = False) -> ModelError:
    return kind(text, code, work="unfinished" if unfinished else None)


def _unavailable(text: str, code: int, _wait: float) -> ModelError:
    return TerminalError(text, code, unavailable=True)


_busy = partial(_passing, capacity=True, fallback=True)
_too_many = partial(_passing, capacity=True)
_overloaded = partial(_passing, capacity=True, fallback=True, unfinished=True)
_timed_out = partial(_passing, fallback=True, unfinished=True)
_aborted = partial(_passing, unfinished=True)
_failed = partial(_passing)
_too_large = partial(_lasting, kind=InputTooLarge)
_schema_failed = partial(_lasting, kind=SchemaRefused, unfinished=True)
_schema_unknown = partial(_lasting, kind=SchemaRefused)
_refused = partial(_lasting, kind=TerminalError)
_withheld = partial(_lasting, kind=TerminalError, unfinished=True)

_QUOTA = (
    "the account's free Workers AI allocation for today is used up; it begins anew at 00:00 UTC, and the Workers Paid "
    "plan goes on at once"
)
_PAID_PLAN = "this model needs the Workers Paid plan"
_OWN_KEY = "this model is not sold through Cloudflare's unified billing: store the provider's own key at the gateway"
_NO_CREDITS = "the account has no credits left for models of third parties: add some in Cloudflare's dashboard"
_SPEND_LIMIT = "the gateway's spend limit is reached"
_PROMPT_BLOCKED = "the gateway's guardrails blocked the prompt"
_ANSWER_BLOCKED = "the gateway's guardrails blocked the model's answer"
_TERMS = "somebody has to agree to this model's terms for the account first"
_NOT_ALLOWED = "the account may not use this model"
_BLOCKED = "Workers AI is switched off for this account"

# What words mean comes before what numbers mean.
TABLE = (
    Row(_unavailable, frozenset({3036, 4006}), sentence=_QUOTA),
    Row(_unavailable, words="daily free allocation", sentence=_QUOTA),
    Row(_too_large, frozenset({3006, 5021})),
    Row(_too_large, words="context window limit|maximum context length"),
    Row(_schema_failed, frozenset({5024})),
    Row(_schema_failed, words=r"JSON Mod\w+ couldn't be met"),
    Row(_schema_unknown, frozenset({5025})),
    Row(_schema_unknown, words=r"doesn't support JSON (?:Schema|Mode)"),
    Row(_too_many, frozenset({2018})),
    Row(_too_many, words="wholesale rate limit"),
    Row(_unavailable, words="not available via unified billing", sentence=_OWN_KEY),
    Row(_unavailable, words=r"no credits|insufficient (?:balance|credits?)|credit balance", sentence=_NO_CREDITS),
    Row(_unavailable, words="spend(?:ing)? limit", sentence=_SPEND_LIMIT),
    Row(_withheld, frozenset({2017}), sentence=_ANSWER_BLOCKED),
    Row(_withheld, frozenset({424}), words="response blocked", sentence=_ANSWER_BLOCKED),
    Row(_refused, frozenset({2016, 424}), sentence=_PROMPT_BLOCKED),
    Row(_busy, frozenset({3040})),
    Row(_too_many, frozenset({3021, 2003, 429})),
    Row(_overloaded, frozenset({3046})),
    Row(_timed_out, frozenset({3007, 2014, 408, 504})),
    Row(_aborted, frozenset({3008})),
    Row(_failed, frozenset({3043, 1031, 5000, 500, 502, 503})),
    Row(_unavailable, frozenset({5035}), sentence=_PAID_PLAN),
    Row(_unavailable, frozenset({5016}), sentence=_TERMS),
    Row(_unavailable, frozenset({5018, 3041}), sentence=_NOT_ALLOWED),
    Row(_unavailable, frozenset({3023}), sentence=_BLOCKED),
    # No such model, no such input; what LoRA, fine-tunes and old SDKs get; gateway and account.
    Row(_unavailable, frozenset({5007, 3042, 2021, 7003})),
    Row(_refused, frozenset({5004, 3003, 3010, 3039, 5005, 5019})),
    # A number that is not known yet, or none.
    Row(_too_many, words="rate limit|too many requests"),
    Row(_busy, words="capacity (?:temporarily )?exceeded|overloaded"),
    Row(_timed_out, words="time-?out|timed out"),
    Row(_failed, frozenset({0})),
    Row(_refused),
)


def as_model_error(message: str) -> ModelError:
    """The error that a message of the binding, or of its gateway, stands for."""
    code, text = _parts(message)
    row = next(row for row in TABLE if row.fits(code, text))
    wait = _RETRY_AFTER.search(message)
    return row.raised(row.sentence or text, code, float(wait[1]) if wait else 0.0)


def told_error(answer: Mapping[str, object]) -> str:
    """The message of an error that stands in an answer, or in an event of a stream; empty where there is none."""
    told = answer.get("error") or answer.get("errors")
    if isinstance(told, list):
        told = told[0] if told else None
    if not isinstance(told, Mapping):
        return str(told) if told else ""
    message, code = str(told.get("message", "")), told.get("code")
    return message if code is None or _CODE.match(message) else f"{code}: {message}"


def _parts(message: str) -> tuple[int, str]:
    """The number of a message, 0 where it has none, and the first line of its words."""
    found = _CODE.match(message) or _CODE_ALONE.search(message)
    code, text = (int(found[1]), found[2] or message) if found else (0, message)
    lines = _NAMES.sub("", text, count=1).strip().splitlines() or ["no message"]
    return code, lines[0][:_MAX_CHARACTERS]

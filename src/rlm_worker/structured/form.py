"""The form that a caller wants an answer in: its JSON Schema, and what of a reply fits it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rlm_worker.errors import InvalidRequest
from rlm_worker.json_schema.schema import JsonSchema, read_schema

from .json_mode import json_mode_schema, unwrapped
from .reply import JsonText, json_in

_PATH = "responseSchema"
_SEVERAL = "it holds several JSON values that fit, and says not which of them is the answer"
# What of a schema says which values there are, and what of its texts no answer says again.
_FIXED, _UNSAID = frozenset({"const", "enum", "default", "examples"}), frozenset({"pattern", "$schema", "$id", "$ref"})


@dataclass(frozen=True, slots=True)
class Draft:
    """A reply as an answer: the JSON as it was written, or the reply itself, and what is wrong with it.

    `missing`: what is wrong may be that something is not there, which the reply alone cannot tell.
    """

    text: str
    problem: str = ""
    missing: bool = False


@dataclass(frozen=True, slots=True)
class Form:
    """A schema, and how values are held to it; `known` is None where only an earlier version could read it.

    `check` says what is wrong with an answer that fits the schema, and the reply alone cannot mend; empty for nothing.
    """

    schema: Mapping[str, object]
    known: JsonSchema | None
    check: Callable[[str], str] | None = field(default=None, compare=False)

    @classmethod
    def of(cls, schema: Mapping[str, object] | None) -> Form | None:
        """The form of a schema; None where there is none."""
        if schema is None:
            return None
        try:
            return cls(schema, read_schema(schema, _PATH))
        except InvalidRequest:  # an earlier version has admitted it: its run goes on, and nothing of it is run
            return cls(schema, None)

    @property
    def json_mode(self) -> Mapping[str, object] | None:
        """The schema for a model's JSON mode; None where it cannot be said there."""
        return json_mode_schema(self.schema)

    @property
    def words(self) -> str:
        """What the schema itself says that an answer may say again: names, descriptions, fixed values; no bounds."""
        return " | ".join(_words(self.schema))

    def problem(self, value: object) -> str:
        """What is wrong with a value; empty where nothing is."""
        return "" if self.known is None else self.known.problem(value)

    def read(self, reply: str) -> Draft:
        """The answer that a reply holds. Of several values one counts only where it alone fits."""
        found, problem = json_in(reply)
        draft = self._told(found, reply) if found else Draft(reply.strip(), problem)
        if self.check is None or draft.problem:
            return draft
        problem = self.check(draft.text)
        return replace(draft, problem=problem, missing=bool(problem))

    def read_value(self, value: object) -> Draft:
        """A value as an answer; text that is JSON stands for what it says where that fits.

        Where both do, an object or array is what was meant.
        """
        problem = self.problem(value)
        said = value if isinstance(value, str) else ""
        found, _ = json_in(said)
        told = self._told(found, said) if found else None
        if told is not None and (problem or (not told.problem and told.text[:1] in ("{", "["))):
            return told
        if problem and isinstance(value, str):
            return Draft(value, problem)
        return Draft(json.dumps(value, ensure_ascii=False), problem)

    def _told(self, found: Sequence[JsonText], reply: str) -> Draft:
        fitting = {_identity(told.value): told for told in map(self._fitting, found) if told is not None}
        if len(fitting) > 1:
            return Draft(reply.strip(), _SEVERAL)
        for told in fitting.values():
            return Draft(told.text)
        told = max(found, key=lambda one: len(one.text))
        told = self._inner(told) or told
        problem = self.problem(told.value)
        return Draft(told.text, problem, missing=_may_be_missing(told.value, problem))

    def _fitting(self, told: JsonText) -> JsonText | None:
        """The value that fits, be it this one or what stands within; None where neither does."""
        inner = self._inner(told)
        if inner is not None and not self.problem(inner.value):
            return inner
        return None if self.problem(told.value) else told

    def _inner(self, told: JsonText) -> JsonText | None:
        """What stands within the object that JSON mode has put around a value."""
        inner = unwrapped(told.text, told.value) if self.json_mode is not self.schema else None
        return None if inner is None else JsonText(*inner)


def check_schema(schema: Mapping[str, object]) -> None:
    """Raises `InvalidRequest` with the path of what is no JSON Schema, or none that can be checked in bounded time."""
    read_schema(schema, _PATH)


def _words(schema: object) -> Iterator[str]:
    waiting: list[tuple[object, bool]] = [(schema, False)]
    while waiting:
        part, fixed = waiting.pop()
        if isinstance(part, str) or (fixed and isinstance(part, int | float)):
            yield str(part)
        elif isinstance(part, Mapping):
            yield from part
            said = [(key, value) for key, value in part.items() if not (key in _UNSAID and isinstance(value, str))]
            waiting += [(value, fixed or key in _FIXED) for key, value in said]
        elif isinstance(part, list):
            waiting += [(value, fixed) for value in part]


def _identity(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _may_be_missing(value: object, problem: str) -> bool:
    """Whether it takes more than the reply to mend it: all but a wrong type of, or too much beside, what is there."""
    of_form = " properties" in problem and "must not contain" in problem
    of_type = " must be " in problem and problem.rsplit(" must be ", 1)[1].replace(" or ", " ").split()
    types = {"boolean", "number", "integer", "string", "array", "object"}
    return not (of_form or (of_type and set(of_type) <= types and not _has_gaps(value)))


def _has_gaps(value: object) -> bool:
    """Whether anything in a value is null or empty."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if part is None or (isinstance(part, str | list | Mapping) and not part):
            return True
        waiting += part.values() if isinstance(part, Mapping) else part if isinstance(part, list) else []
    return False

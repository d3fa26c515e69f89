r"""Regular expressions of foreign schemas, in time linear in the text.

They are matched by Rust's `regex`, which pydantic ships: it never goes back, and has neither back-references nor
look-around. A schema's expressions are those of ECMA-262 (JSON Schema 2020-12, 6.4): `\d`, `\w` and `\b` mean ASCII
and are rewritten so; look-aheads right at the beginning are matched one by one. What is left over is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from pydantic_core import SchemaError, SchemaValidator, core_schema

from .nodes import Check

MAX_WEIGHT = 10_000
_MAX_PATTERN_CHARACTERS = 2_000
_WORK_PER_STEP = 1_000
# States that a class of many ranges takes in the engine, roughly; a single character takes one.
_WIDE, _NEGATED = 100, 5
_TOKEN = re.compile(
    r"""(?P<class>\[(?:\\.|[^\]\\])*+\])
    | (?P<open>\(\?(?:[:=!]|<(?=[A-Za-z_]))|\((?!\?))
    | (?P<close>\))
    | (?P<count>\{[0-9]{1,5}(?:,[0-9]{0,5})?\})
    | (?P<wide>\\[pP]\{[^}]*\}|\\[sS]|\.)
    | (?P<plain>\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\[^pPsSux0-9]|[^\\\[(])""",
    re.VERBOSE | re.DOTALL,
)
_ASCII = {r"\d": "[0-9]", r"\D": "[^0-9]", r"\w": "[0-9A-Za-z_]", r"\W": "[^0-9A-Za-z_]"}
_BOUNDARIES = {r"\b": r"(?-u:\b)", r"\B": r"(?-u:\B)"}
_LOOK_AHEAD = ("(?=", "(?!")

Token = tuple[str, str]


class LinearPattern:
    """One expression; raises `ValueError` with a reason where it cannot be matched in linear time, or costs too much.

    `weight` is about how many states it takes in the engine.
    """

    def __init__(self, pattern: str) -> None:
        if len(pattern) > _MAX_PATTERN_CHARACTERS:
            raise ValueError(f"has more than {_MAX_PATTERN_CHARACTERS:,} characters")
        tokens = list(_tokens(pattern))
        self.pattern = pattern
        self.weight = _weight(tokens)
        if self.weight > MAX_WEIGHT:
            raise ValueError("repeats too much")
        self._parts = [(wanted, _compiled("".join(text for _, text in part))) for wanted, part in _split(tokens)]

    def found_in(self, text: str) -> bool:
        """Whether it matches anywhere in a text."""
        return all(part.isinstance_python(text) is wanted for wanted, part in self._parts)


def matches(check: Check, pattern: LinearPattern, text: str) -> bool:
    """Whether an expression matches anywhere in a text, at its cost in steps."""
    check.spend(1 + pattern.weight * len(text) // _WORK_PER_STEP)
    return pattern.found_in(text)


def _tokens(pattern: str) -> Iterator[Token]:
    at = 0
    while at < len(pattern):
        found = _TOKEN.match(pattern, at)
        if found is None:
            raise ValueError("is not a regular expression that can be matched in linear time")
        kind, text = str(found.lastgroup), found[0]
        at = found.end()
        yield kind, _class(text) if kind == "class" else _BOUNDARIES.get(text) or _ASCII.get(text, text)


def _class(text: str) -> str:
    """A class of characters; what means something else to the engine than to ECMA-262 is refused."""
    if text in ("[]", "[^]") or "[" in re.sub(r"\\.", "", text[1:], flags=re.DOTALL) or re.search(r"&&|--|~~", text):
        raise ValueError(f"has a class of characters that is not understood: {text[:40]}")
    return "[" + re.sub(r"\\.", lambda escape: _ASCII.get(escape[0], escape[0]), text[1:], flags=re.DOTALL)


def _weight(tokens: Sequence[Token]) -> int:
    sums, last = [0], 0
    for kind, text in tokens:
        if kind == "count":
            last *= max(int(number) for number in re.findall(r"[0-9]+", text)) or 1
            continue
        if kind == "close" and len(sums) > 1:
            last += sums.pop()
            continue
        sums[-1] += last
        last = _WIDE if kind == "wide" and text != "." else _NEGATED if kind in ("wide", "class") else 1
        if kind == "open":
            sums.append(0)
    return sum(sums) + last


def _split(tokens: Sequence[Token]) -> Iterator[tuple[bool, Sequence[Token]]]:
    """`^(?=A)(?!B)C` as what must match, `^(?:A)` and `^C`, and what must not, `^(?:B)`."""
    rest = list(tokens)
    begin = rest[:1]
    while [text for _, text in begin] == ["^"] and len(rest) > 1 and rest[1][1] in _LOOK_AHEAD:
        end = _group_end(rest, 1)
        yield rest[1][1] == "(?=", [*begin, ("open", "(?:"), *rest[2:end]]
        rest = [*begin, *rest[end:]]
        if _has_top_level_choice(rest):
            raise ValueError("has a look-ahead beside alternatives")
    if any(text in _LOOK_AHEAD for _, text in rest):
        raise ValueError("has a look-ahead that is not at its beginning")
    yield True, rest


def _group_end(tokens: Sequence[Token], start: int) -> int:
    depth = 0
    for at in range(start, len(tokens)):
        depth += {"open": 1, "close": -1}.get(tokens[at][0], 0)
        if depth == 0:
            return at + 1
    raise ValueError("has a group without its end")


def _has_top_level_choice(tokens: Sequence[Token]) -> bool:
    depth = 0
    for kind, text in tokens:
        depth += {"open": 1, "close": -1}.get(kind, 0)
        if depth == 0 and text == "|":
            return True
    return False


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> SchemaValidator:
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex", strict=True))
    except SchemaError:
        raise ValueError("is not a regular expression that can be matched in linear time") from None

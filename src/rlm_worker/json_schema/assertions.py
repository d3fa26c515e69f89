"""Keywords that say something of a value itself: the validation vocabulary of JSON Schema, draft 2020-12.

Strings are measured in characters (6.3), 1.0 is an integer (6.1.1), numbers are compared as they are written, so that
0.3 is a multiple of 0.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sized
from fractions import Fraction

from .arguments import Number, count_of, is_integer, is_number, names_of, number_of, object_of, pattern_of
from .nodes import NAMES_PER_STEP, Check, Keyword, Place, Rule, shown
from .patterns import matches

_TYPES: Mapping[str, Callable[[object], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "number": is_number,
    "integer": is_integer,
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, Mapping),
}


def type_(place: Place, argument: object) -> Rule:
    names = [argument] if isinstance(argument, str) else argument
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name in _TYPES for name in names):
        raise place.refusal(f"must be one of {', '.join(_TYPES)}, or a list of them")
    tests = [_TYPES[str(name)] for name in names]
    message = f"must be {' or '.join(names)}"
    return lambda _check, value, where: "" if any(test(value) for test in tests) else f"{where} {message}"


def enum(place: Place, argument: object) -> Rule:
    if not isinstance(argument, list):
        raise place.refusal("must be a list of values")
    reader = Check()
    known, message = {reader.identity(value) for value in argument}, f"must be one of {shown(argument)}"
    return lambda check, value, where: "" if check.identity(value) in known else f"{where} {message}"


def const(_place: Place, argument: object) -> Rule:
    known, message = Check().identity(argument), f"must be same as const definition: {shown(argument)}"
    return lambda check, value, where: "" if check.identity(value) == known else f"{where} {message}"


def compared(fits: Callable[[Number, Number], bool], words: str) -> Keyword:
    def keyword(place: Place, argument: object) -> Rule:
        limit = number_of(place, argument)

        def rule(_check: Check, value: object, where: str) -> str:
            if not isinstance(value, int | float) or isinstance(value, bool) or fits(value, limit):
                return ""
            return f"{where} must be {words} {limit}"

        return rule

    return keyword


def _exact(number: Number) -> Fraction:
    return Fraction(number) if isinstance(number, int) else Fraction(repr(number))


def multiple_of(place: Place, argument: object) -> Rule:
    if (divisor := number_of(place, argument)) <= 0:
        raise place.refusal("must be a number above 0")
    exact = _exact(divisor)

    def rule(_check: Check, value: object, where: str) -> str:
        if not isinstance(value, int | float) or isinstance(value, bool):
            return ""
        fits = math.isfinite(value) if isinstance(value, float) else True
        return "" if fits and _exact(value) % exact == 0 else f"{where} must be multiple of {divisor}"

    return rule


def sized(kind: type[Sized], fits: Callable[[int, int], bool], words: str) -> Keyword:
    def keyword(place: Place, argument: object) -> Rule:
        limit = count_of(place, argument)

        def rule(_check: Check, value: object, where: str) -> str:
            return "" if not isinstance(value, kind) or fits(len(value), limit) else f"{where} {words.format(limit)}"

        return rule

    return keyword


def at_least(value: Number, limit: Number) -> bool:
    return value >= limit


def at_most(value: Number, limit: Number) -> bool:
    return value <= limit


def pattern(place: Place, argument: object) -> Rule:
    wanted = pattern_of(place, argument)

    def rule(check: Check, value: object, where: str) -> str:
        if not isinstance(value, str):
            return ""
        return "" if matches(check, wanted, value) else f"{where} must match pattern {wanted.pattern}"

    return rule


def unique_items(place: Place, argument: object) -> Rule | None:
    if not isinstance(argument, bool):
        raise place.refusal("must be true or false")

    def rule(check: Check, value: object, where: str) -> str:
        if not isinstance(value, list) or len({check.identity(item) for item in value}) == len(value):
            return ""
        return f"{where} must contain unique items"

    return rule if argument else None


def required(place: Place, argument: object) -> Rule:
    names = names_of(place, argument)

    def rule(check: Check, value: object, where: str) -> str:
        if not isinstance(value, Mapping):
            return ""
        check.spend(len(names) // NAMES_PER_STEP)
        missing = [name for name in names if name not in value]
        return f"{where} must contain {shown(missing)} properties" if missing else ""

    return rule


def dependent_required(place: Place, argument: object) -> Rule:
    needed = {name: names_of(place, names, name) for name, names in object_of(place, argument).items()}

    def rule(check: Check, value: object, where: str) -> str:
        for name, names in needed.items() if isinstance(value, Mapping) else ():
            check.spend(1 + len(names) // NAMES_PER_STEP)
            missing = [other for other in names if other not in value] if name in value else []  # type: ignore[operator]
            if missing:
                return f"{where} missing dependency {shown(missing)} for {name}"
        return ""

    return rule

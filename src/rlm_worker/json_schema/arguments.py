"""What stands behind a keyword: read as what it must be, or refused with its path."""

from __future__ import annotations

from collections.abc import Mapping

from .nodes import Place
from .patterns import MAX_WEIGHT, LinearPattern

Number = int | float


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_integer(value: object) -> bool:
    return is_number(value) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))


def number_of(place: Place, argument: object) -> Number:
    if not is_number(argument):
        raise place.refusal("must be a number")
    assert isinstance(argument, int | float)
    return argument


def count_of(place: Place, argument: object) -> int:
    if not is_integer(argument) or (number := int(number_of(place, argument))) < 0:
        raise place.refusal("must be a whole number of 0 or more")
    return number


def names_of(place: Place, argument: object, *names: str) -> list[str]:
    if not isinstance(argument, list) or not all(isinstance(name, str) for name in argument):
        raise place.refusal("must be a list of names", *names)
    return argument


def object_of(place: Place, argument: object) -> Mapping[str, object]:
    if not isinstance(argument, Mapping):
        raise place.refusal("must be an object")
    return argument


def schemas_of(place: Place, argument: object) -> list[object]:
    if not isinstance(argument, list) or not argument:
        raise place.refusal("must be a list of schemas")
    return argument


def pattern_of(place: Place, argument: object, *names: str) -> LinearPattern:
    if not isinstance(argument, str):
        raise place.refusal("must be a regular expression", *names)
    try:
        pattern = LinearPattern(argument)
    except ValueError as error:
        raise place.refusal(str(error), *names) from None
    place.reader.pattern_weight += pattern.weight
    if place.reader.pattern_weight > MAX_WEIGHT:
        raise place.refusal("is one regular expression too many: together they repeat too much", *names)
    return pattern

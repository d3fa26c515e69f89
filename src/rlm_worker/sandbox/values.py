"""What leaves the sandbox as JSON: final values, and a summary of the variables."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from types import FunctionType, ModuleType

from .text import Readable

_MAX_VARIABLES = 40
_MAX_SUMMARY = 160
# The session takes 64 levels, of which its own envelope is one.
_MAX_DEPTH = 50


def plain(value: object, depth: int = 0) -> object:
    """A value as JSON can hold it: what JSON does not know becomes its `str`; raises `ValueError` beyond 50 levels."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"an answer may be nested {_MAX_DEPTH} levels deep at most")
    if isinstance(value, str):
        return str.__str__(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return [plain(item, depth + 1) for item in sorted(value, key=str)]
    if isinstance(value, list | tuple):
        return [plain(item, depth + 1) for item in value]
    return str(value)


def summaries(variables: Mapping[str, object]) -> list[str]:
    """One line for each variable that model-written code has set: name, type, size and how it begins."""
    lines = [_summary(name, value) for name, value in variables.items() if not _is_hidden(name, value)]
    more = len(lines) - _MAX_VARIABLES
    return lines if more <= 0 else [f"({more} older variables)", *lines[-_MAX_VARIABLES:]]


def _is_hidden(name: str, value: object) -> bool:
    return name.startswith("_") or isinstance(value, ModuleType)


def _summary(name: str, value: object) -> str:
    if isinstance(value, FunctionType):
        return f"{name}: function"
    size = f" of {len(value):,}" if isinstance(value, str | list | tuple | dict | set | Readable) else ""  # type: ignore[arg-type]
    return f"{name}: {type(value).__name__}{size} = {_Brief().repr(value)}"[:_MAX_SUMMARY]


class _Brief(reprlib.Repr):
    """Short forms of known types; the `__repr__` of others is not run."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 100

    def repr1(self, x: object, level: int) -> str:
        if isinstance(x, Readable):
            return repr(x[:80] if len(x) <= 80 else f"{x[:80]}…")  # type: ignore[arg-type, index]
        return super().repr1(x, level)

    def repr_instance(self, x: object, level: int) -> str:
        known = x is None or isinstance(x, bool | float | bytes)
        return repr(x) if known and level > 0 else f"<{type(x).__name__}>"

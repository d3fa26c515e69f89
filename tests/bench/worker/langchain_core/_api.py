"""Decorators that only warn: here they do nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Marked = TypeVar("Marked")


def beta(**_: object) -> Callable[[Marked], Marked]:
    return lambda marked: marked


def deprecated(*_: object, **__: object) -> Callable[[Marked], Marked]:
    return lambda marked: marked

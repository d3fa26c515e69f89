"""Vars that are JSON, validated: what is wrong is said with the var's name and the field's path."""

from __future__ import annotations

from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from .errors import NotConfigured

Parsed = TypeVar("Parsed")


def parsed_var(name: str, adapter: TypeAdapter[Parsed], text: str) -> Parsed:
    """The value that a var's JSON stands for; raises `NotConfigured`."""
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        raise NotConfigured(var_problem(name, error)) from None


def var_problem(name: str, error: ValidationError) -> str:
    """What is wrong with a var, in one sentence: the first of what pydantic refused."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    # Tags of unions stand in angle brackets.
    path = ".".join(str(part) for part in first["loc"] if not str(part).startswith("<"))
    return f"the var {name}{', ' + path if path else ''}: {first['msg'].removeprefix('Value error, ')}"

"""The JSON in a reply, as it was written: what stands around it is passed over, and nothing in it is mended.

A reply is foreign text. Its depth is looked at first, and it is parsed by pydantic's parser: Python's own descends as
far as a text likes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic_core import from_json

from rlm_worker.errors import MalformedBody
from rlm_worker.json_scan import check_depth
from rlm_worker.text.json_text import repeated_key, written_end

_FENCED = re.compile(r"(?P<fence>`{3,}|~{3,})[^\n`]*\n(?P<code>.*)\n[ \t]*(?P=fence)", re.DOTALL)
_OPENING = re.compile(r"[{\[]")
# Brackets of prose that are looked at; each look may go to the end of the reply.
_MAX_LOOKS = 40
_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class JsonText:
    """A JSON value, and the text that it was written as."""

    text: str
    value: object


def json_in(reply: str) -> tuple[list[JsonText], str]:
    """The values that a reply may mean, and why it is none itself: all of it, what it fences, else what prose holds.

    In prose an object may stand anywhere, an array on lines of its own: `[1]` is a reference as a rule.
    """
    text = reply.strip().removeprefix(_BYTE_ORDER_MARK).strip()
    try:
        return [json_of(text)], ""
    except ValueError as error:
        problem = str(error)
    fenced = _FENCED.fullmatch(text)
    if fenced is not None:
        try:
            return [json_of(fenced["code"].strip())], ""
        except ValueError as error:
            problem = str(error)
    return list(_in_prose(text)), problem


def json_of(text: str) -> JsonText:
    """A text that is JSON as a whole; raises `ValueError` with a sentence that says why it is none.

    That is strict: no `NaN`, no comma too many, no number that is too large, no key twice in one object.
    """
    try:
        check_depth(text)
        value = from_json(text, allow_inf_nan=False)
        json.dumps(value, allow_nan=False)
    except MalformedBody as error:
        raise ValueError(f"it is {error}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON as a whole: {error}") from None
    twice = repeated_key(text)
    if twice is not None:
        raise ValueError(f"an object in it gives the key {json.dumps(twice[:80], ensure_ascii=False)} twice")
    return JsonText(text, value)


def _in_prose(text: str) -> Iterator[JsonText]:
    at = 0
    for _ in range(_MAX_LOOKS):
        found = _OPENING.search(text, at)
        if found is None:
            return
        end = written_end(text, found.start())
        at = found.end()
        if end is None or (found[0] == "[" and not _is_apart(text, found.start(), end)):
            continue
        try:
            told = json_of(text[found.start() : end])
        except ValueError:
            continue
        at = end
        if told.value != {} or _is_apart(text, found.start(), end):
            yield told


def _is_apart(text: str, start: int, end: int) -> bool:
    """Whether a part of a text has its lines for itself."""
    before, behind = text[:start].rpartition("\n")[2], text[end:].partition("\n")[0]
    return not before.strip() and not behind.strip()

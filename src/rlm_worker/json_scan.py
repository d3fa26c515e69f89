"""JSON that others wrote, looked through before anything is built from it.

A parser that descends into brackets runs through the stack of the whole runtime where they are deep enough, and takes
the process with it. One regular expression goes over the bytes instead: it never goes back, takes each once, needs no
stack of its own, and holds as many brackets within each other as JSON from elsewhere may have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .errors import MalformedBody

MAX_DEPTH = 64
# A request with as many documents as a deployment takes has less than half of this. Each takes a parser's time.
MAX_BRACKETS = 250_000

_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_QUOTE = ord('"')
_BLANKS = r"[ \t\r\n]*+"


def _nested(depth: int) -> str:
    """Text whose brackets all have an end and are at most that deep; `[` and `{` are told apart by the parser."""
    pattern = rf'(?:[^\[\]{{}}"]++|{_STRING})*+'
    for _ in range(depth):
        pattern = rf'(?:[^\[\]{{}}"]++|{_STRING}|[\[{{]{pattern}[\]}}])*+'
    return pattern


_WHOLE = re.compile(_nested(MAX_DEPTH).encode(), re.DOTALL)
_ITEM = rf'(?:{_STRING}|[\[{{]{_nested(MAX_DEPTH - 1)}[\]}}]|[^ \t\r\n,\[\]{{}}"]++)'
_STRING_OR_BRACKET = re.compile(rf"{_STRING}|[\[{{]".encode(), re.DOTALL)
_BEGIN = re.compile(rf"{_BLANKS}\[{_BLANKS}".encode())
_END = re.compile(rf"\]{_BLANKS}\Z".encode())
_NEXT = re.compile(rf"({_ITEM}){_BLANKS}(?:,{_BLANKS}(?!\])|(?=\]))".encode(), re.DOTALL)


def check_depth(text: bytes | str) -> None:
    """Raises `MalformedBody` for JSON of more than `MAX_DEPTH` levels, or of more than `MAX_BRACKETS` that open.

    What else is wrong with it, its parser says.
    """
    body = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    opened = body.count(b"[") + body.count(b"{")
    if opened > MAX_DEPTH and not _WHOLE.fullmatch(body):
        raise MalformedBody(f"JSON that is nested more than {MAX_DEPTH} levels deep, or has brackets without their end")
    if opened > MAX_BRACKETS and _has_too_many_brackets(body):
        raise MalformedBody(f"JSON of more than {MAX_BRACKETS:,} arrays and objects")


def _has_too_many_brackets(body: bytes) -> bool:
    """Whether there are too many outside of strings; looks at no more of both than it must."""
    count = 0
    for looked, found in enumerate(_STRING_OR_BRACKET.finditer(body)):
        count += body[found.start()] != _QUOTE
        if count > MAX_BRACKETS or looked > 8 * MAX_BRACKETS:
            return True
    return False


def array_items(body: bytes) -> Iterator[bytes]:
    """The items of a JSON array as they were written, none of them parsed; raises `MalformedBody` at what is none."""
    begin = _BEGIN.match(body)
    if begin is None:
        raise MalformedBody("the body is not a JSON array")
    position = begin.end()
    while not _END.match(body, position):
        found = _NEXT.match(body, position)
        if found is None:
            raise MalformedBody(
                f"the body is not a JSON array, or one of its items is nested too deep (byte {position})"
            )
        yield found[1]
        position = found.end()

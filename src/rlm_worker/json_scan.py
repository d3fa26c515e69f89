"""JSON that others wrote, looked through before anything is built from it.

A parser that descends into brackets runs through the stack of the whole runtime where they are deep enough, and takes
the process with it. One regular expression goes over the bytes instead: it never goes back, takes each once, needs no
stack of its own, and holds as many brackets within each other as JSON from elsewhere may have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydantic_core import from_json

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
_MEMBERS = re.compile(rf"{_BLANKS}\{{{_BLANKS}".encode())
_MEMBERS_END = re.compile(rf"\}}{_BLANKS}".encode())
_MEMBER = re.compile(
    rf"({_STRING}){_BLANKS}:{_BLANKS}({_ITEM}){_BLANKS}(?:,{_BLANKS}(?!\}})|(?=\}}))".encode(), re.DOTALL
)
# Characters and escapes of a string, none of them cut; a half of a surrogate pair stands alone in none. Not possessive:
# until 3.11.4 such a repetition keeps what a failed alternative had taken (CPython issue 106052).
_WHOLE_CHARACTERS = re.compile(
    rb"(?:[^\\]++|\\[^u]|\\u(?![dD][89abAB])[0-9a-fA-F]{4}|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[0-9a-fA-F]{4})*",
    re.DOTALL,
)
_BLOCK_BYTES = 256 * 1024
_CONTINUES = range(0x80, 0xC0)
_NEXT = re.compile(rf"({_ITEM}){_BLANKS}(?:,{_BLANKS}(?!\])|(?=\]))".encode(), re.DOTALL)


Bytes = bytes | bytearray


def check_depth(text: Bytes | str) -> None:
    """Raises `MalformedBody` for JSON of more than `MAX_DEPTH` levels, or of more than `MAX_BRACKETS` that open.

    What else is wrong with it, its parser says.
    """
    body = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    opened = body.count(b"[") + body.count(b"{")
    if opened > MAX_DEPTH and not _WHOLE.fullmatch(body):
        raise MalformedBody(f"JSON that is nested more than {MAX_DEPTH} levels deep, or has brackets without their end")
    if opened > MAX_BRACKETS and _has_too_many_brackets(body):
        raise MalformedBody(f"JSON of more than {MAX_BRACKETS:,} arrays and objects")


def _has_too_many_brackets(body: Bytes) -> bool:
    """Whether there are too many outside of strings; looks at no more of both than it must."""
    count = 0
    for looked, found in enumerate(_STRING_OR_BRACKET.finditer(body)):
        count += body[found.start()] != _QUOTE
        if count > MAX_BRACKETS or looked > 8 * MAX_BRACKETS:
            return True
    return False


def array_items(body: Bytes) -> Iterator[bytes]:
    """The items of a JSON array as they were written, none of them parsed; raises `MalformedBody` at what is none."""
    for start, end in item_ranges(body, 0, len(body)):
        yield bytes(body[start:end])


def item_ranges(body: Bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Where the items of the array lie that stands there in a body; raises `MalformedBody` at what is none."""
    begin = _BEGIN.match(body, start, end)
    if begin is None:
        raise MalformedBody("the body is not a JSON array")
    position = begin.end()
    while not _END.match(body, position, end):
        found = _NEXT.match(body, position, end)
        if found is None:
            raise MalformedBody(
                f"the body is not a JSON array, or one of its items is nested too deep (byte {position})"
            )
        yield found.span(1)
        position = found.end()


def member_ranges(body: Bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Keys and places of the values of the object that stands there; raises `MalformedBody` at what is none."""
    begin = _MEMBERS.match(body, start, end)
    if begin is None:
        raise MalformedBody("the body is not a JSON object")
    position = begin.end()
    while not ((last := _MEMBERS_END.match(body, position, end)) and last.end() == end):
        found = _MEMBER.match(body, position, end)
        if found is None:
            raise MalformedBody(f"the body is not a JSON object (byte {position})")
        yield (bytes(found[1]), *found.span(2))
        position = found.end()


def string_blocks(body: Bytes, start: int, end: int, block_bytes: int = _BLOCK_BYTES) -> Iterator[str]:
    """The text of the JSON string that stands there, in blocks of that many bytes, 12 at least.

    Raises `MalformedBody` for what is no text.
    """
    position, last = start + 1, end - 1
    while position < last:
        stop = _WHOLE_CHARACTERS.match(body, position, min(last, position + block_bytes)).end()  # type: ignore[union-attr] # matches nothing, too
        while stop < last and body[stop] in _CONTINUES and stop > position:
            stop -= 1
        if stop == position:
            raise MalformedBody(f"a string holds something that is no text (byte {position})")
        try:
            text = from_json(b'"' + body[position:stop] + b'"')
        except ValueError as error:
            raise MalformedBody(f"{error} (after byte {position})") from None
        yield str(text)
        position = stop


class LineCutter:
    """Cuts bytes that arrive in pieces into lines; blank ones are left out.

    Of a line beyond `limit` it keeps one byte more: it is still too long for whoever takes it, and little is held.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._line = bytearray()

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The lines that end in a piece."""
        start = 0
        while (end := piece.find(b"\n", start)) >= 0:
            self._keep(piece, start, end)
            if line := self.rest():
                yield line
            start = end + 1
        self._keep(piece, start, len(piece))

    def rest(self) -> bytes:
        """The line so far, which the next byte does not belong to."""
        line, self._line = bytes(self._line), bytearray()
        return line

    def _keep(self, piece: bytes, start: int, end: int) -> None:
        """Blanks at the beginning of a line are dropped as they come, not collected."""
        part = memoryview(piece)[start:end] if self._line else piece[start:end].lstrip()
        self._line += part[: self._limit + 1 - len(self._line)]

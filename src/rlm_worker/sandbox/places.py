"""Places as a reader names them: a document's line, and the heading or the definition that it stands under."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable

Read = Callable[[int, int], str]

# A mark for so many characters at most; so many are read at once to set them.
_STEP, _AT_ONCE = 65_536, 524_288
# A heading is looked for so far above a line.
_REACH = 20_000
_MAX_HEADING = 80
_INDENT = re.compile(r"[ \t]*")
_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+\S")
_MODIFIERS = r"(?:export|default|public|private|protected|internal|static|abstract|final|async|pub|unsafe)"
_KINDS = r"(?:def|class|function|func|fn|fun|interface|struct|impl|trait|enum|module|namespace)"
_DEFINITION = re.compile(rf"[ \t]*(?:{_MODIFIERS}[ \t]+)*{_KINDS}[ \t]+\S")
_SUFFIXES = "py|pyi|pyx|js|mjs|jsx|ts|tsx|java|kt|go|rs|rb|c|h|cc|cpp|hpp|cs|swift|scala|php|lua|sh"
_CODE_NAME = re.compile(rf"\.(?:{_SUFFIXES})$")


class LineIndex:
    """Counts the lines of one document, characters `start` to `end` of the context.

    It reads on from where it has been, and no further than it is asked; what a search reads anyway it may be given.
    """

    def __init__(self, read: Read, start: int, end: int) -> None:
        self._read = read
        self._end = end
        # Places, ascending, and how many lines end before each.
        self._places, self._ended = array("Q", [start]), array("Q", [0])

    def line_at(self, at: int) -> int:
        """The number of the line, counted from 1, in which a character stands."""
        at = min(at, self._end)
        while self._places[-1] < at:
            self._go_on(at)
        mark = bisect_right(self._places, at) - 1
        return self._ended[mark] + self._read(self._places[mark], at).count("\n") + 1

    def start_of(self, line: int) -> int | None:
        """Where a line begins; None beyond the last one."""
        if line == 1:
            return self._places[0] if self._places[0] < self._end else None
        while self._ended[-1] < line - 1 and self._places[-1] < self._end:
            self._go_on(self._end)
        if self._ended[-1] < line - 1:
            return None
        mark = bisect_left(self._ended, line - 1) - 1
        at, text = -1, self._read(self._places[mark], self._places[mark + 1])
        for _ in range(line - 1 - self._ended[mark]):
            at = text.index("\n", at + 1)
        begins = self._places[mark] + at + 1
        return begins if begins < self._end else None

    def feed(self, start: int, text: str) -> None:
        """Takes text that was read for another reason, if it is what comes next."""
        reached = self._places[-1]
        if start <= reached < self._end:
            self._mark(text[reached - start : self._end - start])

    def _go_on(self, end: int) -> None:
        reached = self._places[-1]
        self._mark(self._read(reached, min(end, reached + _AT_ONCE, self._end)))

    def _mark(self, text: str) -> None:
        for at in range(0, len(text), _STEP):
            part = text[at : at + _STEP]
            self._ended.append(self._ended[-1] + part.count("\n"))
            self._places.append(self._places[-1] + len(part))


def heading_above(read: Read, start: int, at: int, name: str | None) -> str:
    """The nearest heading (Markdown), or the definition around it, of the line in which a character stands; or nothing.

    `start` is where its document begins.
    """
    begin = max(start, at - _REACH)
    *lines, own = read(begin, at + 1).split("\n")
    if begin > start:
        lines = lines[1:]
    is_code = bool(name and _CODE_NAME.search(name))
    found = "" if is_code else next((line for line in reversed(lines) if _HEADING.match(line)), "")
    return visible((found or _definition_around(lines, own)).strip(), _MAX_HEADING)


def _definition_around(lines: list[str], own: str) -> str:
    """The innermost definition whose body, by its indentation, the last line belongs to."""
    indent = _indent(own)
    for line in reversed(lines):
        if not line.strip() or _indent(line) >= indent:
            continue
        if _DEFINITION.match(line):
            return line
        indent = _indent(line)
    return ""


def _indent(line: str) -> int:
    found = _INDENT.match(line)
    return len(found[0].expandtabs(4)) if found else 0


def visible(text: str, limit: int) -> str:
    """The first `limit` characters on one line: what is not to be seen stands as Python writes it in a string."""
    cut = text[:limit]
    if cut.isprintable():
        return cut
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape", "replace").decode("ascii") for sign in cut
    )

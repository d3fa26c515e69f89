"""Code blocks in a model's reply, by the rules of CommonMark's fences and of Python's strings.

A reply is foreign text on the host: it is scanned once, and never given to Python's own parser, whose recursion a long
enough reply could drive through the stack of the whole runtime.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_PYTHON = frozenset({"repl", "python", "py", "python3", "ipython", "tool_code"})
_MIN_FENCE = 3
_MAX_INDENT = 3
_CALL = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: its label in lower case, its text, and whether its fence was closed."""

    label: str
    code: str
    closed: bool


def fenced_blocks(reply: str) -> list[Block]:
    """Every fenced block in order; a fence inside a triple-quoted string of Python does not end the block."""
    return list(_blocks(reply.splitlines()))


def python_blocks(reply: str) -> list[str]:
    """The blocks labelled as Python; those without a label where there is none."""
    blocks = [block for block in fenced_blocks(reply) if block.code.strip()]
    labelled = [block.code for block in blocks if block.label in _PYTHON]
    return labelled or [block.code for block in blocks if not block.label]


def code_of(reply: str, tools: Sequence[str]) -> str | None:
    """The code that a reply wants to run; None where there is none.

    A reply without fences is code when it is one call of the REPL's own functions from end to end.
    """
    blocks = python_blocks(reply)
    if blocks:
        return "\n\n".join(blocks)
    text = reply.strip()
    called = _CALL.match(text)
    is_call = called is not None and called[0] in tools and text[called.end() :].startswith("(") and text.endswith(")")
    return text if is_call else None


def _blocks(lines: Sequence[str]) -> Iterator[Block]:
    at = 0
    while at < len(lines):
        fence, label = _opening(lines[at])
        at += 1
        if not fence:
            continue
        end = _closing(lines, at, fence, is_python=label in _PYTHON or not label)
        yield Block(label, "\n".join(lines[at:end]), closed=end < len(lines))
        at = end + 1


def _opening(line: str) -> tuple[str, str]:
    """The fence that a line opens, and its label; both empty where it opens none."""
    body = line.lstrip(" ")
    fence = _run(body)
    info = body[len(fence) :].strip()
    if len(line) - len(body) > _MAX_INDENT or len(fence) < _MIN_FENCE or "`" in info:
        return "", ""
    words = info.split(maxsplit=1)
    return fence, words[0].partition("{")[0].strip(".:").lower() if words else ""


def _run(text: str) -> str:
    """The backticks or tildes that a text begins with."""
    sign = text[:1]
    return text[: len(text) - len(text.lstrip(sign))] if sign in ("`", "~") else ""


def _closing(lines: Sequence[str], start: int, fence: str, *, is_python: bool) -> int:
    """The line that closes a block; the end of the reply where none does."""
    first, scanner = len(lines), _Strings()
    for at in range(start, len(lines)):
        if _closes(lines[at], fence):
            if not (is_python and scanner.open):
                return at
            first = min(first, at)
        scanner.feed(lines[at])
    return first  # a string that never ends: then the fence does


def _closes(line: str, fence: str) -> bool:
    body = line.lstrip(" ")
    return len(line) - len(body) <= _MAX_INDENT and len(_run(body)) >= len(fence) and _run(body) == body.rstrip()


class _Strings:
    """Follows Python's strings from line to line; `open` is the triple quote that is still to come."""

    # What matters outside of a string: a comment, an opening quote, anything else up to there.
    _OUTSIDE = re.compile(r"#|\"\"\"|'''|\"|'")

    def __init__(self) -> None:
        self.open = ""

    def feed(self, line: str) -> None:
        """Goes through one line."""
        at = 0
        while at < len(line):
            if self.open:
                at = self._after(line, at, self.open)
                continue
            found = self._OUTSIDE.search(line, at)
            if found is None or found[0] == "#":
                return
            at = found.end()
            if len(found[0]) == 1:
                at = self._after_short(line, at, found[0])
            else:
                self.open = found[0]

    def _after(self, line: str, at: int, quote: str) -> int:
        """Where a triple-quoted string ends; the end of the line where it goes on."""
        while at < len(line):
            if line[at] == "\\":
                at += 2
            elif line.startswith(quote, at):
                self.open = ""
                return at + len(quote)
            else:
                at += 1
        return at

    @staticmethod
    def _after_short(line: str, at: int, quote: str) -> int:
        while at < len(line) and line[at] != quote:
            at += 2 if line[at] == "\\" else 1
        return at + 1

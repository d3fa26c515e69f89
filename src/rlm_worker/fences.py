"""Code blocks in a model's reply, by the rules of CommonMark's fences and of Python's strings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_OPENING = re.compile(r"^ {0,3}(?P<fence>`{3,}|~{3,})[ \t]*(?P<label>[^\s`{]*)[^`]*$")
_PYTHON = frozenset({"repl", "python", "py", "python3", "ipython", "tool_code"})
_UNTERMINATED = "unterminated triple-quoted"


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
    """The blocks that are Python: those labelled so, and unlabelled ones that parse."""
    blocks = fenced_blocks(reply)
    return [block.code for block in blocks if block.code.strip() and _is_python(block)]


def code_of(reply: str, tools: Sequence[str]) -> str | None:
    """The code that a reply wants to run; None where there is none.

    A reply without fences is code when it is Python as a whole and calls one of the REPL's own functions.
    """
    blocks = python_blocks(reply)
    if blocks:
        return "\n\n".join(blocks)
    tree = _parsed(reply)
    return reply.strip() if tree is not None and _calls_any(tree, tools) else None


def _blocks(lines: Sequence[str]) -> Iterator[Block]:
    at = 0
    while at < len(lines):
        opening = _OPENING.match(lines[at])
        at += 1
        if opening is None:
            continue
        label = opening["label"].strip(".:").lower()
        end = _closing(lines, at, opening["fence"], label)
        yield Block(label, "\n".join(lines[at:end]), closed=end < len(lines))
        at = end + 1


def _closing(lines: Sequence[str], start: int, fence: str, label: str) -> int:
    """The line that closes a block; the end of the reply where none does."""
    candidates = [at for at in range(start, len(lines)) if _closes(lines[at], fence)]
    if label in _PYTHON or not label:
        for at in candidates:
            if not _inside_string("\n".join(lines[start:at])):
                return at
    return candidates[0] if candidates else len(lines)


def _closes(line: str, fence: str) -> bool:
    stripped = line.strip()
    return len(line) - len(line.lstrip(" ")) <= 3 and len(stripped) >= len(fence) and set(stripped) == {fence[0]}


def _inside_string(code: str) -> bool:
    try:
        ast.parse(code)
    except SyntaxError as error:
        return _UNTERMINATED in (error.msg or "")
    except (ValueError, RecursionError, MemoryError):
        return False
    return False


def _is_python(block: Block) -> bool:
    return block.label in _PYTHON or (not block.label and _parsed(block.code) is not None)


def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text.strip())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _calls_any(tree: ast.Module, names: Sequence[str]) -> bool:
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    return not called.isdisjoint(names)

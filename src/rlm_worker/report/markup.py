"""HTML that is escaped by construction: elements take text as text, and only `html` writes markup."""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from xml.etree.ElementTree import Element, tostring

Child = Element | str | None

# What would reorder or hide what stands around it, and what no browser shows: the Unicode categories Cc and Cf, but for
# the line ends, the tab, and the joiners that scripts and emoji need.
_INVISIBLE: Final = re.compile(
    "[\u0000-\u0008\u000b-\u000d\u000e-\u001f\u007f-\u009f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
_LINE_END: Final = re.compile("\r\n?|\u0085|\u2028|\u2029")
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def element(tag: str, *children: Child, **attributes: str | None) -> Element:
    """An element with its children; `class_` is written `class`, `_` within a name `-`, and None left out."""
    named = {name.strip("_").replace("_", "-"): value for name, value in attributes.items() if value is not None}
    made = Element(tag, named)
    last: Element | None = None
    for child in children:
        if isinstance(child, Element):
            made.append(child)
            last = child
        elif child and last is None:
            made.text = (made.text or "") + child
        elif child and last is not None:
            last.tail = (last.tail or "") + child
    return made


def html(node: Element) -> str:
    """The element as HTML."""
    return tostring(node, encoding="unicode", method="html", short_empty_elements=False)


def plain(text: str) -> str:
    """A foreign text as it may be shown: what is invisible, or would turn the order around, is named instead."""
    text = _LONE_SURROGATE.sub("\ufffd", _LINE_END.sub("\n", text))
    return _INVISIBLE.sub(_named, text)


def _named(found: re.Match[str]) -> str:
    character = found[0]
    if unicodedata.category(character) == "Cc" and ord(character) < 32:
        return chr(0x2400 + ord(character))
    return f"\u27e8U+{ord(character):04X}\u27e9"

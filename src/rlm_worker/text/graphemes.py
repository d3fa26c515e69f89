"""Where a reader's characters end: grapheme clusters after Unicode Annex 29, told from the standard library's tables.

The library has no table of the cluster properties, so three rules are wider than Unicode's: nothing is cut after a
zero-width joiner, nothing between an Indic virama and a letter, and every private or unassigned format sign binds as
its category says. A cut that this module allows is one that Unicode allows; a few that Unicode allows are not used.
"""

from __future__ import annotations

import unicodedata

_JOINER = "\u200d"
_NON_JOINER = "\u200c"
_VIRAMA = 9  # canonical combining class
_MARKS = frozenset(("Mn", "Me", "Mc"))
_CONTROLS = frozenset(("Cc", "Zl", "Zp"))
# Bind to what stands before them without being marks: sara am, half-width voicing marks.
_BINDING_LETTERS = frozenset("\u0e33\u0eb3\uff9e\uff9f")
# Bind to what follows: number signs and repha.
_PREPENDED = frozenset(
    "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\u0d4e\U000110bd\U000110cd\U000111c2\U000111c3"
    "\U000113d1\U0001193f\U00011941\U00011a84\U00011a85\U00011a86\U00011a87\U00011a88\U00011a89\U00011d46\U00011f02"
)
_FLAG_LETTERS = "".join(map(chr, range(0x1F1E6, 0x1F200)))


def is_boundary(text: str, at: int) -> bool:
    """Whether `text` may be cut before its character `at`, where `text` begins with a whole cluster."""
    if at <= 0 or at >= len(text):
        return True
    before, after = text[at - 1], text[at]
    if before < "\x80" and after < "\x80":
        return before != "\r" or after != "\n"
    if unicodedata.category(before) in _CONTROLS or unicodedata.category(after) in _CONTROLS:
        return True
    return not _is_one_character(text, at, before, after)


def _is_one_character(text: str, at: int, before: str, after: str) -> bool:
    if _binds_backwards(after) or before == _JOINER or before in _PREPENDED:
        return True
    if after.isalpha() and _follows_virama(text, at):
        return True
    if before in _FLAG_LETTERS and after in _FLAG_LETTERS:
        return (at - len(text[:at].rstrip(_FLAG_LETTERS))) % 2 == 1
    return _is_one_syllable(before, after)


def last_boundary(text: str, low: int, high: int) -> int:
    """The greatest place in `low`…`high` where `text` may be cut, or 0 if every one is inside a cluster."""
    return next((at for at in range(high, max(low, 1) - 1, -1) if is_boundary(text, at)), 0)


def first_boundary(text: str, low: int, high: int) -> int:
    """The smallest place in `low`…`high` where `text` may be cut, or 0 if every one is inside a cluster."""
    return next((at for at in range(low, high + 1) if is_boundary(text, at)), 0)


def _follows_virama(text: str, at: int) -> bool:
    """Whether the marks that end at `at` hold a virama, which draws two consonants together."""
    while at > 0 and _binds_backwards(text[at - 1]):
        at -= 1
        if unicodedata.combining(text[at]) == _VIRAMA:
            return True
    return False


def _binds_backwards(character: str) -> bool:
    if character in (_JOINER, _NON_JOINER) or character in _BINDING_LETTERS:
        return True
    code = ord(character)
    # Skin tones, and the tags that spell a region's flag.
    if 0x1F3FB <= code <= 0x1F3FF or 0xE0020 <= code <= 0xE007F:
        return True
    return unicodedata.category(character) in _MARKS


def _is_one_syllable(before: str, after: str) -> bool:
    """Hangul: a leading consonant takes what follows, a vowel takes a vowel or a tail, a tail takes a tail."""
    first, second = _syllable_part(ord(before)), _syllable_part(ord(after))
    if first == "L":
        return second in ("L", "V", "LV", "LVT")
    if first in ("LV", "V"):
        return second in ("V", "T")
    return first in ("LVT", "T") and second == "T"


def _syllable_part(code: int) -> str:
    if 0xAC00 <= code <= 0xD7A3:
        return "LVT" if (code - 0xAC00) % 28 else "LV"
    if 0x1100 <= code <= 0x115F or 0xA960 <= code <= 0xA97C:
        return "L"
    if 0x1160 <= code <= 0x11A7 or 0xD7B0 <= code <= 0xD7C6:
        return "V"
    if 0x11A8 <= code <= 0x11FF or 0xD7CB <= code <= 0xD7FB:
        return "T"
    return ""

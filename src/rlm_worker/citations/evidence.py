# ruff: noqa: RUF001  the stops of other scripts are meant
"""What a reader quoted and what it made up: notes held against the text that they are about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from .folding import EAST_ASIAN
from .quotes import Place, is_too_short, locate

# One that was cut off says less than a sentence.
_MIN_WORDS_CUT_OFF = 8
_FINISHED = re.compile(r"[.!?:;)\]\"'`”’。！？；：」』]\s*$")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'”’)]*\s+|(?<=[。！？])[\"'”’」』）]*\s*(?=\S)|\n\s*\n")
_QUOTATION = re.compile(r"`[^`]+`|\"[^\"]+\"|“[^”]+”|„[^“”]+[“”]|«[^»]+»|「[^」]+」")
_WORD = re.compile(rf"[{EAST_ASIAN}]|\w+")
# What a reader puts before evidence that may not be any.
DOUBT = "UNSURE:"
_DOUBT = re.compile(rf"^[\s\-*•>]*{DOUBT}[ \t]*", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a note: what it says, and its place in the text; None where it stands nowhere."""

    text: str
    place: Place | None


def parts_of(note: str, text: str) -> list[Part]:
    """The sentences of a note with their places in the text.

    Of a sentence that does not stand there, its lines and what it puts between quotation marks are looked for; it is a
    part without a place where none of them stands there either. What is too short to be told from chance is left out.
    A reader's doubt is no part of what it quotes.
    """
    sentences = [sentence for sentence in sentences_of(without_doubts(note)) if not is_too_short(sentence)]
    places = locate(sentences, text)
    lost = [sentence for sentence, place in zip(sentences, places, strict=True) if place is None]
    found = _found({part for sentence in lost for part in (*_lines(sentence), *_quotations(sentence))}, text)
    told: list[Part] = []
    for sentence, place in zip(sentences, places, strict=True):
        standing = [] if place is not None else _standing(sentence, found)
        told += standing or [Part(sentence, place)]
    return told


def quoted(note: str, text: str) -> str:
    """The sentences of a note that stand in the text, one a line; empty where there is none.

    Of a sentence that does not stand there, what it puts between quotation marks or backticks is kept where that does.
    What was cut off must be long enough to mean something; nothing is kept twice. What a reader doubted comes last, and
    is marked so.
    """
    lines = note.splitlines()
    sure = _standing_in("\n".join(line for line in lines if not is_doubted(line)), text)
    doubted = [part for line in lines if is_doubted(line) for part in _standing_in(line, text)]
    return "\n".join([*sure, *(f"{DOUBT} {part}" for part in dict.fromkeys(doubted) if part not in sure)])


def is_doubted(line: str) -> bool:
    """Whether a reader says of a line that it may not be about the question."""
    return _DOUBT.match(line) is not None


def without_doubts(note: str) -> str:
    """A note without the marks of doubt, what they stand before included."""
    return _DOUBT.sub("", note)


def _standing_in(note: str, text: str) -> list[str]:
    kept = [part.text for part in parts_of(note, text) if part.place is not None and _says_enough(part)]
    return [*dict.fromkeys(" ".join(part.split()) for part in kept)]


def sentences_of(text: str) -> Iterator[str]:
    """The sentences of a text, its paragraphs where they hold only one."""
    return (sentence.strip() for sentence in _SENTENCE_END.split(text) if sentence.strip())


def quotations_in(text: str) -> Iterator[re.Match[str]]:
    """What stands between quotation marks or backticks, these included."""
    return _QUOTATION.finditer(text)


def _says_enough(part: Part) -> bool:
    whole = part.place is not None and (part.place.verified or part.place.match == "approximate")
    return whole and bool(_FINISHED.search(part.text) or len(_WORD.findall(part.text)) >= _MIN_WORDS_CUT_OFF)


def _found(parts: Iterable[str], text: str) -> Mapping[str, Place]:
    sought = [part for part in parts if not is_too_short(part)]
    return {part: place for part, place in zip(sought, locate(sought, text), strict=True) if place is not None}


def _standing(sentence: str, found: Mapping[str, Place]) -> list[Part]:
    """What of a sentence stands in the text: lines of it, and quotations in lines that do not."""
    standing: list[Part] = []
    for line in _lines(sentence) or [sentence]:
        inside = [line] if line in found else [part for part in _quotations(line) if part in found]
        standing += [Part(part, found[part]) for part in inside]
    return standing or [Part(part, found[part]) for part in _quotations(sentence) if part in found]


def _lines(sentence: str) -> list[str]:
    lines = [line.strip() for line in sentence.splitlines() if line.strip()]
    return lines if len(lines) > 1 else []


def _quotations(sentence: str) -> list[str]:
    return [found[0] for found in _QUOTATION.finditer(sentence)]

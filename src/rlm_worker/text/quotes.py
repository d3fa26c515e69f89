"""What a reader quoted and what it made up: notes held against the text that they are about."""

from __future__ import annotations

import re

# Shorter runs of words are found in almost any text; one that was cut off says less than a sentence.
_MIN_WORDS = 3
_MIN_WORDS_CUT_OFF = 8
_FINISHED = re.compile(r"[.!?:;)\]\"'`\u201d\u2019]\s*$")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'\u201d\u2019)]*\s+|\n\s*\n")
_QUOTATION = re.compile(r"`[^`]+`|\"[^\"]+\"|\u201c[^\u201d]+\u201d")
_NOT_WORDS = re.compile(r"\W+")


def quoted(note: str, text: str) -> str:
    """The sentences of a note that stand in the text word for word, one a line; empty where there is none.

    Of a sentence that does not stand there, what it puts between quotation marks or backticks is kept where that does.
    Case, spacing and punctuation do not count; nothing is kept twice.
    """
    words = _words(text)
    kept = [part for sentence in _SENTENCE_END.split(note) for part in _standing_parts(sentence, words)]
    return "\n".join(dict.fromkeys(" ".join(part.split()) for part in kept))


def _standing_parts(sentence: str, text: str) -> list[str]:
    if _stands_in(sentence, text):
        return [sentence]
    return [match[0] for match in _QUOTATION.finditer(sentence) if _stands_in(match[0], text)]


def _stands_in(sentence: str, text: str) -> bool:
    words = _words(sentence)
    least = _MIN_WORDS if _FINISHED.search(sentence) else _MIN_WORDS_CUT_OFF
    return len(words.split()) >= least and words in text


def _words(text: str) -> str:
    """The words of a text in lower case, with one space before and after each."""
    return f" {_NOT_WORDS.sub(' ', text).strip().casefold()} "

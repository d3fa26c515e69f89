"""What a reader quoted and what it made up: notes held against the text that they are about."""

from __future__ import annotations

import re

# Shorter runs of words are found in almost any text; one that was cut off says less than a sentence.
_LEAST_WORDS = 3
_LEAST_WORDS_CUT_OFF = 8
_FINISHED = re.compile(r"[.!?:;)\]\"'\u201d\u2019]\s*$")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'\u201d\u2019)]*\s+|\n\s*\n")
_NOT_WORDS = re.compile(r"\W+")


def quoted(note: str, text: str) -> str:
    """The sentences of a note that stand in the text word for word, one a line; empty where there is none.

    Case, spacing and punctuation do not count; a sentence is kept once.
    """
    words = _words(text)
    kept = [sentence for sentence in _SENTENCE_END.split(note) if _stands_in(sentence, words)]
    return "\n".join(dict.fromkeys(" ".join(sentence.split()) for sentence in kept))


def _stands_in(sentence: str, text: str) -> bool:
    words = _words(sentence)
    least = _LEAST_WORDS if _FINISHED.search(sentence) else _LEAST_WORDS_CUT_OFF
    return len(words.split()) >= least and words in text


def _words(text: str) -> str:
    """The words of a text in lower case, with one space before and after each."""
    return f" {_NOT_WORDS.sub(' ', text).strip().casefold()} "
